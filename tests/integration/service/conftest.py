"""Users of the shared sandbox who look into its ZooKeeper and may keep records there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient

from shuren.devenv.background import Sandbox


@pytest.fixture
def zookeeper(operated: Sandbox) -> Iterator[KazooClient]:
    client = KazooClient(operated.endpoints.zookeeper_hosts)
    client.start()
    yield client
    client.stop()
    client.close()


@pytest.fixture
def records(operated: Sandbox) -> Iterator[str]:
    """A ZooKeeper path below which the sandbox' services may keep records."""
    allow = {"spec": {"tenancy": {"recordRoots": ["/discovery"]}, "dns": {"zone": "mesos.test"}}}
    operated.kubectl("patch", "mesoscluster", "sandbox", "--type=merge", "-p", json.dumps(allow))
    yield "/discovery"
    operated.kubectl("patch", "mesoscluster", "sandbox", "--type=merge", "-p", json.dumps({"spec": {"tenancy": None, "dns": None}}))
