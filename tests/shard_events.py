"""What may happen to a map in motion, one event at a time, and what must hold after each: for random and for found sequences.

Nobody shares a shard with another primary, every row is whole, no epoch goes back, no cap is passed, and where a shard is served no
acknowledged write is missing. At the end everybody is well again: then the map comes to rest as planned, every shard served once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shard_simulation import Server, Simulation
from shuren.domain.shards.assignment import VACANT, changes
from shuren.domain.shards.begin import recovers
from shuren.domain.shards.members import Member
from shuren.domain.shards.migration import Caps, MovePolicy
from shuren.domain.shards.schedule import Step
from shuren.sharding.core.duties import Role
from shuren.sharding.core.moves import Move, MoveState

POLICY = MovePolicy(
    caps=Caps(incoming=1, outgoing=2, share=0.4), recovery=Caps(incoming=2, outgoing=2, share=0.5), delay=60.0, promote_after=20.0
)
_SECONDS = (1, 15, 25, 70, 700)


def member(number: int) -> Member:
    return Member(id=number, name=f"m{number}", rack=f"r{number % 3}", host=f"h{number}")


class Interleaving:
    """A map and what has happened to it. Every event takes a number, and makes of it what it needs."""

    def __init__(self, *, members: int, slots: int, replicas: int) -> None:
        self.map = Simulation([member(n) for n in range(members)], slots=slots, replicas=replicas, policy=POLICY)
        self._epochs = list(self.map.epochs)
        self._decided: tuple[Step, Mapping[int, Move], int] | None = None

    def happen(self, event: str, number: int) -> None:
        """One event, and whether all still holds."""
        self.map.log.append(f"{event} {number}")
        EVENTS[event][1](self, number)
        self.check()

    def _server(self, number: int) -> Server:
        return self.map.servers[f"m{number % len(self.map.servers)}"]

    # ------------------------------------------------------------------------------------------------ the operator

    def operator_passes(self, _: int) -> None:
        self.map.pass_once()

    def operator_decides_and_tarries(self, _: int) -> None:
        self._decided = (self.map.decide(), dict(self.map.moves), self.map.generation)

    def operator_writes_what_it_decided(self, number: int) -> None:
        """Some of it, then it is stopped. What changed meanwhile is refused: every node by its version, the table by its generation."""
        if self._decided is not None:
            made, known, generation = self._decided
            if not made.publish or generation == self.map.generation:
                self.map.apply(made, most=number % 4, versions=known)
            self._decided = None

    def another_operator_takes_over(self, _: int) -> None:
        self._decided = None
        self.map.forget()

    def time_passes(self, number: int) -> None:
        self.map.now += _SECONDS[number % len(_SECONDS)]

    # ------------------------------------------------------------------------------------------------ members and clients

    def member_reads(self, number: int) -> None:
        self.map.read(self._server(number).id)

    def member_works(self, number: int) -> None:
        """One call of the application, by what the member last read."""
        server = self._server(number)
        todo = sorted(server.todo)
        if todo:
            self.map.work(server.id, todo[number % len(todo)])

    def member_is_killed(self, number: int) -> None:
        self.map.kill(self._server(number).id)

    def member_is_cut_off(self, number: int) -> None:
        self._server(number).cut_off = True

    def lease_ends(self, number: int) -> None:
        if self._server(number).cut_off:
            self.map.end_lease(self._server(number).id)

    def session_expires(self, number: int) -> None:
        self.map.expire(self._server(number).id)

    def member_comes_back(self, number: int) -> None:
        server = self._server(number)
        server.cut_off = False
        self.map.restart(server.id)

    def member_is_lost(self, number: int) -> None:
        """Killed, and its session has expired for a while."""
        self.member_is_killed(number)
        self.session_expires(number)
        self.map.now += POLICY.patience

    def client_writes(self, number: int) -> None:
        self.map.write(number % self.map.slots)

    # ------------------------------------------------------------------------------------------------ people

    def member_is_to_be_emptied_or_not(self, number: int) -> None:
        self.map.draining ^= {self._server(number).number}

    def member_joins(self, _: int) -> None:
        if len(self.map.servers) < 5:
            self.map.add(member(len(self.map.servers)))

    def pause_or_go_on(self, _: int) -> None:
        self.map.paused = not self.map.paused

    # ------------------------------------------------------------------------------------------------ what holds

    def check(self) -> None:
        for shard in range(self.map.slots):
            leader = self.map.leader(shard)
            if leader is not None:
                assert leader.data[shard] >= self.map.written[shard], f"{leader.id} serves shard {shard} and lacks acknowledged writes"
        for row in self.map.table.rows():
            assert VACANT not in row
            assert len(set(row)) == len(row)
        assert all(before <= now for before, now in zip(self._epochs, self.map.epochs, strict=True)), "an epoch went back"
        self._epochs = list(self.map.epochs)
        self._check_caps()

    def _check_caps(self) -> None:
        """A move that began as a planned one may count as recovery later, so the two are held against what both allow together."""
        world, caps, recovery = self.map.world(), POLICY.caps, POLICY.recovery
        copying = [m for m in self.map.moves.values() if not (m.primary and m.state is MoveState.ACTIVATE)]
        planned = [m for m in copying if not recovers(world, m)]
        assert len(copying) <= caps.total(self.map.slots) + recovery.total(self.map.slots)
        for server in self.map.servers.values():
            assert sum(m.to == server.id for m in copying) <= caps.incoming + recovery.incoming
            assert sum((m.source or m.from_) == server.id for m in planned) <= caps.outgoing + recovery.outgoing

    def finish(self) -> None:
        """All is well again."""
        world = self.map
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
            assert leader is not None, f"nobody serves shard {shard}"
            assert leader.number == row[0]
            holding = {s.number: s.held[shard].role for s in world.servers.values() if shard in s.held}
            assert holding == {number: Role.PRIMARY if number == row[0] else Role.STANDBY for number in row}


EVENTS: Mapping[str, tuple[float, Callable[[Interleaving, int], None]]] = {
    event.__name__: (weight, event)
    for weight, event in (
        (25, Interleaving.operator_passes),
        (4, Interleaving.operator_decides_and_tarries),
        (6, Interleaving.operator_writes_what_it_decided),
        (0.7, Interleaving.another_operator_takes_over),
        (4, Interleaving.time_passes),
        (30, Interleaving.member_reads),
        (40, Interleaving.member_works),
        (1.5, Interleaving.member_is_killed),
        (1.5, Interleaving.member_is_cut_off),
        (6, Interleaving.lease_ends),
        (6, Interleaving.session_expires),
        (4, Interleaving.member_comes_back),
        (0.7, Interleaving.member_is_lost),
        (10, Interleaving.client_writes),
        (2, Interleaving.member_is_to_be_emptied_or_not),
        (0.4, Interleaving.member_joins),
        (0.3, Interleaving.pause_or_go_on),
    )
}
"""Events by name, with how often each is likely: moves must get somewhere for anything to go wrong with them."""
