"""The library that applications import: key -> slot -> member. The pure part is `shuren.sharding.core`; standard library only.

    from shuren.sharding import ShardMapClient, ZooKeeperStore

Names beyond the core are loaded when they are first asked for, so that nobody loads threads and clients who only routes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shuren.sharding.aio import AsyncShardMapClient, AsyncShardMember, AsyncShardServer
    from shuren.sharding.client import ClientStatus, NoMap, ShardMapClient
    from shuren.sharding.fake import FakeEnsemble, FakeStore
    from shuren.sharding.handoff import Handoff, Permit, ShardServer
    from shuren.sharding.member import MemberStatus, ShardMember
    from shuren.sharding.store import Link, Store, Unavailable
    from shuren.sharding.wrong_shard import NotServing, OutcomeUnknown, WrongShard
    from shuren.sharding.zookeeper import ZooKeeperStore

_PLACES = {
    "AsyncShardMapClient": "aio",
    "AsyncShardMember": "aio",
    "AsyncShardServer": "aio",
    "ClientStatus": "client",
    "FakeEnsemble": "fake",
    "FakeStore": "fake",
    "Handoff": "handoff",
    "Link": "store",
    "MemberStatus": "member",
    "NoMap": "client",
    "NotServing": "wrong_shard",
    "OutcomeUnknown": "wrong_shard",
    "Permit": "handoff",
    "ShardMapClient": "client",
    "ShardMember": "member",
    "ShardServer": "handoff",
    "Store": "store",
    "Unavailable": "store",
    "WrongShard": "wrong_shard",
    "ZooKeeperStore": "zookeeper",
}

__all__ = [
    "AsyncShardMapClient",
    "AsyncShardMember",
    "AsyncShardServer",
    "ClientStatus",
    "FakeEnsemble",
    "FakeStore",
    "Handoff",
    "Link",
    "MemberStatus",
    "NoMap",
    "NotServing",
    "OutcomeUnknown",
    "Permit",
    "ShardMapClient",
    "ShardMember",
    "ShardServer",
    "Store",
    "Unavailable",
    "WrongShard",
    "ZooKeeperStore",
]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{place}")
    except ModuleNotFoundError as error:
        if error.name != "kazoo":
            raise
        raise ModuleNotFoundError(f"{name} needs kazoo: pip install 'shuren[sharding]'", name="kazoo") from error
    return getattr(module, name)
