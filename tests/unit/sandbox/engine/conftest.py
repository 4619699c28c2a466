from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from live_wire import Live
from sandbox_room import Room
from shuren.sandbox.contract import Settings


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def resident_room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path, settings=Settings(mesos_role="marathon"))
    yield made
    await made.close()


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with Live.of(tmp_path) as made:
        yield made
