"""An ensemble in memory and its sessions, with the faults that matter: silence, expiry, lateness. For tests of applications as of this
library.

Time does not pass by itself: a session ends when the test says so.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass

from shuren.sharding.store import Link, Unavailable


@dataclass(slots=True)
class _Node:
    data: bytes
    owner: int = 0


class FakeEnsemble:
    """The tree that sessions share. Its own methods are the operator's view: what `set` and `delete` do, watches tell."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._nodes: dict[str, _Node] = {}
        self._watches: dict[str, list[tuple[FakeStore, Callable[[], None]]]] = {}
        self._sessions = itertools.count(1)
        self.writes: list[str] = []

    def get(self, path: str) -> bytes | None:
        """A node's data."""
        with self._lock:
            node = self._nodes.get(path)
            return None if node is None else node.data

    def names(self, path: str) -> tuple[str, ...]:
        """The names below a node."""
        with self._lock:
            below = path.rstrip("/") + "/"
            return tuple(sorted({p[len(below) :].partition("/")[0] for p in self._nodes if p.startswith(below)}))

    def set(self, path: str, data: bytes, *, owner: int = 0) -> None:
        """Set a node's data, with all its parents."""
        with self._lock:
            fired = []
            parts = path.strip("/").split("/")
            for depth in range(1, len(parts)):
                parent = "/" + "/".join(parts[:depth])
                if parent not in self._nodes:
                    self._nodes[parent] = _Node(b"")
                    fired += [parent, parent.rpartition("/")[0]]
            known = self._nodes.get(path)
            if known is None:
                self._nodes[path] = _Node(data, owner)
                fired += [path, path.rpartition("/")[0]]
            else:
                known.data = data
                fired.append(path)
            self.writes.append(path)
            wakes = self._taken(fired)
        for wake in wakes:
            wake()

    def delete(self, path: str) -> None:
        """Remove a node and everything below it."""
        with self._lock:
            gone = [p for p in self._nodes if p == path or p.startswith(path + "/")]
            for p in gone:
                del self._nodes[p]
            wakes = self._taken([path for p in gone for path in (p, p.rpartition("/")[0])])
        for wake in wakes:
            wake()

    def owner_of(self, path: str) -> int:
        """The session that an ephemeral node belongs to, 0 otherwise."""
        with self._lock:
            node = self._nodes.get(path)
            return 0 if node is None else node.owner

    def _taken(self, paths: list[str]) -> list[Callable[[], None]]:
        """The watches that a change of these paths fires, used up."""
        found = []
        for path in dict.fromkeys(paths):
            for store, watch in self._watches.pop(path, []):
                if store.link is Link.CONNECTED:
                    found.append(watch)
                else:
                    store.missed.append(watch)
        return found

    def watch(self, path: str, store: FakeStore, watch: Callable[[], None]) -> None:
        """Leave a watch."""
        with self._lock:
            left = self._watches.setdefault(path, [])
            if (store, watch) not in left:
                left.append((store, watch))

    def new_session(self) -> int:
        """A number that was not given yet."""
        return next(self._sessions)

    def end_session(self, session: int) -> None:
        """Its ephemeral nodes go."""
        with self._lock:
            gone = [path for path, node in self._nodes.items() if node.owner == session]
        for path in gone:
            self.delete(path)


class FakeStore:
    """One session. `silence` is a lost connection, `expire` the end of the session on the servers' side, `speak` ends both."""

    def __init__(self, ensemble: FakeEnsemble, *, session_seconds: float = 10.0) -> None:
        self._ensemble = ensemble
        self._seconds = session_seconds
        self._link = Link.LOST
        self._session = 0
        self._expired = False
        self._listeners: list[Callable[[Link], None]] = []
        self.missed: list[Callable[[], None]] = []
        self.reads: list[str] = []

    # ------------------------------------------------------------------------------------------------ faults

    def silence(self) -> None:
        """No server answers any more; the session goes on for now."""
        self._turn(Link.SUSPENDED)

    def expire(self) -> None:
        """The servers end the session. The client does not know before it can speak to them again."""
        self._ensemble.end_session(self._session)
        self._expired = True
        if self._link is Link.CONNECTED:
            self.speak()

    def speak(self) -> None:
        """Servers answer again: the same session, or LOST and a new one when it expired."""
        if self._expired:
            self._expired = False
            self._session = 0
            self.missed.clear()
            self._turn(Link.LOST)
            self._session = self._ensemble.new_session()
        self._turn(Link.CONNECTED)
        missed, self.missed = self.missed, []
        for watch in missed:
            watch()

    def _turn(self, link: Link) -> None:
        self._link = link
        for listener in list(self._listeners):
            listener(link)

    # -------------------------------------------------------------------------------------------------- port

    def start(self, *, within: float) -> None:
        """See the port."""
        del within
        self._session = self._ensemble.new_session()
        self._turn(Link.CONNECTED)

    def stop(self) -> None:
        """See the port."""
        self._ensemble.end_session(self._session)
        self._session = 0
        self._turn(Link.LOST)

    @property
    def link(self) -> Link:
        """See the port."""
        return self._link

    @property
    def session(self) -> int:
        """See the port."""
        return self._session

    @property
    def session_seconds(self) -> float:
        """See the port."""
        return self._seconds

    def on_link(self, listener: Callable[[Link], None]) -> None:
        """See the port."""
        self._listeners.append(listener)

    def _reach(self) -> None:
        if self._link is not Link.CONNECTED:
            raise Unavailable("no server answers")

    def read(self, path: str, watch: Callable[[], None] | None = None) -> bytes | None:
        """See the port."""
        self._reach()
        self.reads.append(path)
        if watch is not None:
            self._ensemble.watch(path, self, watch)
        return self._ensemble.get(path)

    def children(self, path: str, watch: Callable[[], None] | None = None) -> tuple[str, ...]:
        """See the port."""
        self._reach()
        if watch is not None:
            self._ensemble.watch(path, self, watch)
        return self._ensemble.names(path)

    def sync(self, path: str) -> None:
        """See the port."""
        del path
        self._reach()

    def put(self, path: str, data: bytes) -> bool:
        """See the port."""
        self._reach()
        if self._ensemble.get(path.rpartition("/")[0]) is None:
            return False
        self._ensemble.set(path, data)
        return True

    def put_ephemeral(self, path: str, data: bytes) -> bool:
        """See the port."""
        self._reach()
        if self._ensemble.get(path) is not None and self._ensemble.owner_of(path) != self._session:
            return False
        self._ensemble.set(path, data, owner=self._session)
        return True
