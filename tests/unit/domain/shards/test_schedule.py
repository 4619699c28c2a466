"""What happens next to the moves of a map: each rule by itself, on worlds written out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shuren.domain.shards.advance import Publish, Write
from shuren.domain.shards.assignment import VACANT, Assignment
from shuren.domain.shards.migration import Caps, Failure, MovePolicy, Presence, World, effective
from shuren.domain.shards.schedule import Step, step
from shuren.sharding.core.moves import Fence, Move, MoveState, Report

A, B, C, D = (Presence(id=name, number=number, generation=9, rack=f"r{number}") for number, name in enumerate("abcd"))
EVERYBODY = (A, B, C, D)


def away(member: Presence, seconds: float) -> Presence:
    return replace(member, absent_for=seconds)


def world(*rows: tuple[int, ...], goal: tuple[tuple[int, ...], ...] | None = None, **known: Any) -> World:
    table = Assignment.of(rows)
    given: dict[str, Any] = {
        "table": table,
        "epochs": tuple([5] * len(rows)),
        "generation": 9,
        "members": EVERYBODY,
        "now": 1000.0,
        "term": 3,
        "goal": Assignment.of(goal) if goal is not None else table,
    }
    return World(**{**given, **known})


def move(state: MoveState, from_: str | None, to: str, *, slot: int = 0, epoch: int = 5, primary: bool = True, **more: Any) -> Move:
    fence = Fence(term=3, epoch=epoch)
    return Move(shard=slot, state=state, from_=from_, to=to, fence=fence, primary=primary, **{"deadline": 1010.0, **more})


def done(*members: str, of: Move, error: str = "") -> dict[int, dict[str, Report]]:
    return {of.shard: {name: Report(state=of.state, epoch=of.fence.epoch, error=error) for name in members}}


def written(made: Step) -> list[tuple[int, MoveState, str | None, str | None, int]]:
    return [(w.move.shard, w.move.state, w.move.from_, w.move.to, w.move.fence.epoch) for w in made.write]


def only(made: Step) -> Write:
    assert (len(made.write), made.publish, made.remove) == (1, {}, ())
    return made.write[0]


# ---------------------------------------------------------------------------------------------------- what begins


def test_a_map_at_rest_asks_for_nothing() -> None:
    assert step(world((0, 1), (1, 2))).idle


def test_a_replica_is_copied_to_its_new_holder() -> None:
    begun = only(step(world((0, 1), goal=((0, 2),))))
    assert written(step(world((0, 1), goal=((0, 2),)))) == [(0, MoveState.PREPARE, "b", "c", 5)]
    assert not begun.move.primary
    assert (begun.move.fence, begun.move.deadline) == (Fence(term=3, epoch=5), 1000.0 + MovePolicy().deadlines.prepare)


def test_the_order_of_those_that_only_follow_is_no_reason_to_move() -> None:
    assert step(world((0, 1, 2), goal=((0, 2, 1),))).idle


def test_a_primary_that_leaves_gives_way_to_a_holder_first() -> None:
    begun = only(step(world((0, 1), goal=((1, 2),))))
    assert (begun.move.state, begun.move.from_, begun.move.to, begun.move.primary) == (MoveState.CATCH_UP, "a", "b", True)


def test_a_primary_whose_successor_is_new_moves_with_its_data() -> None:
    begun = only(step(world((0, 1), goal=((2, 1),))))
    assert (begun.move.state, begun.move.from_, begun.move.to, begun.move.primary) == (MoveState.PREPARE, "a", "c", True)


def test_the_primary_moves_last() -> None:
    begun = only(step(world((0, 1), goal=((2, 3),))))
    assert (begun.move.from_, begun.move.primary) == ("b", False)


def test_two_replicas_swap_places_without_meeting_in_a_rack() -> None:
    """c comes into b's rack and d into the rack of a: whoever came for the other would meet it."""
    members = (A, B, replace(C, rack="r1"), replace(D, rack="r0"))
    begun = only(step(world((0, 1), goal=((2, 3),), members=members)))
    assert (begun.move.from_, begun.move.to) == ("b", "c")


def test_a_shard_has_one_move_at_a_time() -> None:
    under_way = move(MoveState.PREPARE, "b", "c", primary=False)
    assert step(world((0, 1), goal=((3, 2),), moves={0: under_way})).idle


def test_a_member_that_is_only_away_for_a_while_loses_nothing() -> None:
    made = step(world((0, 1), (1, 0), members=(away(A, 59.0), B, C, D)))
    assert made.idle
    assert made.again_in == pytest.approx(1.0)
    assert (made.tally.leaderless, made.tally.short, made.tally.lost) == (1, 2, 0)


def test_the_primary_of_a_member_that_is_gone_goes_to_a_standby_at_once_unless_it_is_back() -> None:
    begun = only(step(world((0, 1), members=(away(A, 60.0), B, C, D))))
    assert (begun.move.state, begun.move.from_, begun.move.to, begun.move.fence.epoch) == (MoveState.ACTIVATE, "a", "b", 6)
    assert begun.unless_live == ("a",)


def test_primaries_may_be_given_away_sooner_than_replicas_are_made_anew() -> None:
    policy = MovePolicy(promote_after=10.0)
    made = step(world((0, 1), (1, 0), goal=((1, 2), (1, 2)), members=(away(A, 10.0), B, C, D), policy=policy))
    assert written(made) == [(0, MoveState.ACTIVATE, "a", "b", 6)]
    assert made.again_in == pytest.approx(50.0)


def test_a_standby_whose_copy_may_lag_does_not_take_over() -> None:
    members = (away(A, 90.0), replace(B, copying=1), C, D)
    assert step(world((0, 1), members=members)).idle
    assert only(step(world((0, 1, 2), members=members))).move.to == "c"


def test_a_copy_that_is_just_being_made_does_not_count_as_one_that_lags() -> None:
    making = move(MoveState.CATCH_UP, "d", "b", slot=1, primary=False)
    made = step(world((0, 1), (2, 3), goal=((1, 0), (2, 1)), members=(away(A, 90.0), replace(B, copying=1), C, D), moves={1: making}))
    assert written(made) == [(0, MoveState.ACTIVATE, "a", "b", 6)]


def test_a_lost_replica_is_made_anew_from_the_primary() -> None:
    begun = only(step(world((0, 1), goal=((0, 2),), members=(A, away(B, 60.0), C, D))))
    assert (begun.move.from_, begun.move.to, begun.move.source, begun.move.primary) == ("b", "c", "a", False)


def test_a_replica_that_nobody_holds_is_made() -> None:
    begun = only(step(world((0, VACANT), goal=((0, 2),))))
    assert (begun.move.from_, begun.move.to, begun.move.source) == (None, "c", "a")
    assert effective(world((0, VACANT), goal=((0, 2),), moves={0: begun.move})).row(0) == (0, 2)


def test_a_shard_without_any_holder_waits_for_one_unless_it_may_begin_anew() -> None:
    gone = (away(A, 99.0), away(B, 99.0), C, D)
    held = step(world((0, 1), goal=((2, 3),), members=gone))
    assert held.idle
    assert (held.tally.lost, held.tally.leaderless) == (1, 1)
    begun = only(step(world((0, 1), goal=((2, 3),), members=gone, policy=MovePolicy(abandon=True))))
    assert (begun.move.state, begun.move.from_, begun.move.to, begun.move.primary) == (MoveState.PREPARE, None, "c", True)


def test_a_single_replica_begins_anew_elsewhere() -> None:
    begun = only(step(world((0,), goal=((2,),), members=(away(A, 60.0), B, C, D))))
    assert (begun.move.from_, begun.move.to) == (None, "c")


def test_paused_nothing_begins_but_new_primaries() -> None:
    members = (away(A, 60.0), B, C, D)
    made = step(world((0, 1), (2, 0), (2, 3), goal=((1, 2), (2, 1), (3, 2)), members=members, paused=True))
    assert written(made) == [(0, MoveState.ACTIVATE, "a", "b", 6)]
    assert made.tally.queued == 2


def test_without_a_goal_only_primaries_are_seen_to() -> None:
    made = step(replace(world((0, 1), (1, 0), members=(away(A, 60.0), B, C, D)), goal=None))
    assert written(made) == [(0, MoveState.ACTIVATE, "a", "b", 6)]


# ---------------------------------------------------------------------------------------------------- caps and order


def test_lost_replicas_come_before_emptying_and_that_before_balance() -> None:
    rows, goal = ((0, 1), (0, 2), (0, 3)), ((0, 2), (0, 1), (0, 2))
    members = (A, replace(B, draining=False), replace(C, draining=True), away(D, 60.0))
    policy = MovePolicy(caps=Caps(share=1.0, outgoing=9), recovery=Caps(share=1.0))
    assert [w.move.shard for w in step(world(*rows, goal=goal, members=members, policy=policy)).write] == [2, 1, 0]


def test_no_member_takes_in_or_gives_away_more_than_it_may() -> None:
    rows, goal = ((0, 1),) * 8, ((0, 2),) * 4 + ((0, 3),) * 4
    made = step(world(*rows, goal=goal, policy=MovePolicy(caps=Caps(incoming=2, outgoing=3, share=1.0))))
    assert [w.move.to for w in made.write] == ["c", "c", "d"]
    assert made.tally.queued == 5


def test_no_more_shards_move_than_the_map_may() -> None:
    rows, goal = ((0, 1),) * 10, ((0, 2),) * 10
    wide = Caps(incoming=99, outgoing=99, share=0.3)
    assert len(step(world(*rows, goal=goal, policy=MovePolicy(caps=wide))).write) == 3
    assert len(step(world(*rows, goal=goal, policy=MovePolicy(caps=replace(wide, share=0.0)))).write) == 2


def test_recovery_does_not_wait_for_planned_moves() -> None:
    planned = {slot: move(MoveState.PREPARE, "b", "c", slot=slot, primary=False) for slot in (0, 1)}
    rows, goal = ((0, 1), (0, 1), (0, 3)), ((0, 2), (0, 2), (0, 2))
    made = step(world(*rows, goal=goal, moves=planned, members=(A, B, C, away(D, 60.0))))
    assert written(made) == [(2, MoveState.PREPARE, "d", "c", 5)]


def test_new_primaries_are_not_capped() -> None:
    rows = ((0, 1),) * 20
    assert len(step(world(*rows, members=(away(A, 60.0), B, C, D))).write) == 20


def test_members_are_emptied_one_rack_after_the_other() -> None:
    members = (replace(A, draining=True), replace(B, draining=True), C, D)
    rows, goal = ((2, 1), (2, 0), (3, 1), (3, 0)), ((2, 3), (2, 3), (3, 2), (3, 2))
    policy = MovePolicy(caps=Caps(incoming=9, outgoing=9, share=1.0))
    assert [w.move.from_ for w in step(world(*rows, goal=goal, members=members, policy=policy)).write] == ["a", "a"]
    last = {3: move(MoveState.DROP, "a", "c", slot=3, primary=False)}
    assert step(world(*rows[:3], (3, 2), goal=goal, members=members, policy=policy, moves=last)).write[0].move.from_ == "a"


def test_a_shard_whose_move_failed_rests_longer_each_time() -> None:
    refused = move(MoveState.ABORT, "b", "c", primary=False)
    made = step(
        world((0, 1), goal=((0, 2),), moves={0: refused}, reports=done("c", of=refused), failures={0: Failure(count=2, not_before=1.0)})
    )
    assert made.remove == (0,)
    assert made.failures == {0: Failure(count=3, not_before=1040.0)}
    resting = step(world((0, 1), goal=((0, 2),), failures=made.failures))
    assert (resting.idle, resting.again_in, resting.tally.queued, resting.tally.failed) == (True, 40.0, 1, 1)
    assert step(world((0, 1), goal=((0, 2),), failures=made.failures, now=1040.0)).write


# ---------------------------------------------------------------------------------------------------- step by step


@pytest.mark.parametrize(
    ("state", "answers", "then"),
    [
        (MoveState.PREPARE, ("c",), MoveState.CATCH_UP),
        (MoveState.CATCH_UP, ("a", "c"), MoveState.FORWARD),
        (MoveState.FORWARD, ("a",), MoveState.ACTIVATE),
    ],
)
def test_a_primary_goes_on_when_all_have_answered(state: MoveState, answers: tuple[str, ...], then: MoveState) -> None:
    under_way = move(state, "a", "c")
    goal = ((2, 1),)
    for missing in answers:
        reports = done(*(set(answers) - {missing}), of=under_way)
        assert step(world((0, 1), goal=goal, moves={0: under_way}, reports=reports)).idle
    late = done(*answers, of=replace(under_way, fence=Fence(term=3, epoch=4)))
    assert step(world((0, 1), goal=goal, moves={0: under_way}, reports=late)).idle
    failed = done(*answers, of=under_way, error="disk full")
    assert step(world((0, 1), goal=goal, moves={0: under_way}, reports=failed)).idle
    next_one = only(step(world((0, 1), goal=goal, moves={0: under_way}, reports=done(*answers, of=under_way)))).move
    assert (next_one.state, next_one.fence) == (then, Fence(term=3, epoch=6 if then is MoveState.ACTIVATE else 5))


def test_a_primary_is_published_once_it_serves_and_the_old_one_drops_it_when_all_have_seen_that() -> None:
    under_way = move(MoveState.ACTIVATE, "a", "c", epoch=6)
    made = step(world((0, 1), goal=((2, 1),), moves={0: under_way}, reports=done("c", of=under_way)))
    assert (made.publish, made.write, made.remove) == ({0: Publish(row=(2, 1), epoch=6)}, (), ())
    published: dict[str, Any] = {"goal": ((2, 1),), "epochs": (6,), "generation": 10, "moves": {0: under_way}}
    assert step(world((2, 1), **published)).idle
    assert only(step(world((2, 1), **{**published, "now": 1010.0}))).move.state is MoveState.DROP
    seen = tuple(replace(m, generation=10) for m in EVERYBODY)
    assert only(step(world((2, 1), members=seen, **published))).move.state is MoveState.DROP
    absent = (*seen[:3], away(D, 5.0))
    assert only(step(world((2, 1), members=absent, **published))).move.state is MoveState.DROP


def test_a_replica_is_published_once_it_follows() -> None:
    under_way = move(MoveState.CATCH_UP, "b", "c", primary=False)
    made = step(world((0, 1), goal=((0, 2),), moves={0: under_way}, reports=done("c", of=under_way)))
    assert made.publish == {0: Publish(row=(0, 2), epoch=5)}
    assert only(step(world((0, 2), goal=((0, 2),), moves={0: under_way}))).move.state is MoveState.DROP


def test_a_dropped_shard_is_done() -> None:
    last = move(MoveState.DROP, "a", "c", epoch=6)
    settled: dict[str, Any] = {"goal": ((2, 1),), "epochs": (6,), "moves": {0: last}}
    assert step(world((2, 1), **settled)).idle
    assert step(world((2, 1), reports=done("a", of=last), **settled)).remove == (0,)
    assert step(world((2, 1), members=(away(A, 1.0), B, C, D), **settled)).remove == (0,)
    assert step(world((2, 1), **{**settled, "now": 1010.0})).remove == (0,)


def test_a_former_primary_that_stays_as_standby_drops_nothing() -> None:
    over = move(MoveState.ACTIVATE, "a", "b", epoch=6)
    made = step(world((1, 0), epochs=(6,), moves={0: over}))
    assert (made.remove, made.write, made.failures) == ((0,), (), {})


# ---------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("state", [MoveState.PREPARE, MoveState.CATCH_UP, MoveState.FORWARD])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"members": (A, B, away(C, 60.0), D)}, "c, which was to get it, is gone"),
        ({"members": (A, B, D)}, "c is no member any more"),
        ({"members": (A, B, replace(C, draining=True), D)}, "c, which was to get it, is to be emptied"),
        ({"now": 1010.0}, "took longer than"),
        ({"epochs": (7,)}, "another epoch"),
        ({"members": (away(A, 60.0), B, C, D)}, "its primary is gone"),
    ],
)
def test_before_the_commit_a_move_is_given_up(state: MoveState, change: dict[str, Any], why: str) -> None:
    order = only(step(world((0, 1), goal=((2, 1),), moves={0: move(state, "a", "c")}, **change)))
    assert order.move.state is MoveState.ABORT
    assert why in order.why


def test_the_reason_of_a_member_is_passed_on() -> None:
    under_way = move(MoveState.PREPARE, "a", "c")
    made = step(world((0, 1), goal=((2, 1),), moves={0: under_way}, reports=done("c", of=under_way, error="disk full"), now=1010.0))
    assert made.why[0].endswith("disk full")


def test_a_copy_from_a_member_that_is_gone_is_given_up() -> None:
    under_way = move(MoveState.PREPARE, "b", "c", primary=False)
    assert "copied from" in only(step(world((0, 1, 3), goal=((0, 2, 3),), moves={0: under_way}, members=(A, away(B, 60.0), C, D)))).why


def test_a_move_that_was_given_up_ends_when_all_have_said_so() -> None:
    over = move(MoveState.ABORT, "a", "c")
    assert step(world((0, 1), moves={0: over}, reports=done("c", of=over))).idle
    made = step(world((0, 1), moves={0: over}, reports=done("a", "c", of=over)))
    assert (made.remove, made.publish, made.failures[0].count) == ((0,), {}, 1)


def test_whoever_did_not_say_so_has_its_late_answers_fenced_off() -> None:
    """An answer to this attempt that is written after the next one began would else be taken for one to that."""
    over = move(MoveState.ABORT, "a", "c")
    silent = {0: {"a": Report(state=MoveState.ABORT, epoch=5)}}
    made = step(world((0, 1), moves={0: over}, reports=silent, members=(A, B, away(C, 60.0), D)))
    assert (made.publish, made.remove) == ({0: Publish(row=(0, 1), epoch=6)}, ())
    assert step(world((0, 1), epochs=(6,), moves={0: over}, reports=silent, members=(A, B, away(C, 60.0), D))).remove == (0,)


@pytest.mark.parametrize(
    "change", [{"now": 9999.0}, {"members": (away(A, 600.0), B, C, D)}, {"members": (A, B, replace(C, draining=True), D)}]
)
def test_behind_the_commit_nothing_is_given_up(change: dict[str, Any]) -> None:
    under_way = move(MoveState.ACTIVATE, "a", "c", epoch=6)
    made = step(world((0, 1), goal=((2, 1),), moves={0: under_way}, **change))
    assert all(w.move.state is not MoveState.ABORT for w in made.write)
    assert (made.remove, made.publish) == ((), {})


def test_a_new_primary_that_is_lost_is_published_and_followed_by_a_standby() -> None:
    under_way = move(MoveState.ACTIVATE, "a", "c", epoch=6)
    lost = (A, B, away(C, 60.0), D)
    made = step(world((0, 1), goal=((2, 1),), moves={0: under_way}, members=lost))
    assert made.publish == {0: Publish(row=(2, 1), epoch=6)}
    assert step(world((2, 1), epochs=(6,), generation=10, moves={0: under_way}, members=lost)).remove == (0,)
    assert written(step(world((2, 1), epochs=(6,), generation=10, members=lost))) == [(0, MoveState.ACTIVATE, "c", "b", 7)]


def test_a_new_primary_without_any_standby_that_is_lost_gives_the_shard_back() -> None:
    under_way = move(MoveState.ACTIVATE, "a", "c", epoch=6)
    back = only(step(world((0,), goal=((2,),), moves={0: under_way}, members=(A, B, away(C, 60.0), D))))
    assert (back.move.state, back.move.from_, back.move.to, back.move.fence.epoch) == (MoveState.ACTIVATE, "c", "a", 7)
    assert back.unless_live == ("c",)
    served = step(world((0,), goal=((2,),), moves={0: back.move}, reports=done("a", of=back.move), members=(A, B, away(C, 60.0), D)))
    assert served.publish == {0: Publish(row=(0,), epoch=7)}


def test_while_the_old_primary_is_away_and_nobody_else_has_the_data_the_copy_is_kept() -> None:
    under_way = move(MoveState.FORWARD, "a", "c")
    policy = MovePolicy(promote_after=10.0)
    assert step(world((0,), goal=((2,),), moves={0: under_way}, members=(away(A, 30.0), B, C, D), policy=policy, now=5000.0)).idle
    order = only(step(world((0,), goal=((2,),), moves={0: under_way}, members=(away(A, 60.0), B, C, D), policy=policy)))
    assert (order.move.state, order.move.fence.epoch, order.unless_live) == (MoveState.ACTIVATE, 6, ("a",))


def test_a_shard_that_was_to_begin_anew_stays_with_a_holder_that_is_back() -> None:
    anew = move(MoveState.CATCH_UP, None, "c")
    order = only(step(world((0,), goal=((2,),), moves={0: anew}, reports=done("c", of=anew))))
    assert (order.move.state, order.why) == (MoveState.ABORT, "a holder of its data is back")


@pytest.mark.parametrize("slot", [7, -1])
def test_a_move_of_no_shard_of_the_map_is_removed(slot: int) -> None:
    assert step(world((0, 1), moves={slot: move(MoveState.PREPARE, "a", "c", slot=slot)})).remove == (slot,)


def test_a_move_without_its_end_behind_the_commit_is_told() -> None:
    under_way = move(MoveState.ACTIVATE, "a", "c", epoch=6)
    made = step(world((0, 1), goal=((2, 1),), moves={0: under_way}, now=2000.0))
    assert (made.tally.stalled, made.tally.active) == (1, {MoveState.ACTIVATE: 1})
    assert made.why == {0: "c to take over"}
