"""The `ZooKeeper` port over kazoo.

kazoo runs its own threads; their results and watches are handed to the event loop with `call_soon_threadsafe`. Retrying is left to the
caller's queue: kazoo's own command retry is off, so that a lost connection is told at once as Unreachable (reads) or UnknownOutcome
(writes).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kazoo import exceptions
from kazoo.client import KazooClient, TransactionRequest
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import EventType, KazooState, WatchedEvent
from kazoo.security import ACL, make_acl, make_digest_acl

from shuren.clients.http import Observe
from shuren.clients.zookeeper.sasl import Connection
from shuren.clients.zookeeper.tls import Handler, Tls
from shuren.domain.errors import Conflict, Denied, Exists, Gone, ShurenError, UnknownOutcome, Unreachable
from shuren.ports.zookeeper import Check, Create, Delete, Node, Operation, Session, SetData, require_size

log = logging.getLogger(__name__)

_STATES = {
    KazooState.CONNECTED: Session.CONNECTED,
    KazooState.SUSPENDED: Session.SUSPENDED,
    KazooState.LOST: Session.LOST,
}
_LOST = (
    exceptions.ConnectionLoss,
    exceptions.ConnectionClosedError,
    exceptions.SessionExpiredError,
    exceptions.OperationTimeoutError,
    KazooTimeoutError,
)
_FAREWELL = 2.0
"""Seconds for a server to confirm the end of a session."""
_TOGETHER = 256
"""Requests that are on their way at the same time while rights are handed over."""
_DENIED = (exceptions.NoAuthError, exceptions.AuthFailedError, exceptions.InvalidACLError)


@dataclass(frozen=True, kw_only=True)
class Digest:
    """Name and password; what we create is then open to them only.

    `sasl`: proven by SASL (DIGEST-MD5) at the beginning of each connection, and rights go to the name. Else the scheme `digest`, by which
    rights go to name and password together.
    """

    username: str
    password: str = field(repr=False)
    sasl: bool = False


class _Async(Protocol):
    """What kazoo's asynchronous calls return."""

    def rawlink(self, callback: Callable[[_Async], None]) -> None: ...

    def get(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class _Watch:
    """Who wants to know of a path; `known` as in the port."""

    wake: Callable[[], None]
    known: Callable[[], int | None] | None


class ZooKeeperClient:
    """See the port. `hosts` as `a:2181,b:2181`; `session_timeout` in seconds.

    `observe` gets each request as target `zookeeper`, verb READ or WRITE and code `ok`, or `error` when there was no answer.
    """

    def __init__(
        self,
        hosts: str,
        *,
        session_timeout: float = 10.0,
        digest: Digest | None = None,
        tls: Tls | None = None,
        request_timeout: float = 10.0,
        observe: Observe | None = None,
    ) -> None:
        self._observe = observe
        self._digest = digest
        self._handler = Handler(tls)
        self._kazoo = KazooClient(
            hosts=hosts,
            timeout=session_timeout,
            default_acl=None if digest is None else _only(digest),
            auth_data=None if digest is None or digest.sasl else [("digest", f"{digest.username}:{digest.password}")],
            connection_retry={"max_delay": 2.0, "max_tries": -1},
            handler=self._handler,
            use_ssl=tls is not None,
        )
        if digest is not None and digest.sasl:
            self._kazoo._connection = Connection(self._kazoo, self._handler, username=digest.username, password=digest.password)  # noqa: SLF001 - kazoo asks for none
        self._hosts = hosts
        self._timeout = request_timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session = Session.LOST
        self._connected = asyncio.Event()
        """Set when the first session begins."""
        self._listeners: list[Callable[[Session], None]] = []
        self._watches: dict[str, list[_Watch]] = {}
        self._armed: set[str] = set()
        self._unsure: set[str] = set()
        """Paths of which a watch could not be left, or was left at a node that was not there: only the whole can be armed again."""
        self._callbacks: dict[str, Callable[[WatchedEvent], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, *, within: float = 15.0) -> None:
        """Start the session; Unreachable when no server answers in time (the client then goes on trying in the background)."""
        self._loop = asyncio.get_running_loop()
        self._kazoo.add_listener(self._state_changed)
        self._kazoo.start_async()
        try:
            # not kazoo's own wait: a thread that waits for a server that is away would hold up the end of the process
            async with asyncio.timeout(within):
                await self._connected.wait()
        except TimeoutError as error:
            raise Unreachable(f"ZooKeeper does not answer at {self._hosts}{self._why()}") from error

    async def close(self) -> None:
        """See the port. A server that does not answer is waited for no longer than `_FAREWELL`: kazoo itself would wait 10 s and more."""
        loop = asyncio.get_running_loop()
        patience = loop.time() + (_FAREWELL if self._session is Session.CONNECTED else 0.0)
        stopping = loop.run_in_executor(None, self._stop)
        while not stopping.done():
            await asyncio.wait({stopping}, timeout=0.05)
            if not stopping.done() and loop.time() > patience:
                self._handler.hang_up()
        await stopping
        for task in list(self._tasks):
            task.cancel()

    def _stop(self) -> None:
        self._kazoo.stop()
        self._kazoo.close()

    # ------------------------------------------------------------------------------------------------ session

    @property
    def session(self) -> Session:
        """See the port."""
        return self._session

    def on_session(self, listener: Callable[[Session], None]) -> None:
        """See the port."""
        self._listeners.append(listener)

    def _state_changed(self, state: str) -> None:
        """Called in kazoo's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._set_session, _STATES[state])

    def _set_session(self, session: Session) -> None:
        if session is self._session:
            return
        self._session = session
        if session is Session.CONNECTED:
            self._connected.set()
            # whatever changed while we were away was not told: wake everybody, and arm again
            self._armed.clear()
            for path in list(self._watches):
                self._arm(path)
                self._wake(path)
        for listener in list(self._listeners):
            listener(session)

    # ------------------------------------------------------------------------------------------------ calls

    async def _call(self, begin: Callable[[], _Async], *, verb: str = "READ") -> Any:
        started, code = time.monotonic(), "error"
        asked = self._ask(begin)
        try:
            # not wait_for: until Python 3.12 it forgets a cancellation that comes together with the answer
            async with asyncio.timeout(self._timeout):
                answer = await asked
            code = "ok"
        except exceptions.NoNodeError:
            code = "ok"  # an answer like any other
            raise
        finally:
            if self._observe is not None:
                self._observe("zookeeper", verb, code, time.monotonic() - started)
        return answer

    def _ask(self, begin: Callable[[], _Async]) -> asyncio.Future[Any]:
        """Send at once: whatever is asked for later reaches the server later."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: _Async) -> None:
            if future.done():
                return
            try:
                future.set_result(result.get())
            except Exception as error:  # noqa: BLE001 - whatever kazoo raises is mapped by the caller
                future.set_exception(error)

        def done(result: _Async) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result)

        begin().rawlink(done)
        return future

    async def _read(self, begin: Callable[[], _Async], what: str) -> Any:
        try:
            return await self._call(begin)
        except exceptions.NoNodeError:
            return None
        except _DENIED as error:
            raise Denied(f"{what}: ZooKeeper refuses our credentials or the node's ACL excludes them") from error
        except (*_LOST, TimeoutError) as error:
            raise Unreachable(f"{what}: ZooKeeper does not answer{self._why() or f': {error!r}'}") from error
        except exceptions.KazooException as error:
            raise Unreachable(f"{what}: {error!r}") from error

    def _why(self) -> str:
        """Why no connection can be opened, as the end of a sentence; empty when that is not the matter."""
        return f": {self._handler.failure}" if self._handler.failure else ""

    async def get(self, path: str) -> Node | None:
        """See the port."""
        found = await self._read(lambda: self._kazoo.get_async(path), f"get {path}")
        return None if found is None else Node(data=found[0], version=found[1].version)

    async def children(self, path: str) -> tuple[str, ...] | None:
        """See the port."""
        found = await self._read(lambda: self._kazoo.get_children_async(path), f"children of {path}")
        return None if found is None else tuple(sorted(found))

    async def get_many(self, paths: Sequence[str]) -> tuple[Node | None, ...]:
        """See the port: all requests are on their way before the first answer is read."""
        return tuple(await asyncio.gather(*(self.get(path) for path in paths)))

    async def commit(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        """See the port."""
        if not operations:
            return ()
        require_size(operations)
        if self._session is not Session.CONNECTED:
            # kazoo would keep it and send it whenever a server is found again, long after the caller has looked and decided anew
            raise Unreachable("ZooKeeper does not answer; nothing was written")
        transaction = self._transaction(operations)
        what = f"write {', '.join(operation.path for operation in operations[:3])}{' …' if len(operations) > 3 else ''}"  # noqa: PLR2004
        try:
            results = await self._call(transaction.commit_async, verb="WRITE")
        except _DENIED as error:
            raise Denied(f"{what}: ZooKeeper refuses our credentials or the node's ACL excludes them") from error
        except (*_LOST, TimeoutError) as error:
            raise UnknownOutcome(f"{what}: sent, but no answer came: {error!r}") from error
        except exceptions.KazooException as error:
            raise Unreachable(f"{what}: {error!r}") from error
        return _outcome(operations, results)

    def _transaction(self, operations: Sequence[Operation]) -> TransactionRequest:
        transaction = self._kazoo.transaction()
        for operation in operations:
            match operation:
                case Create(path=path, data=data, ephemeral=ephemeral):
                    transaction.create(path, data, ephemeral=ephemeral)
                case SetData(path=path, data=data, version=version):
                    transaction.set_data(path, data, version)
                case Delete(path=path, version=version):
                    transaction.delete(path, version)
                case Check(path=path, version=version):
                    transaction.check(path, version)
        return transaction

    async def ensure_path(self, path: str) -> None:
        """See the port."""
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            here = "/" + "/".join(parts[:depth])
            if await self.get(here) is None:
                try:
                    await self.commit([Create(path=here)])
                except Exists:
                    continue

    async def version(self) -> str:
        """See the port. `srvr` is the one four-letter word that servers answer by default."""
        try:
            said = await asyncio.get_running_loop().run_in_executor(None, self._kazoo.command, b"srvr")
        except (exceptions.KazooException, KazooTimeoutError, OSError, AttributeError) as error:
            # AttributeError: kazoo has lost its socket in this very moment
            raise Unreachable(f"srvr: ZooKeeper does not answer: {error!r}") from error
        found = re.match(r"Zookeeper version: ([0-9][0-9A-Za-z.]*)", said)
        return "" if found is None else found[1]

    # ------------------------------------------------------------------------------------------------ passwords

    async def admit(self, digest: Digest, root: str) -> None:
        """Give this session a new password beside its own, and hand everything at and below `root`, and above it, over to the new one.

        Only what the old password alone may touch is handed over. Unreachable or Denied when that could not be ended: try again, half done
        does no harm, since this session has both. By SASL a new password counts from the next connection on, and rights stay as they are; a
        session cannot become somebody else (Denied).
        """
        former, self._digest = self._digest, digest
        login = self._kazoo._connection  # noqa: SLF001 - ours, see above
        if isinstance(login, Connection) or digest.sasl:
            if not isinstance(login, Connection) or not digest.sasl or login.username != digest.username:
                raise Denied("by SASL a session stays who it is: what the former name may touch is to be opened by hand (setAcl)")
            login.password = digest.password
            return
        await self._admit(self._kazoo.add_auth_async("digest", f"{digest.username}:{digest.password}"))
        self._kazoo.default_acl = _only(digest)
        if former is None or former == digest:
            return
        parts = root.strip("/").split("/")
        for depth in range(1, len(parts)):
            await self._hand_over("/" + "/".join(parts[:depth]), former, digest)
        level = ["/" + "/".join(parts)]
        while level:
            for at in range(0, len(level), _TOGETHER):
                await asyncio.gather(*(self._hand_over(path, former, digest) for path in level[at : at + _TOGETHER]))
            below = [await self.children(path) for path in level]
            level = [f"{path}/{name}" for path, names in zip(level, below, strict=True) for name in names or ()]

    async def _admit(self, asked: _Async) -> None:
        if not await self._call(lambda: asked):
            raise Denied("ZooKeeper does not take the new password")

    async def _hand_over(self, path: str, former: Digest, digest: Digest) -> None:
        found = await self._read(lambda: self._kazoo.get_acls_async(path), f"rights of {path}")
        if found is not None and list(found[0]) == _only(former):
            await self._read(lambda: self._kazoo.set_acls_async(path, _only(digest), found[1].aversion), f"rights of {path}")

    # ------------------------------------------------------------------------------------------------ watches

    def watch(self, path: str, wake: Callable[[], None], *, known: Callable[[], int | None] | None = None) -> Callable[[], None]:
        """See the port."""
        watch = _Watch(wake, known)
        others = self._watches.setdefault(path, [])
        if known is None and path in self._armed and not any(other.known is None for other in others):
            self._armed.discard(path)
            self._unsure.add(path)
        others.append(watch)
        # one object per path: kazoo keeps a set, so that a watch left again before it has fired does not pile up
        self._callbacks.setdefault(path, lambda event: self._fired(path, event))
        self._arm(path)

        def end() -> None:
            watches = self._watches.get(path, [])
            if watch in watches:
                watches.remove(watch)
            if not watches:
                self._watches.pop(path, None)
                self._callbacks.pop(path, None)
                self._unsure.discard(path)

        return end

    def _wake(self, path: str) -> None:
        for watch in list(self._watches.get(path, ())):
            watch.wake()

    def _arm(self, path: str, fired_by: str = "") -> None:
        """Leave one-shot watches, for existence and data and for children; only that which `fired_by` has used up, where this is certain.

        Both are sent before this returns, and so before whatever a woken caller reads: a change after its reading fires them. (Sent one
        after the other, the second lost changes between that reading and its own arrival.)

        When the data has changed, whoever tells what it knows is woken if the answer has another version.
        """
        callback = self._callbacks.get(path)
        if path in self._armed or self._loop is None or callback is None:
            return
        self._armed.add(path)
        only = "" if path in self._unsure else fired_by
        self._unsure.discard(path)
        try:
            asked = [] if only == EventType.CHILD else [self._ask(lambda: self._kazoo.exists_async(path, watch=callback))]
            if only != EventType.CHANGED and any(watch.known is None for watch in self._watches[path]):
                asked.append(self._ask(lambda: self._kazoo.get_children_async(path, watch=callback)))
        except exceptions.KazooException as error:
            self._not_armed(path, error)
            return
        if not asked:
            return
        task = self._loop.create_task(self._armed_now(path, asked, changed=fired_by == EventType.CHANGED))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _armed_now(self, path: str, asked: Sequence[asyncio.Future[Any]], *, changed: bool) -> None:
        done, late = await asyncio.wait(asked, timeout=self._timeout)
        for future in late:
            future.cancel()
        failed = [e for f in done if not f.cancelled() and (e := f.exception())]
        errors = [e for e in failed if not isinstance(e, exceptions.NoNodeError)]
        if failed:
            self._unsure.add(path)
        if late or errors:
            self._not_armed(path, errors[0] if errors else TimeoutError())
        if not changed:
            return
        there = asked[0]
        stat = there.result() if there in done and not there.cancelled() and there.exception() is None else None
        for watch in list(self._watches.get(path, ())):
            if watch.known is not None and (late or errors or watch.known() != (None if stat is None else stat.version)):
                watch.wake()

    def _not_armed(self, path: str, error: BaseException) -> None:
        """Armed again with the next session; the caller's own resync covers the time until then."""
        self._armed.discard(path)
        self._unsure.add(path)
        log.debug("watch of %s could not be left: %r", path, error)

    def _fired(self, path: str, event: WatchedEvent) -> None:
        """Called in kazoo's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._rearm, path, event.type)

    def _rearm(self, path: str, fired_by: str) -> None:
        self._armed.discard(path)
        if path in self._watches and self._session is Session.CONNECTED:
            self._arm(path, fired_by)
            # what was deleted may be there again under a version that somebody knows: only a change is compared
            for watch in list(self._watches[path]):
                if watch.known is None or fired_by != EventType.CHANGED:
                    watch.wake()


def _only(digest: Digest) -> list[ACL]:
    """All rights to this password (by SASL: to this name), and none to anybody else."""
    if digest.sasl:
        return [make_acl("sasl", digest.username, all=True)]
    return [make_digest_acl(digest.username, digest.password, all=True)]


def _outcome(operations: Sequence[Operation], results: Sequence[Any]) -> tuple[int | None, ...]:
    """New versions, or the error of the first operation that failed (the others only say that they were rolled back)."""
    for index, (operation, result) in enumerate(zip(operations, results, strict=True)):
        if not isinstance(result, Exception) or isinstance(result, (exceptions.RolledBackError, exceptions.RuntimeInconsistency)):
            continue
        raise _refusal(operation, result, index)
    if any(isinstance(result, Exception) for result in results):
        raise Unreachable("ZooKeeper rolled the transaction back without a reason")
    return tuple(
        result.version if isinstance(operation, SetData) else 0 if isinstance(operation, Create) else None
        for operation, result in zip(operations, results, strict=True)
    )


def _refusal(operation: Operation, error: Exception, index: int) -> ShurenError:
    match error:
        case exceptions.NodeExistsError():
            return Exists(f"{operation.path} exists", index=index)
        case exceptions.NoNodeError():
            return Gone(f"{operation.path} does not exist (or its parent)", index=index)
        case exceptions.BadVersionError():
            return Conflict(f"{operation.path} was changed by somebody else", index=index)
        case exceptions.NotEmptyError():
            return Conflict(f"{operation.path} has children", index=index)
        case exceptions.NoChildrenForEphemeralsError():
            return Conflict(f"the parent of {operation.path} is ephemeral and takes no children", index=index)
        case exceptions.NoAuthError():
            return Denied(f"{operation.path}: its ACL excludes us")
        case _:
            return Unreachable(f"{operation.path}: {error!r}")
