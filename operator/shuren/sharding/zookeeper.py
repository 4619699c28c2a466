"""The store over kazoo (extra `sharding`). The only module that imports it.

kazoo's own retries are off: a lost connection shows at once, and whoever asked decides.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from kazoo import exceptions
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.serialization import Connect
from kazoo.protocol.states import KazooState

from shuren.sharding.core.errors import Unusable
from shuren.sharding.store import Link, Unavailable

_LINKS = {KazooState.CONNECTED: Link.CONNECTED, KazooState.SUSPENDED: Link.SUSPENDED, KazooState.LOST: Link.LOST}


class ZooKeeperStore:
    """See `store.Store`. `hosts` as `a:2181,b:2181`, `session_seconds` as asked for; `kazoo` is passed on to KazooClient (TLS,
    authentication).
    """

    def __init__(self, hosts: str, *, session_seconds: float = 10.0, request_seconds: float = 5.0, **kazoo: Any) -> None:
        self._kazoo = KazooClient(hosts=hosts, timeout=session_seconds, connection_retry={"max_delay": 1.0, "max_tries": -1}, **kazoo)
        self._hosts = hosts
        self._negotiated = session_seconds
        self._request = request_seconds
        self._listeners: list[Callable[[Link], None]] = []
        self._link = Link.LOST
        self._watches: dict[Callable[[], None], Callable[[object], None]] = {}
        self._kazoo.add_listener(self._changed)
        self._learn_what_is_negotiated()

    def _learn_what_is_negotiated(self) -> None:
        """The servers may allow a shorter session than asked for, and leases hang on it; kazoo keeps the figure to itself, so its answer
        is read.
        """
        connection: Any = getattr(self._kazoo, "_connection", None)
        invoke = getattr(connection, "_invoke", None)
        if invoke is None:
            raise Unusable("this version of kazoo hides the negotiated session time; use kazoo 2.10 or 2.11")

        def learning(timeout: float, request: object, xid: int | None = None) -> Any:
            result = invoke(timeout, request, xid)
            if isinstance(request, Connect) and result[0].time_out > 0:
                self._negotiated = result[0].time_out / 1000.0
            return result

        connection._invoke = learning  # noqa: SLF001  there is no other way to it

    def start(self, *, within: float) -> None:
        """See the port."""
        if not self._kazoo.start_async().wait(within):
            raise Unavailable(f"no ZooKeeper server answers at {self._hosts} within {within} s")

    def stop(self) -> None:
        """See the port."""
        self._kazoo.stop()
        self._kazoo.close()

    @property
    def link(self) -> Link:
        """See the port."""
        return self._link

    @property
    def session(self) -> int:
        """See the port."""
        identity: tuple[int, bytes] | None = self._kazoo.client_id
        return identity[0] if identity is not None and self._link is not Link.LOST else 0

    @property
    def session_seconds(self) -> float:
        """See the port."""
        return self._negotiated

    def on_link(self, listener: Callable[[Link], None]) -> None:
        """See the port."""
        self._listeners.append(listener)

    def _changed(self, state: str) -> None:
        self._link = _LINKS[state]
        for listener in list(self._listeners):
            listener(self._link)

    def _ask(self, what: str, begin: Callable[[], Any]) -> Any:
        if self._link is not Link.CONNECTED:
            raise Unavailable(f"{what}: no ZooKeeper server answers")
        try:
            return begin().get(timeout=self._request)
        except (exceptions.NoNodeError, exceptions.NodeExistsError):
            raise
        except (exceptions.KazooException, KazooTimeoutError, TimeoutError) as error:
            raise Unavailable(f"{what}: {error!r}") from error

    def read(self, path: str, watch: Callable[[], None] | None = None) -> bytes | None:
        """See the port."""
        fired = self._once(watch)
        with contextlib.suppress(exceptions.NoNodeError):
            data, _ = self._ask(f"read {path}", lambda: self._kazoo.get_async(path, watch=fired))
            return bytes(data)
        if fired is None:
            return None
        with contextlib.suppress(exceptions.NoNodeError):
            there = self._ask(f"read {path}", lambda: self._kazoo.exists_async(path, watch=fired))
            if there is not None:
                # came to be between the two questions; the watch left above covers what follows
                data, _ = self._ask(f"read {path}", lambda: self._kazoo.get_async(path))
                return bytes(data)
        return None

    def children(self, path: str, watch: Callable[[], None] | None = None) -> tuple[str, ...]:
        """See the port."""
        fired = self._once(watch)
        with contextlib.suppress(exceptions.NoNodeError):
            return tuple(sorted(self._ask(f"children of {path}", lambda: self._kazoo.get_children_async(path, watch=fired))))
        if fired is not None:
            self._ask(f"children of {path}", lambda: self._kazoo.exists_async(path, watch=fired))
        return ()

    def sync(self, path: str) -> None:
        """See the port."""
        self._ask(f"sync {path}", lambda: self._kazoo.sync_async(path))

    def put(self, path: str, data: bytes) -> bool:
        """See the port."""
        with contextlib.suppress(exceptions.NoNodeError):
            self._ask(f"write {path}", lambda: self._kazoo.set_async(path, data))
            return True
        try:
            self._ask(f"write {path}", lambda: self._kazoo.create_async(path, data))
        except exceptions.NodeExistsError:
            self._ask(f"write {path}", lambda: self._kazoo.set_async(path, data))
        except exceptions.NoNodeError:
            return False
        return True

    def put_ephemeral(self, path: str, data: bytes) -> bool:
        """See the port."""
        try:
            there = self._ask(f"write {path}", lambda: self._kazoo.exists_async(path))
            if there is not None and there.ephemeralOwner != self.session:
                return False
            if there is not None:
                self._ask(f"write {path}", lambda: self._kazoo.set_async(path, data))
            else:
                self._ask(f"write {path}", lambda: self._kazoo.create_async(path, data, ephemeral=True, makepath=True))
        except (exceptions.NoNodeError, exceptions.NodeExistsError) as error:
            raise Unavailable(f"write {path}: it came or went at the same moment") from error
        return True

    def _once(self, watch: Callable[[], None] | None) -> Callable[[object], None] | None:
        """Kazoo keeps one watch for each function, so the same one has to be given each time."""
        if watch is None:
            return None
        return self._watches.setdefault(watch, lambda _: watch())
