"""Values that hold what Secrets hold do not show it when they are printed: in logs of libraries, tracebacks, failures of assertions."""

from __future__ import annotations

import pytest

from shuren.clients.marathon.client import Credentials
from shuren.clients.zookeeper.client import Digest
from shuren.domain.app.secrecy import Veil
from shuren.domain.cluster import Login, TlsMaterial
from shuren.domain.marathon.state import ActualApp
from shuren.edge.dns.serve import Settings

MARK = "geheim"
NOW = "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "value",
    [
        Credentials(username="shuren", password=MARK),
        Credentials(token=MARK),
        Digest(username="shuren", password=MARK),
        Login(username="shuren", password=MARK),
        Login(token=MARK),
        TlsMaterial(key=MARK.encode()),
        Veil(frozenset({MARK})),
        Settings(hosts="zk:2181", root="/shuren", powerdns_key=MARK),
        ActualApp(
            id="/web",
            definition={"env": {"PASSWORD": MARK}},
            version=NOW,
            last_config_change_at=NOW,
            last_scaling_at=NOW,
            instances=1,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_is_in_neither_form(value: object) -> None:
    assert MARK not in repr(value)
    assert MARK not in str(value)
    assert MARK not in f"{(value,)}"
