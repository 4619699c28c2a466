"""Builds the container image without a registry: `python tests/container_image.py OUT.tar`.

Where no registry can be reached the base is made with mmdebstrap from Debian's archive and pip gets a directory of wheels; the Dockerfile
is the one that everybody uses. Base and wheels stay in the cache. A Docker Engine of our own is started where none answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker_daemon
from shuren.devenv.errors import DevenvError
from shuren.devenv.places import cache_dir
from shuren.devenv.progress import Report, only_one, run_reporting, to_stderr

ROOT = Path(__file__).resolve().parents[1]
NAME = "shurenyun/shuren:0.1.0"
_BASE = "shuren-base:bookworm"
SUITE = "bookworm"
_INCLUDED = "python3,ca-certificates,haproxy"
_PIP = "pip==25.3 --hash=sha256:9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"
_IN_CONTEXT = ("Dockerfile", ".dockerignore", "image", "operator", "pyproject.toml", "README.md", "LICENSE")


def missing() -> str:
    """Why the image cannot be built here; empty when it can."""
    if os.geteuid() != 0:
        return "only root can make a base and start a Docker Engine"
    absent = [name for name in ("mmdebstrap", "docker", "dockerd") if shutil.which(name) is None]
    return f"{', '.join(absent)} is missing (make image brings it)" if absent else ""


def base(report: Report) -> Path:
    """A root file system of Debian with Python and HAProxy, and no compiler."""
    place = cache_dir() / "image" / f"base-{SUITE}-{hashlib.sha256(f'{_INCLUDED} slim'.encode()).hexdigest()[:8]}.tar"
    with only_one(cache_dir() / "locks" / "image-base", what="base of the image", report=report):
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh = place.with_suffix(".new.tar")
            unread = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale", "info")]
            options = [*unread, "--quiet", "--variant=essential", f"--include={_INCLUDED}", '--aptopt=Apt::Install-Recommends "false"']
            run_reporting(["mmdebstrap", *options, SUITE, str(fresh)], what="base of the image", report=report)
            fresh.rename(place)
    return place


def wheels(report: Report) -> Path:
    """Every package that the Dockerfile installs, and pip."""
    lists = [ROOT / "image" / "build.txt", ROOT / "image" / "runtime.txt"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in lists) + _PIP.encode()).hexdigest()[:12]
    place = cache_dir() / "image" / f"wheels-{digest}"
    with only_one(cache_dir() / "locks" / "image-wheels", what="wheels of the image", report=report):
        if not place.exists():
            fresh = place.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            pip = fresh / "pip.txt"
            pip.write_text(_PIP + "\n")
            for path in (*lists, pip):
                argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--require-hashes"]
                argv += ["--only-binary=:all:", "--dest", str(fresh), "-r", str(path)]
                run_reporting(argv, what=f"wheels of {path.name}", report=report)
            pip.unlink()
            fresh.rename(place)
    return place


@contextlib.contextmanager
def engine(scratch: Path) -> Iterator[dict[str, str]]:
    """An environment in which `docker` reaches an engine."""
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    if subprocess.run(["docker", "info"], env=env, capture_output=True, check=False).returncode == 0:
        yield env
        return
    with docker_daemon.daemon(scratch) as own:
        yield {**env, "DOCKER_HOST": f"unix://{own.socket}"}


def context(place: Path, found_wheels: Path) -> None:
    """Put there what the Dockerfile reads, with these wheels."""
    for one in _IN_CONTEXT:
        source = ROOT / one
        ignore = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(source, place / one, ignore=ignore) if source.is_dir() else shutil.copy(source, place / one)
    shutil.copytree(found_wheels, place / "wheels", copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # the cache is on another file system
        shutil.copy(source, target)


def build(env: dict[str, str], report: Report) -> None:
    """Build it in that engine."""
    found = subprocess.run(["docker", "image", "inspect", _BASE], env=env, capture_output=True, check=False)
    if found.returncode != 0:
        run_reporting(["docker", "import", str(base(report)), _BASE], what="base into the engine", report=report, env=env)
    revision = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        context(place, wheels(report))
        argv = ["docker", "build", "--network=none", f"--build-arg=BASE={_BASE}", f"--build-arg=REVISION={revision or 'unknown'}"]
        run_reporting([*argv, "--tag", NAME, str(place)], what="image", report=report, env=env)


def main(arguments: list[str]) -> int:
    """Run the command; give its exit status."""
    if why := missing():
        to_stderr(why)
        return 1
    (out,) = arguments
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch, engine(Path(scratch)) as env:
            build(env, to_stderr)
            run_reporting(["docker", "save", "--output", out, NAME], what="image into a file", report=to_stderr, env=env)
    except DevenvError as error:
        to_stderr(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
