"""Where a front listens, and what stands behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from engine_process import free_port
from lb_process import Backend


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def backends() -> AsyncIterator[Callable[..., Any]]:
    made: list[Backend] = []

    async def make(name: str, **more: Any) -> Backend:
        made.append(await Backend(name, **more).start())
        return made[-1]

    yield make
    for backend in made:
        await backend.kill()
