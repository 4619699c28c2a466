"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(question: Callable[[], bool], *, seconds: float = 30.0, every: float = 0.05) -> None:
    """Return as soon as the answer is yes; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds:.0f} s: {getattr(question, '__qualname__', question)}")
        time.sleep(every)
