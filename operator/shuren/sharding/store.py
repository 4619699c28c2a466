"""What client and member need of ZooKeeper, so that tests and other libraries can take its place. `zookeeper` has it over kazoo, `fake`
in memory.

Calls block for at most a few seconds and may come from any thread. Watches and link listeners are called in the store's own thread and must
only set a flag: whoever waits for the store in them waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from shuren.sharding.core.errors import ShardingError


class Unavailable(ShardingError):
    """ZooKeeper did not answer, or refuses us. What is known stays in use; a write may or may not have been made."""


class Link(Enum):
    """The session, as far as it can be told from here."""

    CONNECTED = "connected"
    SUSPENDED = "suspended"
    """No server answers; the session may still be alive."""
    LOST = "lost"
    """The session is over: its ephemeral nodes are gone, its watches too."""


class Store(Protocol):
    """One session. Paths are absolute."""

    def start(self, *, within: float) -> None:
        """Begin. Unavailable when no server answers within so many seconds; it goes on trying then."""
        ...

    def stop(self) -> None:
        """End the session: ephemeral nodes go at once."""
        ...

    @property
    def link(self) -> Link:
        """How things stand."""
        ...

    @property
    def session(self) -> int:
        """The session's number; another one after it was lost. 0 without a session."""
        ...

    @property
    def session_seconds(self) -> float:
        """After so many seconds of silence the servers end the session (as negotiated, once there is one)."""
        ...

    def on_link(self, listener: Callable[[Link], None]) -> None:
        """Be told of changes of the link."""
        ...

    def read(self, path: str, watch: Callable[[], None] | None = None) -> bytes | None:
        """A node's data, None when there is none. `watch` is called once when that changes, also when the node comes to be."""
        ...

    def children(self, path: str, watch: Callable[[], None] | None = None) -> tuple[str, ...]:
        """The names below a node, none when it is not there. `watch` is called once when they change."""
        ...

    def sync(self, path: str) -> None:
        """What is read after this is at least as new as everything written before it anywhere."""
        ...

    def put(self, path: str, data: bytes) -> bool:
        """Set a node's data, creating it. False when its parent is not there."""
        ...

    def put_ephemeral(self, path: str, data: bytes) -> bool:
        """The same for a node that goes with this session, with its parents. False when it belongs to another session: it is left alone."""
        ...
