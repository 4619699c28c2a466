"""Ten stories of a map, step by step, as they are kept in tests/golden/shards: what changes in them is seen, and read before it is kept.

`pytest tests/model/shards/test_golden_scenarios.py --write-golden` writes them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shard_simulation import Simulation
from shuren.domain.shards.members import Member
from shuren.domain.shards.migration import Caps, MovePolicy

GOLDEN = Path(__file__).parents[2] / "golden" / "shards"
POLICY = MovePolicy(caps=Caps(share=0.25), recovery=Caps(share=0.5))


def member(number: int) -> Member:
    return Member(id=number, name=f"m{number}", rack=f"r{number % 3}", host=f"h{number}")


def calm(members: int = 4, *, slots: int = 8, replicas: int = 2, policy: MovePolicy = POLICY) -> Simulation:
    """A map at rest."""
    world = Simulation([member(n) for n in range(members)], slots=slots, replicas=replicas, policy=policy)
    world.settle()
    world.log.clear()
    return world


def say(world: Simulation, what: str) -> None:
    world.log.append(what)


def a_member_joins(world: Simulation) -> None:
    world.add(member(4))


def a_member_is_emptied(world: Simulation) -> None:
    world.draining.add(1)


def a_rack_is_emptied_and_another_after_it(world: Simulation) -> None:
    for number in (4, 5):
        world.add(member(number))
    world.settle()
    say(world, "racks r0 and r1 are to be emptied")
    world.draining |= {0, 3, 1, 4}


def a_member_restarts_in_place(world: Simulation) -> None:
    lose(world, "m0")
    world.now += 30
    world.settle_now()
    world.restart("m0")


def a_member_is_lost_for_good(world: Simulation) -> None:
    lose(world, "m0")


def a_member_returns_while_its_replicas_are_made_anew(world: Simulation) -> None:
    lose(world, "m0")
    world.now += 61
    for _ in range(2):
        world.pass_once()
        world.all_work()
    world.restart("m0")


def the_receiver_is_lost_before_the_commit(world: Simulation) -> None:
    world.add(member(4))
    until(world, lambda: any(move.state.value == "forward" for move in world.moves.values()))
    lose(world, "m4")


def the_receiver_is_lost_behind_the_commit(world: Simulation) -> None:
    world.add(member(4))
    until(world, lambda: any(move.primary and move.state.value == "activate" for move in world.moves.values()))
    lose(world, "m4")


def a_paused_map_still_gets_new_primaries(world: Simulation) -> None:
    world.paused = True
    world.add(member(4))
    lose(world, "m2")
    world.now += 61
    world.settle_now()
    say(world, "the map goes on")
    world.paused = False


def a_new_operator_finishes_what_the_last_one_began(world: Simulation) -> None:
    world.draining.add(3)
    until(world, lambda: bool(world.moves))
    for _ in range(2):
        world.pass_once()
        world.all_work()
    say(world, "another operator takes over")
    world.forget()


STORIES: tuple[Callable[[Simulation], None], ...] = (
    a_member_joins,
    a_member_is_emptied,
    a_rack_is_emptied_and_another_after_it,
    a_member_restarts_in_place,
    a_member_is_lost_for_good,
    a_member_returns_while_its_replicas_are_made_anew,
    the_receiver_is_lost_before_the_commit,
    the_receiver_is_lost_behind_the_commit,
    a_paused_map_still_gets_new_primaries,
    a_new_operator_finishes_what_the_last_one_began,
)


def lose(world: Simulation, name: str) -> None:
    world.kill(name)
    world.expire(name)


def until(world: Simulation, question: Callable[[], bool]) -> None:
    for _ in range(50):
        world.pass_once()
        if question():
            return
        world.all_work()
    raise AssertionError("that never came:\n" + "\n".join(world.log))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story(story: Callable[[Simulation], None], request: pytest.FixtureRequest) -> None:
    world = calm(policy=replace(POLICY, promote_after=10.0) if story is a_member_is_lost_for_good else POLICY)
    before = world.picture()
    say(world, story.__name__.replace("_", " "))
    story(world)
    world.settle()
    told = f"{before}\n\n" + "\n".join(world.log) + f"\n\n{world.picture()}\n"
    kept = GOLDEN / f"{story.__name__.replace('_', '-')}.txt"
    if request.config.getoption("--write-golden"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(told)
    assert told == kept.read_text()
