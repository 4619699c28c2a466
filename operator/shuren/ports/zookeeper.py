"""ZooKeeper as controllers see it: reads, watches as wake-ups, and writes that are always a multi guarded by the fencing epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from shuren.domain.errors import Invalid

MAX_REQUEST_BYTES = 1_000_000
"""Paths and data of one `commit`; ZooKeeper closes the connection on a request of more than 1 MiB (`jute.maxbuffer`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """Data and data version of a znode."""

    data: bytes
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Create:
    """Create a node; its parent must exist."""

    path: str
    data: bytes = b""
    ephemeral: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SetData:
    """Replace the data if the data version is `version` (-1: any)."""

    path: str
    data: bytes
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Delete:
    """Delete a node without children if the data version is `version` (-1: any)."""

    path: str
    version: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """The data version must be `version`."""

    path: str
    version: int


Operation: TypeAlias = Create | SetData | Delete | Check


def require_size(operations: Sequence[Operation]) -> None:
    """Raise Invalid when one transaction is too large to be sent."""
    size = sum(len(o.path.encode()) + (len(o.data) if isinstance(o, (Create, SetData)) else 0) for o in operations)
    if size > MAX_REQUEST_BYTES:
        raise Invalid(
            f"a write to ZooKeeper has {size} bytes, more than the {MAX_REQUEST_BYTES} that it takes at once: {operations[0].path}"
        )


class Session(Enum):
    """CONNECTED: usable. SUSPENDED: no server just now, the session may live on. LOST: ephemeral nodes and watches are gone."""

    CONNECTED = "connected"
    SUSPENDED = "suspended"
    LOST = "lost"


class ZooKeeper(Protocol):
    """One ensemble. Raises Denied on ACL or SASL refusal.

    On connection loss reads raise Unreachable, and so do writes that were not sent; a write whose answer was lost raises UnknownOutcome.
    """

    @property
    def session(self) -> Session:
        """State of the session as last heard."""

    async def get(self, path: str) -> Node | None:
        """None when there is no such node."""

    async def children(self, path: str) -> tuple[str, ...] | None:
        """Names, sorted; None when there is no such node."""

    async def get_many(self, paths: Sequence[str]) -> tuple[Node | None, ...]:
        """Pipelined reads, answers in the order asked."""

    async def commit(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        """All or nothing. Returns the new data version for each SetData/Create (0), None for others.

        Raises Exists, Gone or Conflict with the index of the first operation that failed; UnknownOutcome when the answer was lost; Invalid
        (nothing is sent) for more than `MAX_REQUEST_BYTES`.
        """

    async def ensure_path(self, path: str) -> None:
        """Create the node and its parents, empty, where missing."""

    async def version(self) -> str:
        """Release of the server that this session is on, e.g. 3.8.0; empty when it does not tell. Unreachable."""

    def watch(self, path: str, wake: Callable[[], None], *, known: Callable[[], int | None] | None = None) -> Callable[[], None]:
        """Call `wake` (in the event loop) whenever data, existence or children of `path` may have changed, and on each new session.

        A hint only: look again. Returns a function that ends the watch.

        `known` tells the version of the data that the caller has (None: no node; -1: it has none). Then children are not watched, and what
        the caller knows already, mostly since it wrote it itself, is not told.
        """

    def on_session(self, listener: Callable[[Session], None]) -> None:
        """Call on each change of the session's state."""

    async def close(self) -> None:
        """End the session (ephemeral nodes go)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """The fencing epoch this process holds: its number, and the data version of the `/epoch` node that every write checks."""

    number: int
    node_version: int
    holder: str


class FencedZooKeeper(ZooKeeper, Protocol):
    """A root of a ZooKeeper that only the holder of the newest epoch can write. Paths given are relative to the root.

    `commit` adds the epoch check and raises Fenced when it fails; this process then never raises the epoch again in the same term.
    """

    @property
    def epoch(self) -> Epoch | None:
        """None before `take_over`."""

    @property
    def root(self) -> str:
        """The absolute path of the root."""

    @property
    def whole(self) -> ZooKeeper:
        """The same ensemble with absolute paths, and writes under the same fence: for nodes that others expect elsewhere."""

    async def take_over(self, *, holder: str, installation: str) -> Epoch:
        """Raise `/epoch` by compare-and-set, creating root and `/meta` on first use. NotOurs when `/meta` names a foreign installation."""
