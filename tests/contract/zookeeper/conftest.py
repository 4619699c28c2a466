"""The same tests on the ZooKeeper in memory, and through the real client on a real server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.ports.zookeeper import ZooKeeper
from zookeeper_process import JAR, zookeeper


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as hosts:
        yield hosts


@pytest.fixture(params=["fake", "real"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ZooKeeper, ZooKeeper]]:
    """Two sessions on one ensemble."""
    if request.param == "fake":
        tree = ZooTree()
        yield FakeZooKeeper(tree), FakeZooKeeper(tree)
        return
    hosts = request.getfixturevalue("server")
    made = [ZooKeeperClient(hosts, session_timeout=4.0) for _ in range(2)]
    for one in made:
        await one.connect()
    yield made[0], made[1]
    for one in made:
        await one.close()


@pytest.fixture
def client(pair: tuple[ZooKeeper, ZooKeeper]) -> ZooKeeper:
    return pair[0]


@pytest.fixture
def other(pair: tuple[ZooKeeper, ZooKeeper]) -> ZooKeeper:
    return pair[1]


@pytest.fixture
async def root(client: ZooKeeper) -> str:
    path = f"/test-{uuid.uuid4().hex[:8]}"
    await client.ensure_path(path)
    return path
