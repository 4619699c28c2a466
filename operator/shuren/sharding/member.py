"""`ShardMember`: a server's part in a published map. Registers, carries out moves, and says which requests may be served.

    with ShardMember(ZooKeeperStore("zk-1:2181"), "/shuren/bj1/shards/shop.cart", id="agent-7", address="10.0.0.7:7000", server=store) as
    member:
        with member.serving("user:7") as permit:     # WrongShard, NotServing: answer with that
            ...                                       # write with permit.fence
            if not permit.valid: raise …              # stopped for too long: say nothing

Three things have to come together before a request is served: the table or a move makes this member the shard's primary, the application
has done what that asked of it, and the lease runs. The lease hangs on the session with ZooKeeper (`lease`); after a session was lost,
nothing is served before the member has registered anew and read, after that, what is still its own.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.duties import Duty, Held, Role, Step, duties
from shuren.sharding.core.errors import Mismatch, ShardingError
from shuren.sharding.core.keys import Key
from shuren.sharding.core.member import Member
from shuren.sharding.core.moves import Fence, Live, Move, Report
from shuren.sharding.core.slots import redis_slot_of, slot_of
from shuren.sharding.core.table import KeyHash, ShardTable
from shuren.sharding.handoff import Handoff, Permit, ShardServer, address_of
from shuren.sharding.lease import Lease, seconds
from shuren.sharding.reader import MapReader
from shuren.sharding.store import Link, Store, Unavailable
from shuren.sharding.wrong_shard import NotServing, WrongShard

log = logging.getLogger(__name__)

RESYNC_SECONDS = 30.0
_BEATS = 5.0
"""Heartbeats in one session time."""
RETRY_SECONDS = 1.0
_COMING = frozenset({Step.PREPARE, Step.CATCH_UP, Step.ACTIVATE})
"""What is done for shards that a member is to have."""
_BUSIEST = 32
"""Shards whose load is told one by one."""
_DRAIN_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberStatus:
    """How things are. `serving` and `held` count shards; `lease` is seconds left, 0 when nothing may be served; `problem` says why.

    `caught_up`: of what the map places here, nothing is left to be copied, to catch up with or to be taken over; also while no map is
    published. Answer a readiness check of Marathon with it: a roll-out of the app then goes on when copies are whole, not when
    processes run.
    """

    generation: int = 0
    link: Link = Link.LOST
    lease: float = 0.0
    serving: int = 0
    held: Mapping[str, int]
    problem: str = ""
    caught_up: bool = False


class ShardMember:
    """See the module. `id` is the member's identity in the map, `path` the map's node; the store is started and stopped with the member.

    `holding` are shards that the application found on its disk, of a map of `holding_of` shards (0: of as many as it has now). `workers`
    calls of the application run at once. In seconds: `resync` is how often everything is looked at without a reason, `drain` how long
    requests may take to end before a shard is handed over, `retry` after what time a failure is tried again.
    """

    def __init__(
        self,
        store: Store,
        path: str,
        *,
        id: str,  # noqa: A002  the field's own word
        server: ShardServer,
        address: str = "",
        holding: Iterable[int] = (),
        holding_of: int = 0,
        workers: int = 4,
        resync: float = RESYNC_SECONDS,
        drain: float = _DRAIN_SECONDS,
        retry: float = RETRY_SECONDS,
    ) -> None:
        self.id = id
        self._store = store
        self._path = path.rstrip("/")
        self._server = server
        self._address = address
        self._resync = resync
        self._drain_seconds = drain
        self._retry_seconds = retry
        self._instance = uuid.uuid4().hex
        self._reader = MapReader(store, path)
        self._lease = Lease()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._held: dict[int, Held] = {shard: Held(role=Role.COPYING) for shard in holding}
        self._serving: dict[int, Fence] = {}
        self._running: Counter[int] = Counter()
        self._passing_on: dict[int, str] = {}
        self._busy: dict[int, Handoff] = {}
        self._retry_at: dict[int, float] = {}
        self._seen: dict[int, Fence] = {}
        self._layout = holding_of
        self._table: ShardTable | None = None
        self._generation = 0
        self._registered = 0
        """The session in which the live node was written last."""
        self._load: tuple[int, dict[int, int]] | None = None
        self._pass_problem, self._beat_problem = "", "not started"
        self._closing = self._caught_up = False
        self._look, self._beat, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"shards {path}")
        self._threads: list[threading.Thread] = []

    # ------------------------------------------------------------------------------------------------ life

    def start(self, *, within: float = 10.0) -> Self:
        """Connect and begin. Unavailable when ZooKeeper does not answer within so many seconds; the member then goes on trying."""
        self._store.on_link(self._link_changed)
        for work in (self._keep_alive, self._follow):
            thread = threading.Thread(target=work, name=f"shards {self._path} {work.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._store.start(within=within)
        self._beat.set()
        return self

    def stop(self) -> None:
        """Serve nothing any more, wait for requests that run (`drain` seconds at most), tell the application's calls that they are off
        and wait for them, and end the session. Not to be called from such a call.
        """
        with self._lock:
            self._closing = True
            self._serving = {}
            self._idle.wait_for(lambda: not self._running, self._drain_seconds)
        self._lease.end()
        self._stopped.set()
        self._look.set()
        self._beat.set()
        for handoff in list(self._busy.values()):
            handoff.cancelled.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(cancel_futures=True)
        self._store.stop()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except Unavailable:
            self.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # --------------------------------------------------------------------------------------------- serving

    def slot(self, key: Key) -> int:
        """The shard of a key. NotServing before there is a table."""
        table = self._table
        if table is None:
            raise NotServing(f"no map was read yet: {self._problem()}", slot=0)
        return slot_of(key, table.shards) if table.hash is KeyHash.XXH64 else redis_slot_of(key)

    def permit(self, slot: int) -> Permit:
        """Leave to serve a request of this shard now. WrongShard when it is somebody else's, NotServing when it may be ours later."""
        fence = self._serving.get(slot)
        if fence is None:
            raise self._refusal(slot)
        until = self._lease.until
        if seconds() >= until:
            raise NotServing(f"the lease has run out: {self._problem() or 'ZooKeeper has not answered in time'}", slot=slot)
        return Permit(shard=slot, fence=fence, until=until)

    @contextmanager
    def serving(self, key: Key) -> Iterator[Permit]:
        """`permit` for a key, and the shard is not handed over before the block is left."""
        with self._lock:
            # the table and what is served by it have to be of one layout
            slot = self.slot(key)
            permit = self.permit(slot)
            self._running[slot] += 1
        try:
            yield permit
        finally:
            with self._lock:
                self._running[slot] -= 1
                if not self._running[slot]:
                    del self._running[slot]
                    self._idle.notify_all()

    def replicas(self, slot: int) -> tuple[Member, ...]:
        """All who hold a shard by the table in use, its primary first, this member among them. None before there is a table.

        What is written under a permit must be with each of them before it is acknowledged, but for those that hold no copy (they say so,
        and catch up before they count again) and those that are `gone`.
        """
        table = self._table
        if table is None or not 0 <= slot < table.shards:
            return ()
        by_number = {m.number: m for m in table.members}
        return tuple(by_number[number] for number in table.owners_of(slot) if number in by_number)

    def gone(self, member: str) -> bool:
        """Whether the session of a member has ended: asked of ZooKeeper now. When it has, that member's copies count as lagging, and it
        serves nothing and is made nobody's successor before it has caught up anew. Unavailable when ZooKeeper does not answer.
        """
        self._store.sync(self._path)
        return self._store.read(f"{self._path}/live/{codec.node_name(member)}") is None

    def measured(self, loads: Mapping[int, int]) -> None:
        """What the shards that this member leads were asked for lately, in any unit that all members of the map use (requests,
        milliseconds of a processor). Told to the operator with the next heartbeat: the sum, and the busiest shards one by one.
        """
        busiest = sorted(loads, key=lambda shard: (-loads[shard], shard))[:_BUSIEST]
        self._load = sum(loads.values()), {shard: loads[shard] for shard in busiest if loads[shard]}

    def _refusal(self, slot: int) -> WrongShard | NotServing:
        table, to = self._table, self._passing_on.get(slot)
        generation = table.generation if table is not None else 0
        if to is not None:
            address = address_of(table.members, to) if table is not None else ""
            return WrongShard(
                f"shard {slot} is being handed over to {to}", slot=slot, generation=generation, owner=to, address=address, ask=True
            )
        if table is None or not 0 <= slot < table.shards:
            return NotServing(f"shard {slot}: {self._problem() or 'not in the map'}", slot=slot)
        owner = table.member(table.owners[slot])
        if owner is None or owner.id == self.id:
            return NotServing(f"shard {slot} is not ready here", slot=slot)
        return WrongShard(f"shard {slot} is with {owner.id}", slot=slot, generation=generation, owner=owner.id, address=owner.address)

    @property
    def reply_bound(self) -> float:
        """Seconds after which callers should not believe a reply any more (`ShardMapClient.call`, reply_within)."""
        return Lease.reply_bound(self._store.session_seconds)

    @property
    def status(self) -> MemberStatus:
        """How things are."""
        with self._lock:
            held = Counter(h.role.value for h in self._held.values())
            serving = len(self._serving)
        table = self._table
        left = max(0.0, self._lease.until - seconds())
        return MemberStatus(
            generation=table.generation if table is not None else 0,
            link=self._store.link,
            lease=left,
            serving=serving if left else 0,
            held=dict(held),
            problem=self._problem(),
            caught_up=self._caught_up,
        )

    def _problem(self) -> str:
        return self._beat_problem or self._pass_problem

    # --------------------------------------------------------------------------------------------- session

    def _link_changed(self, link: Link) -> None:
        """In the store's thread."""
        if link is Link.LOST:
            self._lease.end()
            self._caught_up = False
        self._beat.set()
        self._look.set()

    def _keep_alive(self) -> None:
        while not self._stopped.is_set():
            try:
                self._beat_problem = self._register()
            except Unavailable as error:
                self._beat_problem = str(error)
                # asked again soon: a lease that runs out for one lost answer would be a pity
                self._beat.wait(min(self._retry_seconds, self._store.session_seconds / _BEATS / 2))
            else:
                self._beat.wait(self._store.session_seconds / _BEATS)
            self._beat.clear()

    def _register(self) -> str:
        """Write the live node. Gives what is wrong, empty when nothing is."""
        session, sent = self._store.session, seconds()
        if not self._store.put_ephemeral(f"{self._path}/live/{codec.node_name(self.id)}", self._live()):
            self._lease.end()
            return f"another process is registered as {self.id!r}; nothing is served before it is gone"
        extended = self._lease.extend(session, sent=sent, session_seconds=self._store.session_seconds)
        if not extended and session and session == self._store.session:
            self._registered = session
            self._look.set()
        return ""

    def _live(self) -> bytes:
        with self._lock:
            counts = Counter(h.role.value for h in self._held.values())
            if self._lease.session != self._store.session:
                # its copies may lag since the last session: nobody may take it for a successor before it has doubted them itself
                counts[Role.COPYING.value] += counts.pop(Role.STANDBY.value, 0)
        measured = self._load
        live = Live(
            id=self.id,
            instance=self._instance,
            address=self._address,
            generation=self._generation,
            session_seconds=self._store.session_seconds,
            counts=dict(counts),
            load=measured[0] if measured is not None else None,
            hottest=measured[1] if measured is not None else {},
        )
        return codec.encode_live(live)

    # ------------------------------------------------------------------------------------------- following

    def _follow(self) -> None:
        wait = self._resync
        while not self._stopped.is_set():
            self._look.wait(wait)
            self._look.clear()
            if self._stopped.is_set():
                return
            wait = self._resync
            try:
                self._pass()
            except ShardingError as error:
                if str(error) != self._pass_problem:
                    log.warning("%s: %s", self._path, error)
                self._pass_problem = str(error)
                wait = self._retry_seconds
            except Exception as error:
                # whatever it is: a member that no longer follows must not go on as if it did not matter
                log.exception("%s: the map could not be followed; tried again", self._path)
                self._pass_problem = f"{type(error).__name__}: {error}"
                wait = self._retry_seconds
            if self._retry_at:
                wait = min(wait, self._retry_seconds)

    def _pass(self) -> None:
        """Look at everything and do what follows. The order is the point: registered, then moves, then the table (`core.duties`)."""
        session = self._registered
        fresh = session not in {0, self._lease.session} and session == self._store.session
        if fresh:
            self._store.sync(self._path)
            self._doubt_copies()
        moves, answered = self._read_moves()
        table = self._reader.refresh(self._look.set)
        if not self._reader.present:
            self._caught_up = True
            raise Mismatch(f"{self._path}/head is not there: no map is published, or it was taken away; nothing is begun or given up")
        self._take_layout(table)
        if table is not None:
            # read before the table, they may be of the time before a split
            moves = {shard: move for shard, move in moves.items() if move.counts_by(table.shards)}
        for shard, move in moves.items():
            self._seen[shard] = max(self._seen.get(shard, Fence()), move.fence)
        with self._lock:
            held = dict(self._held)
        found = duties(me=self.id, table=table, moves=moves, held=held, seen=self._seen, answered=answered)
        changed = table is not self._table
        self._table = table
        self._let_serve(found)
        if fresh and session == self._store.session:
            self._lease.confirm(session)
            changed = True
        self._generation = table.generation if table is not None else 0
        self._pass_problem = ""
        if changed:
            self._beat.set()
        left = any(duty.step in _COMING for duty in found.values())
        self._caught_up = table is not None and not left and self._lease.session == self._store.session != 0
        if self._lease.session:
            # who is not registered does nothing in the member's name: another process may have it
            self._carry_out(found, moves, answered, held)

    def _doubt_copies(self) -> None:
        """After an absence, a copy may lag: it is caught up with anew."""
        with self._lock:
            for shard, held in self._held.items():
                if held.role is Role.STANDBY:
                    self._held[shard] = Held(role=Role.COPYING, fence=held.fence)

    def _read_moves(self) -> tuple[dict[int, Move], dict[int, Report]]:
        moves, answered = {}, {}
        for name in self._store.children(f"{self._path}/moves", self._look.set):
            shard = codec.shard_of(name)
            data = self._store.read(f"{self._path}/moves/{name}", self._look.set) if shard is not None else None
            if shard is None or data is None:
                continue
            move = codec.decode_move(shard, data)
            moves[shard] = move
            if self.id in move.parts():
                report = self._store.read(self._report_path(shard))
                if report is not None:
                    answered[shard] = codec.decode_report(report)
        return moves, answered

    def _report_path(self, shard: int) -> str:
        return f"{self._path}/moves/{shard}/{codec.node_name(self.id)}"

    def _take_layout(self, table: ShardTable | None) -> None:
        """Another number of shards: what is held is held under other numbers."""
        if table is None:
            return
        before, self._layout = self._layout, self._layout or table.shards
        if before in {0, table.shards}:
            return
        with self._lock:
            self._serving = {}
            self._idle.wait_for(lambda: not self._running and not self._busy, self._drain_seconds)
            if self._running or self._busy:
                raise Unavailable("the map was split while requests or calls of the application did not end; tried again")
        self._server.resharded(before, table.shards)
        self._layout = table.shards
        if self._load is not None:
            # told shard by shard, it would now be said of others
            self._load = self._load[0], {}
        with self._lock:
            self._held = dict(_renumbered(self._held, before, table.shards))
            self._seen.clear()
            self._passing_on.clear()

    def _let_serve(self, found: Mapping[int, Duty]) -> None:
        with self._lock:
            self._serving = {
                shard: self._held[shard].fence
                for shard, duty in found.items()
                if duty.serves and not self._closing and shard in self._held and self._held[shard].role is Role.PRIMARY
            }
            self._passing_on = {
                shard: duty.peer
                for shard, duty in found.items()
                if duty.peer is not None and duty.becomes is not None and duty.becomes.role is Role.FORWARDING
            }

    # --------------------------------------------------------------------------------- the application's part

    def _carry_out(
        self, found: Mapping[int, Duty], moves: Mapping[int, Move], answered: Mapping[int, Report], before: Mapping[int, Held]
    ) -> None:
        """`before` is what was held when the duties were found: a call that has ended since has made one of them the last pass's."""
        now = seconds()
        for shard in self._busy.keys() - found.keys():
            # its move was taken away
            self._busy[shard].cancelled.set()
        for shard, duty in found.items():
            running = self._busy.get(shard)
            if running is not None:
                move = moves.get(shard)
                if duty.step is None or (move is not None and move.fence > running.fence) or duty.step is Step.DROP:
                    running.cancelled.set()
                continue
            if duty.step is None:
                if duty.report is not None and answered.get(shard) != duty.report:
                    self._store.put(self._report_path(shard), codec.encode_report(duty.report))
            elif self._held.get(shard) == before.get(shard) and self._retry_at.get(shard, 0.0) <= now:
                self._retry_at.pop(shard, None)
                handoff = self._handoff(duty)
                self._busy[shard] = handoff
                self._pool.submit(self._call, duty, handoff, self._lease.session)

    def _handoff(self, duty: Duty) -> Handoff:
        table, held = self._table, self._held.get(duty.shard)
        fence = duty.becomes.fence if duty.becomes is not None else held.fence if held is not None else Fence()
        return Handoff(
            shard=duty.shard,
            shards=table.shards if table is not None else 0,
            fence=fence,
            peer=duty.peer,
            address=address_of(table.members, duty.peer) if table is not None else "",
            primary=held is not None and held.role is Role.PRIMARY,
        )

    def _call(self, duty: Duty, handoff: Handoff, session: int) -> None:
        """In a worker thread. `session` is the one in which the call was begun."""
        problem = ""
        try:
            if duty.step in {Step.FORWARD, Step.DROP}:
                self._wait_for_requests(duty.shard)
            self._step(duty.step, handoff)
        except Exception as error:
            log.exception("%s: %s of shard %d failed; tried again", self._path, duty.step, duty.shard)
            problem = f"{type(error).__name__}: {error}"
        with self._lock:
            if not problem and duty.step is Step.CATCH_UP and session != self._lease.session:
                # who was caught up with may have gone on without us in between
                problem = "the session was lost meanwhile"
            if problem:
                self._retry_at[duty.shard] = seconds() + self._retry_seconds
            elif duty.becomes is None:
                self._held.pop(duty.shard, None)
            else:
                self._held[duty.shard] = duty.becomes
            self._busy.pop(duty.shard, None)
            self._idle.notify_all()
        if duty.report is not None:
            report = replace(duty.report, error=problem)
            try:
                self._store.put(self._report_path(duty.shard), codec.encode_report(report))
            except Unavailable as error:
                log.warning("%s: the report on shard %d was not written; written again: %s", self._path, duty.shard, error)
        self._look.set()

    def _step(self, step: Step | None, handoff: Handoff) -> None:
        match step:
            case Step.PREPARE:
                self._server.prepare(handoff)
            case Step.CATCH_UP:
                self._server.catch_up(handoff)
            case Step.FORWARD:
                self._server.forward(handoff)
            case Step.ACTIVATE:
                self._server.activate(handoff)
            case Step.DROP:
                self._server.drop(handoff)
            case None:
                return

    def _wait_for_requests(self, shard: int) -> None:
        with self._lock:
            if not self._idle.wait_for(lambda: not self._running[shard], self._drain_seconds):
                raise TimeoutError(f"{self._running[shard]} requests of shard {shard} did not end within {self._drain_seconds} s")


def _renumbered(held: Mapping[int, Held], before: int, after: int) -> Iterator[tuple[int, Held]]:
    """Shards of a split map hold what their parent held. One that was merged is held when all its children were; as a copy that may lag,
    unless they were held alike.
    """
    if after % before == 0:
        parts = after // before
        for shard, one in held.items():
            for part in range(parts):
                yield shard * parts + part, one
    elif before % after == 0:
        parts = before // after
        for shard in range(after):
            children = [held.get(shard * parts + part) for part in range(parts)]
            there = [child for child in children if child is not None]
            if len(there) == parts:
                roles = {child.role for child in there}
                yield shard, Held(role=roles.pop() if len(roles) == 1 else Role.COPYING, fence=max(child.fence for child in there))
