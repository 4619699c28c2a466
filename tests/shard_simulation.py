"""A map in motion, in one process: ZooKeeper's nodes as values, members that act by the sharding library's own duties, and an operator.

Everything happens when it is told to, in any order: a member that is not told to act lags, one that is cut off sees nothing, an operator
may stop after any write. Members keep data: a number of writes per shard. A write is acknowledged once every holder of the shard that is
there has it, which is what a replicated service does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from shuren.domain.errors import Invalid
from shuren.domain.shards.advance import Publish, Write
from shuren.domain.shards.assignment import VACANT, Assignment
from shuren.domain.shards.goals import Goal, counted, why_plan
from shuren.domain.shards.members import Member, Spread, Wanted
from shuren.domain.shards.migration import Failure, MovePolicy, Presence, World, effective
from shuren.domain.shards.planner import plan
from shuren.domain.shards.schedule import Step, step
from shuren.sharding.core.duties import Duty, Held, Role, duties
from shuren.sharding.core.duties import Step as Call
from shuren.sharding.core.member import Member as Named
from shuren.sharding.core.moves import Fence, Move, Report
from shuren.sharding.core.table import NOBODY, ShardTable, make_table


@dataclass(kw_only=True)
class Server:
    """A member's process. `knows` is when it last read the tree; while `cut_off` it reads and writes nothing."""

    id: str
    number: int
    running: bool = True
    cut_off: bool = False
    session: bool = True
    lease: bool = True
    doubts: bool = False
    generation: int = 0
    held: dict[int, Held] = field(default_factory=dict)
    data: dict[int, int] = field(default_factory=dict)
    seen: dict[int, Fence] = field(default_factory=dict)
    todo: dict[int, Duty] = field(default_factory=dict)
    serving: set[int] = field(default_factory=set)

    @property
    def reachable(self) -> bool:
        return self.running and not self.cut_off

    def serves(self, shard: int) -> bool:
        return self.running and self.lease and shard in self.serving


class Simulation:
    """See the module. `log` tells every write to the tree and every step of a member."""

    def __init__(self, members: Iterable[Member], *, slots: int, replicas: int, policy: MovePolicy, spread: Spread | None = None) -> None:
        self.members = {m.id: m for m in members}
        self.slots, self.replicas, self.policy = slots, replicas, policy
        self.spread = spread or Spread()
        self.now = 1000.0
        self.term = 1
        self.log: list[str] = []
        table = plan(self.wanted(self.members.values())).table
        self.table, self.epochs, self.generation = table, [1] * slots, 1
        self.moves: dict[int, Move] = {}
        self.reports: dict[int, dict[str, Report]] = {}
        self.live: set[str] = set()
        self.away_since: dict[str, float] = {}
        self.draining: set[int] = set()
        self.paused = False
        self.written = [0] * slots
        self.servers = {m.name: Server(id=m.name, number=m.id) for m in self.members.values()}
        self.forget()
        for server in self.servers.values():
            self.live.add(server.id)
            for slot in range(slots):
                row = table.row(slot)
                if server.number in row:
                    role = Role.PRIMARY if row[0] == server.number else Role.STANDBY
                    server.held[slot] = Held(role=role, fence=Fence(term=1, epoch=1))
                    server.data[slot] = 0
            self.read(server.id)

    def wanted(self, members: Iterable[Member]) -> Wanted:
        return Wanted(slots=self.slots, replicas=self.replicas, members=tuple(members), spread=self.spread)

    # ------------------------------------------------------------------------------------------------ the operator

    def forget(self) -> None:
        """A new operator takes over: it knows what lies in the tree and no more."""
        self.term += 1
        self.goal: Goal | None = None
        self.failures: Mapping[int, Failure] = {}

    def world(self) -> World:
        presences = tuple(
            Presence(
                id=server.id,
                number=server.number,
                absent_for=0.0 if server.id in self.live else max(0.001, self.now - self.away_since[server.id]),
                generation=server.generation,
                copying=sum(held.role in {Role.COPYING, Role.FORWARDING} for held in server.held.values()) if server.running else 0,
                draining=server.number in self.draining,
                rack=self.members[server.number].rack if server.number in self.members else "",
            )
            for server in self.servers.values()
        )
        return World(
            table=self.table,
            epochs=tuple(self.epochs),
            generation=self.generation,
            members=presences,
            now=self.now,
            term=self.term,
            moves=dict(self.moves),
            reports={slot: dict(reports) for slot, reports in self.reports.items()},
            goal=self.goal.table if self.goal is not None else None,
            policy=self.policy,
            paused=self.paused,
            failures=self.failures,
        )

    def decide(self) -> Step:
        """Look, plan when it is time to, and say what to do; nothing is done yet."""
        world = self.world()
        try:
            wanted = self.wanted(counted(self.members.values(), world))
        except Invalid:
            self.goal = None
        else:
            why = why_plan(self.goal, wanted, world)
            if why:
                planned = plan(wanted, effective(world))
                self.goal = Goal(table=planned.table, wanted=wanted)
                self.log.append(f"  plan: {why}; {planned.moves} replicas to move, at least {planned.bound}")
            world = replace(world, goal=self.goal.table if self.goal is not None else None)
        made = step(world)
        self.failures = made.failures
        return made

    def apply(self, made: Step, *, most: int | None = None, versions: Mapping[int, Move] | None = None) -> None:
        """Carry out a step, or its first `most` writes; what changed since `versions` were read is left alone, as by ZooKeeper."""
        known = dict(self.moves) if versions is None else versions
        writes: list[Callable[[], None]] = []
        if made.publish:
            writes.append(lambda: self._publish(made.publish))
        writes += [lambda order=order: self._write(order, known) for order in made.write]  # type: ignore[misc]
        writes += [lambda slot=slot: self._remove(slot, known) for slot in made.remove]  # type: ignore[misc]
        for write in writes[:most]:
            write()

    def pass_once(self) -> Step:
        made = self.decide()
        self.apply(made)
        return made

    def _publish(self, changes: Mapping[int, Publish]) -> None:
        holders = list(self.table.holders)
        for slot, change in changes.items():
            assert change.epoch >= self.epochs[slot], "an epoch went back"
            holders[slot * self.replicas : (slot + 1) * self.replicas] = change.row
            self.epochs[slot] = change.epoch
        self.table = Assignment(replicas=self.replicas, holders=tuple(holders))
        self.generation += 1
        rows = " ".join(f"{slot}:{self.named(change.row)}@{change.epoch}" for slot, change in sorted(changes.items()))
        self.log.append(f"  publish generation {self.generation}: {rows}")

    def _write(self, order: Write, known: Mapping[int, Move]) -> None:
        move = order.move
        if self.moves.get(move.shard) != known.get(move.shard) or self.live & set(order.unless_live):
            self.log.append(f"  shard {move.shard}: refused, it is not as it was")
            return
        self.moves[move.shard] = move
        if order.unless_live and self.replicas == 1:
            # its only holder is gone for good: what the new one has not, nobody has
            self.written[move.shard] = min(self.written[move.shard], self.servers[move.to or ""].data.get(move.shard, 0))
        what = f"{move.from_ or '-'} -> {move.to}" + ("" if move.primary else " (replica)")
        self.log.append(f"  shard {move.shard}: {move.state.value} {what} @{move.fence.epoch}" + (f": {order.why}" if order.why else ""))

    def _remove(self, slot: int, known: Mapping[int, Move]) -> None:
        if self.moves.get(slot) == known.get(slot):
            self.moves.pop(slot)
            self.reports.pop(slot, None)
            self.log.append(f"  shard {slot}: done")

    def named(self, row: Iterable[int]) -> str:
        names = {server.number: server.id for server in self.servers.values()}
        return ",".join(names.get(number, "-") for number in row)

    # ------------------------------------------------------------------------------------------------ members

    def published(self) -> ShardTable:
        """The table as members read it."""
        named = [Named(id=server.id, number=server.number) for server in self.servers.values()]
        owners = [NOBODY if m == VACANT else m for replica in range(self.replicas) for m in self.table.holders[replica :: self.replicas]]
        return make_table(
            shards=self.slots,
            replicas=self.replicas,
            members=named,
            owners=owners,
            epochs=self.epochs,
            generation=self.generation,
            term=self.term,
        )

    def read(self, member: str) -> None:
        """The member reads moves and table, and serves what it may from now on; calls of the application come later."""
        server = self.servers[member]
        if not server.reachable:
            return
        if not server.session:
            server.session, server.doubts = True, True
            self.live.add(member)
            self.away_since.pop(member, None)
        if server.doubts:
            server.doubts = False
            for shard, held in server.held.items():
                if held.role is Role.STANDBY:
                    server.held[shard] = replace(held, role=Role.COPYING)
        for shard, move in self.moves.items():
            server.seen[shard] = max(server.seen.get(shard, Fence()), move.fence)
        answered = {s: reports[member] for s, reports in self.reports.items() if member in reports}
        found = duties(me=member, table=self.published(), moves=self.moves, held=server.held, seen=server.seen, answered=answered)
        server.serving = {s for s, duty in found.items() if duty.serves and s in server.held and server.held[s].role is Role.PRIMARY}
        server.lease = True
        server.generation = self.generation
        server.todo = {s: duty for s, duty in found.items() if duty.step is not None or duty.report is not None}

    def work(self, member: str, shard: int) -> None:
        """One call of the application, for what the member last read, and its report."""
        server = self.servers[member]
        duty = server.todo.pop(shard, None)
        if duty is None or not server.running:
            return
        error = self._call(server, duty)
        if not error:
            if duty.becomes is None:
                server.held.pop(shard, None)
                server.data.pop(shard, None)
            else:
                server.held[shard] = duty.becomes
        if duty.report is not None and server.reachable and server.session and shard in self.moves:
            report = replace(duty.report, error=error)
            if self.reports.setdefault(shard, {}).get(member) != report:
                self.reports[shard][member] = report
                self.log.append(f"    {member}: shard {shard} {report.state.value} {error or 'done'}")

    def _call(self, server: Server, duty: Duty) -> str:
        peer = self.servers.get(duty.peer or "")
        shard, step_ = duty.shard, duty.step
        helping = step_ is Call.CATCH_UP and duty.serves
        match step_:
            case Call.PREPARE | Call.CATCH_UP if not helping:
                if duty.peer is None:
                    server.data.setdefault(shard, 0)
                elif peer is None or not peer.reachable or not server.reachable or shard not in peer.data:
                    return f"{duty.peer} does not answer"
                else:
                    server.data[shard] = max(peer.data[shard], server.data.get(shard, 0))
            case Call.FORWARD:
                server.serving.discard(shard)
                move = self.moves.get(shard)
                if move is not None and move.to == duty.peer and peer is not None and server.reachable:
                    if not peer.reachable or shard not in peer.data:
                        return f"{duty.peer} does not answer"
                    peer.data[shard] = max(peer.data[shard], server.data.get(shard, 0))
            case Call.ACTIVATE:
                server.data.setdefault(shard, 0)
            case Call.DROP:
                server.serving.discard(shard)
            case _:
                pass
        return ""

    def write(self, shard: int) -> bool:
        """A client writes. Whether that was acknowledged."""
        leader = self.leader(shard)
        if leader is None or not leader.reachable:
            return False
        copies = [s for s in self.servers.values() if s.id in self.live and s.number in self.table.row(shard) and s is not leader]
        following = [s for s in copies if s.reachable and shard in s.held and s.held[shard].role is Role.STANDBY]
        if any(not s.reachable for s in copies):
            return False
        leader.data[shard] = self.written[shard] = max(leader.data.get(shard, 0), self.written[shard]) + 1
        for server in following:
            server.data[shard] = leader.data[shard]
        return True

    def leader(self, shard: int) -> Server | None:
        """Who serves a shard; the test fails when two do."""
        serving = [server for server in self.servers.values() if server.serves(shard)]
        assert len(serving) <= 1, f"shard {shard} is served by {[s.id for s in serving]}"
        return serving[0] if serving else None

    # ------------------------------------------------------------------------------------------------ what happens to members

    def kill(self, member: str) -> None:
        """The process ends; its session goes on until it expires."""
        server = self.servers[member]
        server.running, server.lease, server.serving, server.todo = False, False, set(), {}

    def end_lease(self, member: str) -> None:
        """A member that is cut off stops serving, before its session can expire."""
        self.servers[member].lease = False
        self.servers[member].serving = set()

    def expire(self, member: str) -> None:
        """ZooKeeper ends the session of a member that is dead or cut off, and whose lease has run out."""
        server = self.servers[member]
        if server.session and not server.reachable and not server.lease:
            server.session = False
            self.live.discard(member)
            self.away_since[member] = self.now
            self.log.append(f"    {member}: its session is gone")

    def restart(self, member: str) -> None:
        """The process comes back with what is on its disk, in a new session."""
        server = self.servers[member]
        if server.running:
            return
        if server.session:
            # the new process has a session of its own; the old one's node goes with it
            server.session = False
        server.running, server.cut_off = True, False
        server.held = {shard: Held(role=Role.COPYING) for shard in server.data}
        server.seen = {}
        self.log.append(f"    {member}: is back")

    def add(self, member: Member) -> None:
        self.members[member.id] = member
        self.servers[member.name] = Server(id=member.name, number=member.id)
        self.live.add(member.name)

    # ------------------------------------------------------------------------------------------------ all together

    def settle(self, *, rounds: int = 400) -> None:
        """Let everybody act in turns until nothing happens any more; time passes as far as is waited for."""
        for _ in range(rounds):
            before = self._picture()
            made = self.pass_once()
            self.all_work()
            if made.idle and before == self._picture():
                if made.again_in is None:
                    return
                self.now += made.again_in
        raise AssertionError("the map did not come to rest:\n" + "\n".join(self.log[-40:]))

    def settle_now(self) -> None:
        """The same, but no time passes."""
        for _ in range(100):
            before = self._picture()
            self.pass_once()
            self.all_work()
            if before == self._picture():
                return

    def all_work(self) -> None:
        """Every member reads, does all that it has to, and reads again."""
        for server in list(self.servers.values()):
            self.read(server.id)
            for shard in list(server.todo):
                self.work(server.id, shard)
            self.read(server.id)
            for shard in range(self.slots):
                self.leader(shard)

    def picture(self) -> str:
        """The table, for people."""
        rows = "  ".join(f"{slot}: {self.named(row)} @{self.epochs[slot]}" for slot, row in enumerate(self.table.rows()))
        return f"generation {self.generation}\n{rows}"

    def _picture(self) -> tuple[object, ...]:
        reports = {slot: dict(reports) for slot, reports in self.reports.items()}
        known = [(server.id, server.generation, dict(server.held)) for server in self.servers.values()]
        return self.table, tuple(self.epochs), dict(self.moves), reports, set(self.live), known
