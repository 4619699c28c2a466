from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lb_room import Room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(directory=tmp_path)
    await made.publish.prepare()
    yield made
    await made.haproxy.stop()
