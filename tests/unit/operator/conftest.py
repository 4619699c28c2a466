from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def kept_loggers() -> Iterator[None]:
    """Puts the loggers back that a process under test sets up for itself."""
    root, ours = logging.getLogger(), logging.getLogger("shuren")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
