"""Who computes: the C accelerator, the package `xxhash`, or Python alone. All give the same results; tests hold them against each other.

Nothing is loaded before a router is made, so importing the library stays free of third-party modules.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from enum import Enum
from types import ModuleType
from typing import TypeAlias

from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.xxh64 import xxh64

Hash64: TypeAlias = Callable[[bytes, int], int]
_INTERFACE = 2
"""Of accel/native.c."""


class Backend(Enum):
    """Ordered from fast to slow."""

    NATIVE = "native"
    XXHASH = "xxhash"
    PYTHON = "python"


@functools.cache
def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def native() -> ModuleType | None:
    """The accelerator's module, None when it was not built or was built from other sources than these."""
    module = _module("shuren.sharding.core.accel._native")
    return module if module is not None and getattr(module, "INTERFACE", None) == _INTERFACE else None


def available() -> tuple[Backend, ...]:
    """What this process can use, the fastest first."""
    there = {
        Backend.NATIVE: native() is not None,
        Backend.XXHASH: _module("shuren.sharding.core.backend_xxhash") is not None,
        Backend.PYTHON: True,
    }
    return tuple(backend for backend in Backend if there[backend])


def chosen(backend: Backend | None) -> Backend:
    """The backend asked for, or the fastest one. Unusable when it is not installed."""
    usable = available()
    if backend is None:
        return usable[0]
    if backend not in usable:
        raise Unusable(f"backend {backend.value} is not installed; there are {', '.join(b.value for b in usable)}")
    return backend


def hash64(backend: Backend) -> Hash64:
    """XXH64 of (data, seed) by a backend that is available."""
    match backend:
        case Backend.NATIVE:
            module = native()
        case Backend.XXHASH:
            module = _module("shuren.sharding.core.backend_xxhash")
        case Backend.PYTHON:
            return xxh64
    if module is None:
        raise Unusable(f"backend {backend.value} is not installed")
    found: Hash64 = module.xxh64
    return found
