"""Images for a container runtime, without a Docker Engine and without a registry: buildah builds our Dockerfile and packs OCI archives.

Each archive is made once and named in the cache by what it is made of. buildah runs in namespaces of its own, so neither a mount nor a
process of it outlives the command, and a build reaches nothing but this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import container_image
import go_programs
from shuren.devenv.binaries import find_java, find_zookeeper_jar
from shuren.devenv.places import cache_dir
from shuren.devenv.progress import Report, only_one, run_reporting

SHUREN = f"docker.io/{container_image.NAME}"
ZOOKEEPER = "localhost/tests/zookeeper:1"
PAUSE = "localhost/tests/pause:1"
ALONE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Namespaces of one's own for a command: what it starts or mounts ends with it, and there is no network but loopback."""
_WRITTEN = ("/etc", "/opt", "/run", "/var")
"""Where container tools write whatever they are told: names of places below that would outlive the namespaces."""
_KEPT = 2
"""Archives of the product that stay in the cache."""


def untouched(scratch: Path) -> str:
    """Lines of a shell in namespaces of its own: what it and its children write outside of scratch, home and /tmp goes into memory."""
    over = scratch / "over"
    lines = [f"mkdir -p {over}", f"mount -t tmpfs tmpfs {over}"]
    for name in _WRITTEN:
        upper, work = over / name[1:] / "upper", over / name[1:] / "work"
        lines += [f"mkdir -p {upper} {work}", f"mount -t overlay overlay -o lowerdir={name},upperdir={upper},workdir={work} {name}"]
    return "\n".join(("set -eu", *lines, ""))


def every(report: Report) -> list[Path]:
    """All of them."""
    return [pause(report), zookeeper(report), shuren(report)]


def shuren(report: Report) -> Path:
    """The product's image, from the Dockerfile."""
    base, wheels = container_image.base(report), container_image.wheels(report)
    with tempfile.TemporaryDirectory() as scratch:
        context = Path(scratch)
        container_image.context(context, wheels)
        digest = _digest(context)

        def script(out: Path) -> str:
            arguments = f"--build-arg=BASE=localhost/base:1 --build-arg=REVISION=content-{digest}"
            return (
                f"made=$($buildah from scratch); $buildah add --quiet $made {base} /; $buildah commit --quiet $made localhost/base:1\n"
                f"$buildah bud --isolation=chroot {arguments} --tag {SHUREN} {context}\n"
                f"$buildah push --quiet {SHUREN} oci-archive:{out}:{SHUREN}\n"
            )

        found = _archive(f"shuren-{digest}", script, report)
    others = sorted(found.parent.glob("shuren-*.oci.tar"), key=lambda path: path.stat().st_mtime)
    for old in others[:-_KEPT]:
        old.unlink(missing_ok=True)
    return found


def zookeeper(report: Report) -> Path:
    """This machine's Java and ZooKeeper, as Debian has them, and nothing else."""
    java, jar = find_java().resolve(), find_zookeeper_jar().resolve()
    home = java.parents[1]
    digest = hashlib.sha256(f"{java} {java.stat().st_mtime_ns} {jar} {jar.stat().st_mtime_ns} in place".encode()).hexdigest()[:12]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)

        def script(out: Path) -> str:
            unneeded = shutil.ignore_patterns("jmods", "src.zip", "include", "man", "demo", "docs", "legal")
            shutil.copytree(home, root / "java", ignore=unneeded, ignore_dangling_symlinks=True)
            # a manifest names other jars by their place
            shutil.copytree(jar.parent, root / jar.parent.relative_to("/"), ignore_dangling_symlinks=True)
            for library in _needed_by([java, *(root / "java").rglob("*.so")]):
                target = root / library.relative_to("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, target)
            return _from_directory(root, ZOOKEEPER, ["/java/bin/java"], out)

        return _archive(f"zookeeper-{digest}", script, report)


def pause(report: Report) -> Path:
    """What holds the namespaces of a pod."""
    program = go_programs.program("pause", report)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(program, Path(scratch) / "pause")
        return _archive(program.name, lambda out: _from_directory(Path(scratch), PAUSE, ["/pause"], out), report)


def configuration(archive: Path) -> dict[str, Any]:
    """How a container of the image in an archive is started, and its labels (OCI image specification: image-layout, config)."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> dict[str, Any]:
            file = tar.extractfile(name)
            assert file is not None
            found: dict[str, Any] = json.load(file)
            return found

        def blob(digest: str) -> dict[str, Any]:
            return read(f"blobs/{digest.replace(':', '/')}")

        manifest = blob(read("index.json")["manifests"][0]["digest"])
        found: dict[str, Any] = blob(manifest["config"]["digest"])["config"]
        return found


def _from_directory(root: Path, name: str, entrypoint: list[str], out: Path) -> str:
    command = shlex.quote(str(entrypoint).replace("'", '"'))
    return (
        f"made=$($buildah from scratch); $buildah add --quiet $made {root} /; $buildah config --entrypoint {command} $made\n"
        f"$buildah commit --quiet $made {name}; $buildah push --quiet {name} oci-archive:{out}:{name}\n"
    )


def _archive(name: str, script: Callable[[Path], str], report: Report) -> Path:
    place = cache_dir() / "image" / f"{name}.oci.tar"
    with only_one(cache_dir() / "locks" / "image-archives", what=f"image {name}", report=report):
        if place.exists():
            place.touch()
            return place
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".buildah-") as scratch:
            storage = Path(scratch)
            fresh = storage / "archive"
            driver = "overlay" if "overlay" in Path("/proc/filesystems").read_text() else "vfs"
            options = f"--root {storage / 'root'} --runroot {storage / 'run'} --storage-driver {driver}"
            text = f"set -o pipefail\n{untouched(storage)}buildah='buildah {options}'\n{script(fresh)}"
            report(f"image: packing {name} with buildah (once)")
            run_reporting([*ALONE, "bash", "-c", text], what=f"image {name}", report=report, env={**os.environ, "TMPDIR": scratch})
            fresh.rename(place)
    return place


def _digest(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        digest.update(str(path.relative_to(directory)).encode())
        # wheels are named by their digest in image/*.txt
        if path.is_file() and path.suffix != ".whl":
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _needed_by(programs: list[Path]) -> set[Path]:
    """Every shared library that these load, and the loader."""
    found: set[Path] = set()
    for program in programs:
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        words = [word for line in said.splitlines() for word in line.split() if word.startswith("/")]
        found |= {Path(word) for word in words if "/jvm/" not in word and "/java/" not in word}
    return found
