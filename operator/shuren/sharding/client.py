"""`ShardMapClient`: routes keys by a map that the operator publishes, and follows it.

    with ShardMapClient(ZooKeeperStore("zk-1:2181"), "/shuren/bj1/shards/shop.cart") as client:
        client.route("user:7").address

Looking up takes no lock and asks nobody: `route` and its kin are those of one immutable router, replaced as a whole when the map changes.
They go on with the last good table when ZooKeeper, the operator or the published map is away or broken; `status` says how things are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Never, Self, TypeVar

from shuren.sharding.core.algorithms.slots import Slots
from shuren.sharding.core.backend import Backend
from shuren.sharding.core.errors import Malformed, ShardingError, Unusable
from shuren.sharding.core.keys import Key
from shuren.sharding.core.member import Member
from shuren.sharding.core.table import ShardTable
from shuren.sharding.reader import MapReader
from shuren.sharding.store import Link, Store, Unavailable
from shuren.sharding.wrong_shard import NotServing, OutcomeUnknown, WrongShard

log = logging.getLogger(__name__)
T = TypeVar("T")

RESYNC_SECONDS = 30.0
"""The head is looked at so often even when no watch fires."""
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class NoMap(ShardingError):
    """No usable map was found yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientStatus:
    """How things are. `problem` is why the newest map is not in use; empty when all is well. `age` is seconds since the head was last
    seen.
    """

    generation: int = 0
    term: int = 0
    link: Link = Link.LOST
    age: float | None = None
    problem: str = ""


@dataclass(slots=True)
class _Wish:
    """Who waits for a generation."""

    generation: int
    met: threading.Event = field(default_factory=threading.Event)


class Attempts:
    """What `ShardMapClient.call` decides between its tries."""

    def __init__(self, client: ShardMapClient, key: Key, *, tries: int, reply_within: float | None) -> None:
        if tries < 1:
            raise Unusable(f"tries is {tries}: it has to be 1 or more")
        self._client = client
        self._key = key
        self._left = tries
        self._reply_within = reply_within
        self._ask: Member | None = None
        self._asked = ""

    def member(self) -> Member:
        """Whom to send to now."""
        member, self._ask = self._ask if self._ask is not None else self._client.route(self._key), None
        self._asked = member.id
        return member

    def refused(self, error: WrongShard | NotServing) -> int | None:
        """What to wait for after a refusal: None for nothing, a generation, or 0 for a moment. Raises `error` when no try is left."""
        self._left -= 1
        if self._left < 1:
            raise error
        if isinstance(error, NotServing):
            return 0
        if error.ask and error.address:
            self._ask = Member(id=error.owner, address=error.address)
            return None
        known = self._client.status.generation
        return error.generation if error.generation > known else known + 1

    def believe(self, taken: float) -> None:
        """OutcomeUnknown when a reply took so many seconds that a replaced member may have given it."""
        if self._reply_within is not None and taken > self._reply_within:
            raise OutcomeUnknown(
                f"the reply of {self._asked} took {taken:.1f} s, more than {self._reply_within:.1f} s: that member may have been replaced"
            )


class ShardMapClient:
    """See the module. `path` is the map's node; the store is started and stopped with the client. May be used from any thread.

    `route`, `route_many`, `slot`, `replicas` and `candidates` are those of `core.router.Router`, NoMap before there is a table. A
    reference to one of them, kept outside, stays with the table of its time; ask through the client.
    """

    route: Callable[[Key], Member]
    route_many: Callable[[Iterable[Key]], list[Member]]
    slot: Callable[[Key], int]
    replicas: Callable[[Key], tuple[Member, ...]]
    candidates: Callable[[Key], Iterator[Member]]

    def __init__(self, store: Store, path: str, *, resync: float = RESYNC_SECONDS, backend: Backend | None = None) -> None:
        self._store = store
        self._path = path
        self._reader = MapReader(store, path)
        self._resync = resync
        self._backend = backend
        self._table: ShardTable | None = None
        self._seen: float | None = None
        self._problem = ""
        self._listeners: list[Callable[[ShardTable | None, ShardTable], None]] = []
        self._wishes: list[_Wish] = []
        self._look = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.route = self.route_many = self.slot = self.replicas = self.candidates = self._no_map

    # ------------------------------------------------------------------------------------------------ life

    def start(self, *, within: float = 10.0) -> Self:
        """Connect and read the map. NoMap when there is none within so many seconds; the client then goes on looking in the background."""
        deadline = time.monotonic() + within
        self._store.on_link(lambda _: self._look.set())
        problem = ""
        try:
            self._store.start(within=within)
        except Unavailable as error:
            problem = str(error)
        wish = _Wish(0)
        with self._lock:
            self._wishes.append(wish)
        self._thread = threading.Thread(target=self._follow, name=f"shards {self._path}", daemon=True)
        self._look.set()
        self._thread.start()
        if not wish.met.wait(max(deadline - time.monotonic(), 0.0)):
            raise NoMap(f"{self._path}: no map to route by within {within} s: {problem or self._problem or 'nothing is published there'}")
        return self

    def stop(self) -> None:
        """Stop following and end the session. The last table stays in use. Not to be called from a listener."""
        self._stopped.set()
        self._look.set()
        if self._thread is not None:
            self._thread.join()
        self._store.stop()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except NoMap:
            self.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # --------------------------------------------------------------------------------------------- looking

    @property
    def table(self) -> ShardTable | None:
        """The table in use."""
        return self._table

    @property
    def status(self) -> ClientStatus:
        """How things are."""
        table = self._table
        return ClientStatus(
            generation=table.generation if table is not None else 0,
            term=table.term if table is not None else 0,
            link=self._store.link,
            age=None if self._seen is None else time.monotonic() - self._seen,
            problem=self._problem,
        )

    def on_change(self, listener: Callable[[ShardTable | None, ShardTable], None]) -> None:
        """Be called with the table before (None at first) and the new one, which is in use already. In the client's thread, one after
        another.
        """
        self._listeners.append(listener)

    def wait_for(self, generation: int, *, within: float) -> bool:
        """Look at the map now, and wait until the table is of this generation or a later one. False when it is not in time."""
        table = self._table
        if table is not None and table.generation >= generation:
            return True
        wish = _Wish(generation)
        with self._lock:
            self._wishes.append(wish)
        self._look.set()
        try:
            return wish.met.wait(within)
        finally:
            with self._lock:
                self._wishes = [w for w in self._wishes if w is not wish]

    # --------------------------------------------------------------------------------------------- calling

    def call(self, key: Key, send: Callable[[Member], T], *, tries: int = 5, pause: float = 0.1, reply_within: float | None = None) -> T:
        """Send a request to the key's member and see it through while shards move.

        `send` raises WrongShard or NotServing for such a reply (`WrongShard.from_bytes`), and anything else for itself. After WrongShard
        the map is refreshed, or the named owner asked once; when `tries` are used up, the last refusal is raised: nothing was carried out.
        A reply that takes longer than `reply_within` seconds (`ShardMember.reply_bound` of the servers) is not believed: OutcomeUnknown.
        """
        steps = self.attempts(key, tries=tries, reply_within=reply_within)
        while True:
            member = steps.member()
            sent = time.monotonic()
            try:
                reply = send(member)
            except (WrongShard, NotServing) as error:
                newer = steps.refused(error)
                if newer is None:
                    continue
                if not newer:
                    self._stopped.wait(pause)
                else:
                    self.wait_for(newer, within=pause)
            else:
                steps.believe(time.monotonic() - sent)
                return reply

    def attempts(self, key: Key, *, tries: int = 5, reply_within: float | None = None) -> Attempts:
        """The decisions of `call`, for callers that send in their own way."""
        return Attempts(self, key, tries=tries, reply_within=reply_within)

    # ------------------------------------------------------------------------------------------- following

    def _no_map(self, _: object, /) -> Never:
        raise NoMap(f"{self._path}: no map to route by yet: {self._problem or 'start() the client'}")

    def _follow(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            pause = _RETRY_SECONDS[min(failures - 1, len(_RETRY_SECONDS) - 1)] if failures else self._resync
            self._look.wait(pause)
            self._look.clear()
            if self._stopped.is_set():
                return
            try:
                good = self._refresh()
            except Exception as error:
                # whatever it is, the map has to be followed on
                log.exception("%s: the map could not be read; tried again", self._path)
                self._problem, good = f"{type(error).__name__}: {error}", False
            failures = 0 if good else failures + 1
            self._fulfil()

    def _refresh(self) -> bool:
        """Take up what is published. False when that has to be tried again soon."""
        try:
            table = self._reader.refresh(self._look.set)
        except (Malformed, Unavailable) as error:
            if str(error) != self._problem:
                log.warning("%s: %s; the table of generation %s stays in use", self._path, error, self.status.generation)
            self._problem = str(error)
            return False
        self._problem = ""
        self._seen = time.monotonic()
        if table is not None and table is not self._table:
            self._use(table)
        return True

    def _use(self, table: ShardTable) -> None:
        router = Slots(table, backend=self._backend)
        before, self._table = self._table, table
        self.route, self.route_many, self.slot = router.route, router.route_many, router.slot
        self.replicas, self.candidates = router.replicas, router.candidates
        for listener in list(self._listeners):
            try:
                listener(before, table)
            except Exception:
                log.exception("%s: a listener for changes failed", self._path)

    def _fulfil(self) -> None:
        table = self._table
        if table is None:
            return
        with self._lock:
            for wish in self._wishes:
                if table.generation >= wish.generation:
                    wish.met.set()
