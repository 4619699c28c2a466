"""The real image. Skipped, with the reason, where it cannot be built."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

import container_image
from shuren.devenv.progress import to_stderr

Docker = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """docker, in an engine that has the image of this very tree."""
    if why := container_image.missing():
        pytest.skip(why)
    with container_image.engine(tmp_path_factory.mktemp("docker")) as env:
        container_image.build(env, to_stderr)

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(["docker", *arguments], env=env, capture_output=True, text=True, check=False, timeout=120)

        yield run
