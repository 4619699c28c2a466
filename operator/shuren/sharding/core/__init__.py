"""The pure part of the sharding library: hashing, routing, tables and their form. Only the standard library is imported.

    from shuren.sharding.core import Member, Rendezvous, Slots, slot_of

Where `shuren[accel]` or the C accelerator is installed, routers use it; results are the same. See `router` for the interface of all
algorithms and docs/sharding.md for the whole.
"""

from __future__ import annotations

from shuren.sharding.core.algorithms import Jump, Ketama, Maglev, Rendezvous, Ring, Slots, router_of_members
from shuren.sharding.core.backend import Backend, available
from shuren.sharding.core.bounded import BoundedLoad
from shuren.sharding.core.errors import Malformed, Mismatch, NoMember, ShardingError, Unusable
from shuren.sharding.core.keys import Key, hash_tag
from shuren.sharding.core.member import Member
from shuren.sharding.core.router import Algorithm, Router
from shuren.sharding.core.slots import redis_slot_of, shard_name, slot_of, suggested_shards
from shuren.sharding.core.table import NOBODY, KeyHash, ShardTable, make_table
from shuren.sharding.core.xxh64 import xxh64

__all__ = [
    "NOBODY",
    "Algorithm",
    "Backend",
    "BoundedLoad",
    "Jump",
    "Ketama",
    "Key",
    "KeyHash",
    "Maglev",
    "Malformed",
    "Member",
    "Mismatch",
    "NoMember",
    "Rendezvous",
    "Ring",
    "Router",
    "ShardTable",
    "ShardingError",
    "Slots",
    "Unusable",
    "available",
    "hash_tag",
    "make_table",
    "redis_slot_of",
    "router_of_members",
    "shard_name",
    "slot_of",
    "suggested_shards",
    "xxh64",
]
