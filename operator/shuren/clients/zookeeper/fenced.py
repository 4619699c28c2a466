"""A root of a ZooKeeper that only the holder of the newest epoch can write.

`/epoch` holds {n, installation, holder}. On taking over, its number is raised by compare-and-set and the data version that this gave is
kept; every write is then a multi that also checks this version. A newer leader changes the node, so an older one's multi fails as a
whole: it is Fenced, and stays so until it takes over in a new term.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from shuren.domain.errors import Conflict, Exists, Fenced, Gone, NotOurs
from shuren.ports.zookeeper import Check, Create, Delete, Epoch, Node, Operation, Session, SetData, ZooKeeper

FORMAT = 1
_EPOCH = "/epoch"
_META = "/meta"


class FencedRoot:
    """Implements `FencedZooKeeper` on any `ZooKeeper`. Paths are relative to `root`."""

    def __init__(self, zookeeper: ZooKeeper, root: str, *, dns_zone: str = "") -> None:
        self._zookeeper = zookeeper
        self._root = root.rstrip("/")
        self._dns_zone = dns_zone
        self._epoch: Epoch | None = None
        self._fenced = False

    @property
    def epoch(self) -> Epoch | None:
        """None before `take_over`, and after a fence was met."""
        return None if self._fenced else self._epoch

    @property
    def session(self) -> Session:
        """See the port."""
        return self._zookeeper.session

    async def take_over(self, *, holder: str, installation: str) -> Epoch:
        """See the port. Conflict when another process takes over at the same moment."""
        await self._zookeeper.ensure_path(self._root)
        await self._claim_root(installation)
        path = self._root + _EPOCH
        node = await self._zookeeper.get(path)
        if node is None:
            data = _encode({"n": 1, "installation": installation, "holder": holder})
            await self._zookeeper.commit([Create(path=path, data=data)])
            taken = Epoch(number=1, node_version=0, holder=holder)
        else:
            number = int(str(_decode(node).get("n", 0))) + 1
            data = _encode({"n": number, "installation": installation, "holder": holder})
            (version,) = await self._zookeeper.commit([SetData(path=path, data=data, version=node.version)])
            taken = Epoch(number=number, node_version=version or 0, holder=holder)
        self._epoch, self._fenced = taken, False
        return taken

    async def _claim_root(self, installation: str) -> None:
        path = self._root + _META
        node = await self._zookeeper.get(path)
        if node is None:
            data = _encode({"format": FORMAT, "installation": installation, "dnsZone": self._dns_zone})
            try:
                await self._zookeeper.commit([Create(path=path, data=data)])
            except Exists:
                node = await self._zookeeper.get(path)
        if node is not None and _decode(node).get("installation") != installation:
            other = _decode(node).get("installation")
            raise NotOurs(f"{self._root} in ZooKeeper belongs to another installation ({other}); choose another spec.zookeeper.root")

    # ------------------------------------------------------------------------------------------------ the port, below the root

    async def get(self, path: str) -> Node | None:
        """See the port."""
        return await self._zookeeper.get(self._root + path)

    async def children(self, path: str) -> tuple[str, ...] | None:
        """See the port."""
        return await self._zookeeper.children(self._root + path)

    async def get_many(self, paths: Sequence[str]) -> tuple[Node | None, ...]:
        """See the port."""
        return await self._zookeeper.get_many([self._root + path for path in paths])

    @property
    def root(self) -> str:
        """See the port."""
        return self._root

    @property
    def whole(self) -> ZooKeeper:
        """See the port."""
        return _Whole(self, self._zookeeper)

    async def commit(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        """See the port; the check of the epoch goes first."""
        return await self.commit_absolute([_below(self._root, operation) for operation in operations])

    async def commit_absolute(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        """The same with absolute paths."""
        epoch = self.epoch
        if epoch is None:
            raise Fenced(f"this process may not write below {self._root}: it has not taken over, or somebody else has since")
        check = Check(path=self._root + _EPOCH, version=epoch.node_version)
        try:
            results = await self._zookeeper.commit([check, *operations])
        except Conflict as error:
            if error.index == 0:
                if self._epoch is epoch:  # else this is a late answer to a write of a former term
                    self._fenced = True
                raise Fenced(f"somebody else has taken over {self._root} since epoch {epoch.number}") from error
            raise _shifted(error) from error
        return results[1:]

    async def ensure_path(self, path: str) -> None:
        """Create what is missing, each node fenced."""
        await _ensure_path(self, path)

    async def version(self) -> str:
        """See the port."""
        return await self._zookeeper.version()

    def watch(self, path: str, wake: Callable[[], None], *, known: Callable[[], int | None] | None = None) -> Callable[[], None]:
        """See the port."""
        return self._zookeeper.watch(self._root + path, wake, known=known)

    def on_session(self, listener: Callable[[Session], None]) -> None:
        """See the port."""
        self._zookeeper.on_session(listener)

    async def close(self) -> None:
        """See the port."""
        await self._zookeeper.close()


class _Whole:
    """Implements `ZooKeeper` on the whole ensemble; writes go through the fence of a root."""

    def __init__(self, fence: FencedRoot, zookeeper: ZooKeeper) -> None:
        self._fence = fence
        self._zookeeper = zookeeper

    @property
    def session(self) -> Session:
        """See the port."""
        return self._zookeeper.session

    async def get(self, path: str) -> Node | None:
        """See the port."""
        return await self._zookeeper.get(path)

    async def children(self, path: str) -> tuple[str, ...] | None:
        """See the port."""
        return await self._zookeeper.children(path)

    async def get_many(self, paths: Sequence[str]) -> tuple[Node | None, ...]:
        """See the port."""
        return await self._zookeeper.get_many(paths)

    async def commit(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        """See the port; Fenced when the root was taken over."""
        return await self._fence.commit_absolute(operations)

    async def ensure_path(self, path: str) -> None:
        """Create what is missing, each node fenced."""
        await _ensure_path(self, path)

    async def version(self) -> str:
        """See the port."""
        return await self._zookeeper.version()

    def watch(self, path: str, wake: Callable[[], None], *, known: Callable[[], int | None] | None = None) -> Callable[[], None]:
        """See the port."""
        return self._zookeeper.watch(path, wake, known=known)

    def on_session(self, listener: Callable[[Session], None]) -> None:
        """See the port."""
        self._zookeeper.on_session(listener)

    async def close(self) -> None:
        """The session is the root's, which ends it."""


async def _ensure_path(zookeeper: ZooKeeper, path: str) -> None:
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        here = "/" + "/".join(parts[:depth])
        if await zookeeper.get(here) is None:
            try:
                await zookeeper.commit([Create(path=here)])
            except Exists:
                continue


def _below(root: str, operation: Operation) -> Operation:
    match operation:
        case Create(path=path, data=data, ephemeral=ephemeral):
            return Create(path=root + path, data=data, ephemeral=ephemeral)
        case SetData(path=path, data=data, version=version):
            return SetData(path=root + path, data=data, version=version)
        case Delete(path=path, version=version):
            return Delete(path=root + path, version=version)
        case Check(path=path, version=version):
            return Check(path=root + path, version=version)


def _shifted(error: Conflict) -> Conflict:
    """The same error with the index of the caller's own operation."""
    index = None if error.index is None else error.index - 1
    kind = Exists if isinstance(error, Exists) else Gone if isinstance(error, Gone) else Conflict
    return kind(str(error), index=index)


def _encode(document: dict[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _decode(node: Node) -> dict[str, object]:
    try:
        document = json.loads(node.data or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
