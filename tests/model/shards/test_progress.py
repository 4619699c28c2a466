"""While nothing fails, a map goes straight to its goal: never further away, each replica copied once and no more than the plan said."""

from __future__ import annotations

from random import Random

import pytest

from shard_simulation import Simulation
from shuren.domain.shards.assignment import Assignment, changes
from shuren.domain.shards.members import Member
from shuren.domain.shards.migration import Caps, MovePolicy, effective
from shuren.domain.shards.planner import plan
from shuren.sharding.core.moves import MoveState


def distance(table: Assignment, goal: Assignment) -> tuple[int, int]:
    """Replicas to copy and primaries to change until the goal."""
    differing = changes(table, goal)
    return sum(len(change.gained) for change in differing), sum(change.before[0] != change.after[0] for change in differing)


@pytest.mark.parametrize("seed", range(25))
def test_it_goes_straight_to_the_goal(seed: int) -> None:
    chance = Random(seed)  # noqa: S311  repeatable by its seed
    caps = Caps(incoming=chance.randint(1, 3), outgoing=chance.randint(1, 3), share=chance.choice([0.05, 0.2, 1.0]))
    members = [Member(id=n, name=f"m{n}", rack=f"r{n % 4}", host=f"h{n}") for n in range(chance.randint(4, 8))]
    replicas = chance.randint(1, 3)
    world = Simulation(members, slots=chance.choice([4, 16, 32]), replicas=replicas, policy=MovePolicy(caps=caps, recovery=caps))
    world.settle()
    for number in range(len(members), len(members) + chance.randint(0, 3)):
        world.add(Member(id=number, name=f"m{number}", rack=f"r{number % 4}", host=f"h{number}"))
    world.draining = set(chance.sample(range(len(members)), chance.randint(0, len(members) - replicas)))
    world.pass_once()
    assert world.goal is not None
    planned = plan(world.goal.wanted, world.table)
    left, copied = distance(world.table, world.goal.table), 0
    began = set(world.moves.values())
    copied += sum(m.state is MoveState.PREPARE for m in began)
    for _ in range(5000):
        if not world.moves and not changes(world.table, world.goal.table):
            break
        known = dict(world.moves)
        if chance.random() < 0.3:
            world.pass_once()
            copied += sum(m.state is MoveState.PREPARE for slot, m in world.moves.items() if slot not in known)
        else:
            server = chance.choice(list(world.servers.values()))
            world.read(server.id)
            if server.todo:
                world.work(server.id, chance.choice(sorted(server.todo)))
        now = distance(effective(world.world()), world.goal.table)
        assert now[0] <= left[0]
        left = now
        assert len(world.moves) <= caps.total(world.slots)
        for member in world.servers:
            assert sum(m.to == member for m in world.moves.values()) <= caps.incoming
            assert sum((m.source or m.from_) == member for m in world.moves.values()) <= caps.outgoing
        for shard in range(world.slots):
            world.leader(shard)
    assert not changes(world.table, world.goal.table)
    assert copied == planned.moves
