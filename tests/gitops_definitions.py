"""The definitions of Argo CD's and Flux' own kinds: what we write for them is judged by their schemas. As a program: fetch them.

They come out of the Go modules of their makers, pinned by the modules' hashes, into the cache that the sandbox uses. Cold this takes
a few seconds and 60 MB.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from go_programs import usable_go
from shuren.devenv.errors import DevenvError
from shuren.devenv.places import cache_dir
from shuren.devenv.progress import Report, only_one, to_stderr

_NO_QUESTIONS = {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GONOSUMDB": "*"}
"""The hashes below are what we check; no data base of checksums needs to be reached."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module, the hash of its files as go.sum notes it, and which of them are definitions."""

    name: str
    version: str
    digest: str
    files: tuple[str, ...]


MODULES = (
    Module(
        name="github.com/argoproj/argo-cd/v3",
        version="v3.6.1",
        digest="h1:OmhqeKiR3C//awbFrhQqFdtRI+Qiv17j8vqm3UkMj/g=",
        files=("manifests/crds/application-crd.yaml",),
    ),
    Module(
        name="github.com/fluxcd/helm-controller",
        version="v1.6.0",
        digest="h1:jlS5X11SG26gspubB5aLrdVSCm0q0tA4ULsY+vwSkL0=",
        files=("config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml",),
    ),
    Module(
        name="github.com/fluxcd/kustomize-controller",
        version="v1.10.1",
        digest="h1:IjTnrkIy0ULJoTNC2ZKuMb32vkqj7dJ6zt6UqbTFxKA=",
        files=("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",),
    ),
    Module(
        name="github.com/fluxcd/source-controller",
        version="v1.10.1",
        digest="h1:vkYpgpLZu20LQ2UN4lPBdWH7sqTNdQ8FjcZD/HogN2E=",
        files=("config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",),
    ),
)


def definitions(report: Report = to_stderr) -> Path:
    """The directory with all of them, fetched now when it is not in the cache. DevenvError when that is not possible."""
    cache = cache_dir()
    place = cache / "tests" / f"gitops-{hashlib.sha256(repr(MODULES).encode()).hexdigest()[:12]}"
    if not place.exists():
        with only_one(cache / "locks" / "tests-gitops", what="definitions of GitOps tools", report=report):
            if not place.exists():
                _fetch(place, report)
    return place


def _fetch(place: Path, report: Report) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    report("definitions of Argo CD and Flux: fetching the Go modules that hold them, once")
    go = usable_go(report)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".gitops-") as scratch:
        fresh = Path(scratch) / "definitions"
        fresh.mkdir()
        for module in MODULES:
            folder = _downloaded(go, module, Path(scratch))
            for file in module.files:
                shutil.copyfile(folder / file, fresh / Path(file).name)
        fresh.rename(place)


def _downloaded(go: Path, module: Module, where: Path) -> Path:
    wanted = f"{module.name}@{module.version}"
    command = [str(go), "mod", "download", "-json", wanted]
    done = subprocess.run(command, cwd=where, env={**os.environ, **_NO_QUESTIONS}, capture_output=True, text=True, check=False, timeout=300)
    answer = json.loads(done.stdout or "{}")
    if done.returncode:
        raise DevenvError(f"{wanted}: {answer.get('Error') or done.stderr.strip()}")
    if answer["Sum"] != module.digest:
        raise DevenvError(f"{wanted} is not what it was: {answer['Sum']}, expected {module.digest}")
    return Path(answer["Dir"])


if __name__ == "__main__":
    try:
        definitions()
    except DevenvError as error:
        to_stderr(str(error))
        sys.exit(1)
