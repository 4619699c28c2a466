"""helm, from where the sandbox has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_room import CHARTS, Helm, Rendered
from shuren.devenv.binaries import find_binaries
from shuren.devenv.places import cache_dir
from shuren.devenv.progress import to_stderr


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    tools = find_binaries(cache_dir(), to_stderr, own_cluster=False).tools
    return Helm(program=tools / "helm", scratch=tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def everything() -> dict[str, Any]:
    """Values with every switch on."""
    found: dict[str, Any] = yaml.safe_load((CHARTS / "shuren" / "ci" / "everything-values.yaml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def plain(helm: Helm) -> Rendered:
    """The chart with its defaults."""
    return helm.render({})


@pytest.fixture(scope="session")
def full(helm: Helm, everything: dict[str, Any]) -> Rendered:
    """The chart with every switch on."""
    return helm.render(everything)


@pytest.fixture
def golden() -> Path:
    """Where recorded things lie."""
    return Path(__file__).parents[1] / "golden"
