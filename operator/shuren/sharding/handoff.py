"""What an application that holds shards implements, and what it is given."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

from shuren.sharding.core.member import Member
from shuren.sharding.core.moves import Fence
from shuren.sharding.lease import seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Handoff:
    """One call. `fence` is to be given to storage and peers with every write of the shard from `activate` on.

    `peer` is the id of the other member: whom to copy from (prepare, catch_up), or who takes over (catch_up and forward of the old
    primary); `address` is where it is, empty when the table does not say. `cancelled` is set when the call's end is no longer wanted.
    """

    shard: int
    shards: int
    fence: Fence
    peer: str | None = None
    address: str = ""
    primary: bool = False
    """Whether this member serves the shard while the call runs: in catch_up, the old primary that helps the new one."""
    cancelled: threading.Event = field(default_factory=threading.Event)


class ShardServer(Protocol):
    """Calls come from worker threads, one at a time for a shard. Whatever is raised is told to the operator, and the call is made again
    later.

    Each may be made again after it was done (a restart, a lost report), and then has to do nothing or the same.
    """

    def prepare(self, handoff: Handoff, /) -> None:
        """Get a copy of the shard from `peer`, or make sure that there is one. Nothing is served from it."""
        ...

    def catch_up(self, handoff: Handoff, /) -> None:
        """Bring the copy up to the present and keep following; as the old primary (`primary`), help `peer` to do so."""
        ...

    def forward(self, handoff: Handoff, /) -> None:
        """Nothing is served any more, and no request is under way. Give `peer` all that it lacks; afterwards pass late requests on to
        it.
        """
        ...

    def activate(self, handoff: Handoff, /) -> None:
        """Get ready to serve. Requests come after the return."""
        ...

    def drop(self, handoff: Handoff, /) -> None:
        """Forget the shard; its place is elsewhere."""
        ...

    def resharded(self, before: int, after: int, /) -> None:
        """The map has another number of shards: shard s of `before` is the same keys as those from s * after / before on, below (s + 1) * …

        Called with no call under way, and nothing is served before the return.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """Leave to serve one request of a shard. Ask `valid` again right before the reply: a process may have been stopped in between."""

    shard: int
    fence: Fence
    until: float

    @property
    def valid(self) -> bool:
        """Whether the lease under which this was given still runs."""
        return seconds() < self.until


def address_of(members: tuple[Member, ...], identity: str | None) -> str:
    """Where a member is, empty when it is not known."""
    return next((m.address for m in members if m.id == identity), "")
