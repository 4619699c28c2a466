"""A ZooKeeper in memory: one `ZooTree` is the ensemble, each `FakeZooKeeper` a session on it.

Faults: `disconnect`, `reconnect` and `expire` move the session; `fail_next` makes the next calls raise; the hook is called around every
write (raise UnknownOutcome in its AFTER to lose an answer, `Crash` to end the process).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shuren.clients.fakes.crash import Moment, WriteHook
from shuren.domain.errors import Conflict, Exists, Gone, ShurenError, Unreachable
from shuren.ports.zookeeper import Check, Create, Delete, Node, Operation, Session, SetData, require_size


@dataclass(slots=True)
class _Znode:
    data: bytes
    version: int = 0
    owner: int = 0
    children: set[str] = field(default_factory=set)


class ZooTree:
    """The nodes that all sessions see. `commits` lists the paths of every transaction that went through."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Znode] = {"/": _Znode(b"")}
        self._sessions = 0
        self._watchers: dict[int, Callable[[set[str]], None]] = {}
        self.commits: list[tuple[str, ...]] = []

    def dump(self) -> dict[str, bytes]:
        """All nodes by path, for comparing end states."""
        return {path: node.data for path, node in sorted(self._nodes.items())}

    def node(self, path: str) -> Node | None:
        """One node as a reader sees it."""
        found = self._nodes.get(path)
        return None if found is None else Node(data=found.data, version=found.version)

    def children(self, path: str) -> tuple[str, ...] | None:
        """Names below a path."""
        found = self._nodes.get(path)
        return None if found is None else tuple(sorted(found.children))

    def open(self, wake: Callable[[set[str]], None]) -> int:
        """A new session; `wake` hears of touched paths."""
        self._sessions += 1
        self._watchers[self._sessions] = wake
        return self._sessions

    def expire(self, session: int) -> None:
        """End a session: its ephemeral nodes go, and everybody else hears of it."""
        self._watchers.pop(session, None)
        owned = [path for path, node in self._nodes.items() if node.owner == session]
        touched: set[str] = set()
        for path in owned:
            self._unlink(path, touched)
        self._tell(touched)

    def apply(self, session: int, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        """A multi: all operations in order, each seeing those before it; the first that fails undoes all."""
        undo: list[Callable[[], None]] = []
        touched: set[str] = set()
        results: list[int | None] = []
        for index, operation in enumerate(operations):
            try:
                results.append(self._one(session, operation, touched, undo, index))
            except Conflict:
                for step in reversed(undo):
                    step()
                raise
        self.commits.append(tuple(operation.path for operation in operations))
        self._tell(touched)
        return tuple(results)

    def _one(self, session: int, operation: Operation, touched: set[str], undo: list[Callable[[], None]], index: int) -> int | None:
        match operation:
            case Create(path=path, data=data, ephemeral=ephemeral):
                self._create(path, data, session if ephemeral else 0, index)
                undo.append(lambda: self._unlink(path, set()))
                touched |= {path, _parent(path)}
                return 0
            case SetData(path=path, data=data, version=version):
                node = self._checked(path, version, index)
                before = (node.data, node.version)
                undo.append(lambda: self._restore(node, before))
                node.data, node.version = data, node.version + 1
                touched.add(path)
                return node.version
            case Delete(path=path, version=version):
                node = self._checked(path, version, index)
                if node.children:
                    raise Conflict(f"{path} has children", index=index)
                self._unlink(path, touched)
                undo.append(lambda: self._relink(path, node))
                return None
            case Check(path=path, version=version):
                self._checked(path, version, index)
                return None

    def _create(self, path: str, data: bytes, owner: int, index: int) -> None:
        parent = self._nodes.get(_parent(path))
        if path in self._nodes:
            raise Exists(f"{path} exists", index=index)
        if parent is None:
            raise Gone(f"{path} does not exist (or its parent)", index=index)
        if parent.owner:
            raise Conflict(f"{_parent(path)} is ephemeral and takes no children", index=index)
        self._relink(path, _Znode(data, owner=owner))

    def _checked(self, path: str, version: int, index: int) -> _Znode:
        node = self._nodes.get(path)
        if node is None:
            raise Gone(f"{path} does not exist (or its parent)", index=index)
        if version not in {-1, node.version}:
            raise Conflict(f"{path} was changed by somebody else", index=index)
        return node

    def _relink(self, path: str, node: _Znode) -> None:
        self._nodes[path] = node
        self._nodes[_parent(path)].children.add(path.rsplit("/", 1)[1])

    def _unlink(self, path: str, touched: set[str]) -> None:
        del self._nodes[path]
        self._nodes[_parent(path)].children.discard(path.rsplit("/", 1)[1])
        touched |= {path, _parent(path)}

    @staticmethod
    def _restore(node: _Znode, before: tuple[bytes, int]) -> None:
        node.data, node.version = before

    def _tell(self, touched: set[str]) -> None:
        for wake in list(self._watchers.values()):
            wake(touched)


def _parent(path: str) -> str:
    return path.rsplit("/", 1)[0] or "/"


class FakeZooKeeper:
    """One session on a `ZooTree`. `session_id` changes when the session was lost and a new one began."""

    def __init__(self, tree: ZooTree | None = None, *, hook: WriteHook | None = None) -> None:
        self.tree = tree or ZooTree()
        self.hook = hook
        self._session = Session.CONNECTED
        self._watches: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self._listeners: list[Callable[[Session], None]] = []
        self._faults: list[ShurenError | None] = []
        self.session_id = self.tree.open(self._touched)

    # ------------------------------------------------------------------------------------------------ faults

    def fail_next(self, error: ShurenError, *, times: int = 1, after: int = 0) -> None:
        """The next calls, reads or writes, raise this and do nothing; so many before them are answered."""
        self._faults += [*[None] * after, *[error] * times]

    def disconnect(self) -> None:
        """No server answers; the session lives on in the ensemble."""
        self._move(Session.SUSPENDED)

    def expire(self) -> None:
        """The ensemble gives the session up; this side hears of it at once."""
        self.tree.expire(self.session_id)
        self._move(Session.LOST)

    def reconnect(self) -> None:
        """A server answers again: the old session if it lives, else a new one. Every watch wakes, since what happened was not told."""
        if self._session is Session.LOST:
            self.session_id = self.tree.open(self._touched)
        self._move(Session.CONNECTED)
        self._wake(set(self._watches))

    def _move(self, session: Session) -> None:
        if session is self._session:
            return
        self._session = session
        for listener in list(self._listeners):
            listener(session)

    # ------------------------------------------------------------------------------------------------ the port

    @property
    def session(self) -> Session:
        """See the port."""
        return self._session

    def _ready(self) -> None:
        fault = self._faults.pop(0) if self._faults else None
        if fault is not None:
            raise fault
        if self._session is not Session.CONNECTED:
            raise Unreachable("ZooKeeper does not answer")

    async def get(self, path: str) -> Node | None:
        """See the port."""
        self._ready()
        return self.tree.node(path)

    async def children(self, path: str) -> tuple[str, ...] | None:
        """See the port."""
        self._ready()
        return self.tree.children(path)

    async def get_many(self, paths: Sequence[str]) -> tuple[Node | None, ...]:
        """See the port."""
        self._ready()
        return tuple(self.tree.node(path) for path in paths)

    async def commit(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        """See the port."""
        if not operations:
            return ()
        require_size(operations)
        self._ready()
        what = "zookeeper " + " ".join(f"{type(o).__name__} {o.path}" for o in operations if not isinstance(o, Check))
        if self.hook is not None:
            self.hook(Moment.BEFORE, what)
        results = self.tree.apply(self.session_id, operations)
        if self.hook is not None:
            self.hook(Moment.AFTER, what)
        return results

    async def ensure_path(self, path: str) -> None:
        """See the port."""
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            here = "/" + "/".join(parts[:depth])
            if await self.get(here) is None:
                await self.commit([Create(path=here)])

    async def version(self) -> str:
        """See the port."""
        self._ready()
        return "3.8.0"

    def watch(self, path: str, wake: Callable[[], None], *, known: Callable[[], int | None] | None = None) -> Callable[[], None]:
        """See the port."""
        there = self._version(path) is not None

        def unless_known() -> None:
            """Compared when all that runs now is done: whoever wrote has its answer then. What comes or goes is told in any case."""
            nonlocal there
            before, there = there, self._version(path) is not None
            asyncio.get_running_loop().call_soon(compare, before and there)

        def compare(changed: bool) -> None:  # noqa: FBT001 - handed over by position
            if not changed or known is None or known() != self._version(path):
                wake()

        told = wake if known is None else unless_known
        self._watches[path].append(told)

        def end() -> None:
            if told in self._watches[path]:
                self._watches[path].remove(told)

        return end

    def _version(self, path: str) -> int | None:
        found = self.tree.node(path)
        return None if found is None else found.version

    def on_session(self, listener: Callable[[Session], None]) -> None:
        """See the port."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """See the port."""
        self.tree.expire(self.session_id)
        self._session = Session.LOST

    def _touched(self, paths: set[str]) -> None:
        if self._session is Session.CONNECTED:
            self._wake(paths)

    def _wake(self, paths: set[str]) -> None:
        for path in sorted(paths & self._watches.keys()):
            for wake in list(self._watches[path]):
                wake()
