"""The same tests on the Marathon in memory, and through the real client on our engine or on whatever `--marathon-url` names."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from engine_process import engine
from shuren.clients.clock import SystemClock
from shuren.clients.fakes.marathon import FakeMarathon
from shuren.clients.fakes.marathon_tasks import Behaviour
from shuren.clients.fakes.marathon_world import MarathonWorld
from shuren.clients.marathon.client import MarathonClient
from shuren.ports.marathon import Marathon

TOO_MUCH = 10_000
"""CPUs that no agent of any Marathon under test has."""


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real HTTP server that speaks Marathon's API."""
    given = request.config.getoption("--marathon-url", default=None)
    if given:
        yield given
        return
    with engine(tmp_path_factory.mktemp("engine"), "--agents", "2", "--runner", "simulated") as base:
        yield base


def _behave(definition: Mapping[str, Any]) -> Behaviour:
    return Behaviour.UNPLACED if definition["cpus"] >= TOO_MUCH else Behaviour.RUNS


@pytest.fixture(params=["fake", "http"])
async def marathon(request: pytest.FixtureRequest) -> AsyncIterator[Marathon]:
    if request.param == "http":
        client = MarathonClient([request.getfixturevalue("url")])
        yield client
        await client.close()
        return
    fake = FakeMarathon(MarathonWorld(clock=SystemClock(), behave=_behave))

    async def move() -> None:
        while True:
            fake.world.tick()
            await asyncio.sleep(0.001)

    moving = asyncio.create_task(move())
    yield fake
    moving.cancel()
    with suppress(asyncio.CancelledError):
        await moving


@pytest.fixture
async def app_id(marathon: Marathon) -> AsyncIterator[str]:
    """An id of the test's own, deleted with everything that begins with it."""
    name = f"/contract/{uuid.uuid4().hex[:8]}"
    yield name
    for app in await marathon.apps():
        if app.id.startswith(name):
            await marathon.delete_app(app.id, force=True)
