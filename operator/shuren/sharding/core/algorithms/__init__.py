"""One module an algorithm. `router_of_members` gives one by its name where a list of members is all it needs."""

from __future__ import annotations

from collections.abc import Iterable

from shuren.sharding.core.algorithms.jump import Jump
from shuren.sharding.core.algorithms.ketama import Ketama
from shuren.sharding.core.algorithms.maglev import Maglev
from shuren.sharding.core.algorithms.rendezvous import Rendezvous
from shuren.sharding.core.algorithms.ring import Ring
from shuren.sharding.core.algorithms.slots import Slots
from shuren.sharding.core.backend import Backend
from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.member import Member
from shuren.sharding.core.router import Algorithm, Router

__all__ = ["Jump", "Ketama", "Maglev", "Rendezvous", "Ring", "Slots", "router_of_members"]


def router_of_members(algorithm: Algorithm, members: Iterable[Member], *, replicas: int = 1, backend: Backend | None = None) -> Router:
    """A router with the algorithm's defaults. Unusable for those that need a published table: make `Slots` of one."""
    match algorithm:
        case Algorithm.RENDEZVOUS:
            return Rendezvous(members, replicas=replicas, backend=backend)
        case Algorithm.RING:
            return Ring(members, replicas=replicas, backend=backend)
        case Algorithm.KETAMA:
            return Ketama(members, replicas=replicas)
        case Algorithm.MAGLEV:
            return Maglev(members, replicas=replicas, backend=backend)
        case Algorithm.JUMP:
            return Jump(members, replicas=replicas, backend=backend)
        case Algorithm.SLOTS | Algorithm.REDIS16384:
            raise Unusable(f"{algorithm.value} is no function of the members alone: it needs a table, and Slots(table) routes by it")
