from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from quiet_engine import QuietEngine
from shuren.sandbox.http.app import build_app
from wire import Wire


@pytest.fixture
def engine() -> QuietEngine:
    return QuietEngine()


@pytest.fixture
async def wire(engine: QuietEngine) -> AsyncIterator[Wire]:
    async with Wire(build_app(engine, address=engine.address)) as client:
        yield client
