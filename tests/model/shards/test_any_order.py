"""Members that crash, lag, are cut off and come back, and operators that stop, decide by old news and overlap, in any order.

After every single event: nobody shares a shard with another primary, every row is whole, no epoch goes back, no cap is passed, and no
acknowledged write is missing where a shard is served. At the end everything comes to rest: the map as planned, every shard served once.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shard_simulation import Simulation
from shuren.domain.shards.assignment import VACANT, changes
from shuren.domain.shards.begin import recovers
from shuren.domain.shards.members import Member
from shuren.domain.shards.migration import Caps, MovePolicy
from shuren.domain.shards.schedule import Step
from shuren.sharding.core.duties import Role
from shuren.sharding.core.moves import Move, MoveState

SLOTS = 8
CAPS = Caps(incoming=1, outgoing=2, share=0.4)
POLICY = MovePolicy(caps=CAPS, recovery=Caps(incoming=2, outgoing=2, share=0.5), delay=60.0, promote_after=20.0)
servers = st.integers(0, 5)


def member(number: int) -> Member:
    return Member(id=number, name=f"m{number}", rack=f"r{number % 3}", host=f"h{number}")


class AnyOrder(RuleBasedStateMachine):
    """See the module."""

    @initialize(count=st.integers(3, 5), replicas=st.integers(2, 3))
    def begin(self, count: int, replicas: int) -> None:
        self.world = Simulation([member(n) for n in range(count)], slots=SLOTS, replicas=replicas, policy=POLICY)
        self.epochs = list(self.world.epochs)
        self.decided: tuple[Step, dict[int, Move], int] | None = None

    def name(self, number: int) -> str:
        return f"m{number % len(self.world.servers)}"

    # ------------------------------------------------------------------------------------------------ the operator

    @rule()
    def operator_passes(self) -> None:
        self.world.pass_once()

    @rule()
    def operator_decides_and_tarries(self) -> None:
        self.decided = (self.world.decide(), dict(self.world.moves), self.world.generation)

    @rule(most=st.integers(0, 3))
    def operator_writes_what_it_decided(self, most: int) -> None:
        """Some of it, then it is stopped. What changed meanwhile is refused: every node by its version, the table by its generation."""
        if self.decided is not None:
            made, known, generation = self.decided
            if not made.publish or generation == self.world.generation:
                self.world.apply(made, most=most, versions=known)
            self.decided = None

    @rule()
    def another_operator_takes_over(self) -> None:
        self.decided = None
        self.world.forget()

    @rule(seconds=st.sampled_from([1, 15, 25, 70, 700]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += seconds

    # ------------------------------------------------------------------------------------------------ members

    @rule(number=servers)
    def member_reads(self, number: int) -> None:
        self.world.read(self.name(number))

    @rule(number=servers, shard=st.integers(0, SLOTS - 1))
    def member_does_one_thing(self, number: int, shard: int) -> None:
        todo = sorted(self.world.servers[self.name(number)].todo)
        if todo:
            self.world.work(self.name(number), todo[shard % len(todo)])

    @rule(number=servers)
    def member_does_everything(self, number: int) -> None:
        self.world.read(self.name(number))
        for shard in sorted(self.world.servers[self.name(number)].todo):
            self.world.work(self.name(number), shard)

    @rule(number=servers)
    def member_is_killed(self, number: int) -> None:
        self.world.kill(self.name(number))

    @rule(number=servers)
    def member_is_cut_off(self, number: int) -> None:
        self.world.servers[self.name(number)].cut_off = True

    @rule(number=servers)
    def lease_of_a_member_cut_off_ends(self, number: int) -> None:
        server = self.world.servers[self.name(number)]
        if server.cut_off:
            self.world.end_lease(server.id)

    @rule(number=servers)
    def session_expires(self, number: int) -> None:
        self.world.expire(self.name(number))

    @rule(number=servers)
    def member_comes_back(self, number: int) -> None:
        server = self.world.servers[self.name(number)]
        server.cut_off = False
        self.world.restart(server.id)

    @rule(shard=st.integers(0, SLOTS - 1))
    def client_writes(self, shard: int) -> None:
        self.world.write(shard)

    # ------------------------------------------------------------------------------------------------ people

    @rule(number=servers)
    def member_is_to_be_emptied_or_not(self, number: int) -> None:
        self.world.draining ^= {number % len(self.world.servers)}

    @rule()
    def member_joins(self) -> None:
        if len(self.world.servers) < 6:
            self.world.add(member(len(self.world.servers)))

    @rule()
    def pause_or_go_on(self) -> None:
        self.world.paused = not self.world.paused

    # ------------------------------------------------------------------------------------------------ what always holds

    @invariant()
    def nobody_shares_a_shard(self) -> None:
        for shard in range(SLOTS if hasattr(self, "world") else 0):
            leader = self.world.leader(shard)
            if leader is not None:
                assert leader.data[shard] >= self.world.written[shard], f"{leader.id} serves shard {shard} and lacks acknowledged writes"

    @invariant()
    def rows_are_whole(self) -> None:
        if hasattr(self, "world"):
            for row in self.world.table.rows():
                assert VACANT not in row
                assert len(set(row)) == len(row)

    @invariant()
    def epochs_only_rise(self) -> None:
        if hasattr(self, "world"):
            assert all(before <= now for before, now in zip(self.epochs, self.world.epochs, strict=True))
            self.epochs = list(self.world.epochs)

    @invariant()
    def caps_are_kept(self) -> None:
        """A move that began as a planned one may count as recovery later, so the two are held against what both allow together."""
        if not hasattr(self, "world"):
            return
        world = self.world.world()
        copying = [m for m in self.world.moves.values() if not (m.primary and m.state is MoveState.ACTIVATE)]
        planned = [m for m in copying if not recovers(world, m)]
        assert len(copying) <= CAPS.total(SLOTS) + POLICY.recovery.total(SLOTS)
        for server in self.world.servers.values():
            assert sum(m.to == server.id for m in copying) <= CAPS.incoming + POLICY.recovery.incoming
            assert sum((m.source or m.from_) == server.id for m in planned) <= CAPS.outgoing + POLICY.recovery.outgoing

    def teardown(self) -> None:
        """Everybody is well again: the map comes to rest as planned, and every shard is served once, by its primary, from its data."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.draining.clear()
        world.paused = False
        for server in world.servers.values():
            server.cut_off = False
            world.restart(server.id)
        world.settle()
        assert not world.moves
        assert world.goal is not None
        assert not changes(world.table, world.goal.table)
        for shard, row in enumerate(world.table.rows()):
            leader = world.leader(shard)
            assert leader is not None
            assert leader.number == row[0]
            holding = {s.number: s.held[shard].role for s in world.servers.values() if shard in s.held}
            assert holding == {number: Role.PRIMARY if number == row[0] else Role.STANDBY for number in row}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
