"""The one interface of all algorithms.

    router = Rendezvous(members, replicas=2)
    router.route("user:7")            -> Member
    router.route_many(["a", "b"])     -> [Member, Member]
    router.replicas("user:7")         -> (Member, Member), the first is route's
    router.slot("user:7")             -> what the algorithm reduces the key to

Routers never change after they are made: they may be read from any thread without a lock, and a change of members is a new router.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import Protocol

from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.keys import Key
from shuren.sharding.core.member import Member

MAX_REPLICAS = 16


class Algorithm(Enum):
    """Names as the custom resource has them. The first two need a published table, the others only the list of members."""

    SLOTS = "slots"
    REDIS16384 = "redis16384"
    RENDEZVOUS = "rendezvous"
    RING = "ring"
    KETAMA = "ketama"
    MAGLEV = "maglev"
    JUMP = "jump"


class Router(Protocol):
    """Key -> member. Every method takes str or bytes; a str is its UTF-8."""

    def route(self, key: Key, /) -> Member:
        """The member that serves the key (with replicas: the primary). NoMember when nobody does."""
        ...

    def route_many(self, keys: Iterable[Key], /) -> list[Member]:
        """The same for many keys in one call, in their order."""
        ...

    def replicas(self, key: Key, /) -> tuple[Member, ...]:
        """The members that hold the key, `route`'s first; as many as the router was made with, fewer when there are not so many members."""
        ...

    def candidates(self, key: Key, /) -> Iterator[Member]:
        """Members in the order in which they would take the key if those before were not there; each once."""
        ...

    def slot(self, key: Key, /) -> int:
        """The number that a key is reduced to before members are looked at.

        Shard (slots, redis16384), row of the table (maglev), bucket (jump), or hash (rendezvous and ring 64 bits, ketama 32).
        """
        ...


def checked_replicas(replicas: int) -> int:
    """A number of replicas that can be had. Unusable otherwise."""
    if not 1 <= replicas <= MAX_REPLICAS:
        raise Unusable(f"replicas is {replicas!r}: it has to be 1 to {MAX_REPLICAS}")
    return replicas


def first(candidates: Iterator[Member], count: int) -> tuple[Member, ...]:
    """The first `count` members of a sequence of candidates."""
    return tuple(islice(candidates, count))


def as_sequence(keys: Iterable[Key]) -> Sequence[Key]:
    """Keys to be gone through: a str is one key, not a sequence of its letters, and is refused."""
    if isinstance(keys, (str, bytes)):
        raise TypeError("route_many takes a list of keys, not one key")
    return keys if isinstance(keys, Sequence) else list(keys)
