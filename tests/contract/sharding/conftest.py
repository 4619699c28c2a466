"""A real ZooKeeper for the sharding library: its store, its client and its members."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient

from sharding_operator import KazooTree
from zookeeper_process import JAR, zookeeper_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    with zookeeper_server(tmp_path_factory.mktemp("zookeeper")) as running:
        yield running


@pytest.fixture
def hosts(server: tuple[str, subprocess.Popen[bytes]]) -> str:
    return server[0]


@pytest.fixture
def kazoo_tree(hosts: str) -> Iterator[KazooTree]:
    """The operator's view: a session of its own."""
    client = KazooClient(hosts)
    client.start(timeout=30)
    yield KazooTree(client)
    client.stop()
    client.close()


@pytest.fixture
def root() -> str:
    return f"/test-{uuid.uuid4().hex[:8]}"
