"""What members do in every state of a move, and that never two of them serve one shard, whatever each has seen of the world."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest

from sharding_tables import even_table, members_of
from shuren.sharding.core import NOBODY, Member, ShardTable, make_table
from shuren.sharding.core.duties import Duty, Held, Role, Step, duties
from shuren.sharding.core.moves import Fence, Move, MoveState, Report

_A, _B, _C = (Member(id=name, number=number) for number, name in enumerate("abc"))
_FENCE = Fence(term=1, epoch=5)
_NEXT = Fence(term=1, epoch=6)
_PRIMARY = Held(role=Role.PRIMARY, fence=_FENCE)


def _table(*owners: int, epoch: int = 5, generation: int = 1) -> ShardTable:
    return make_table(shards=1, replicas=len(owners), members=(_A, _B, _C), owners=owners, epochs=[epoch], generation=generation, term=1)


def _move(state: MoveState, *, from_: str | None = "a", to: str | None = "b", primary: bool = True) -> Move:
    committed = state in {MoveState.ACTIVATE, MoveState.DROP}
    return Move(shard=0, state=state, from_=from_, to=to, fence=_NEXT if committed and primary else _FENCE, primary=primary)


def _duty(
    me: str,
    held: Held | None,
    *,
    table: ShardTable | None = None,
    move: Move | None = None,
    seen: Fence | None = None,
    answered: Report | None = None,
) -> Duty | None:
    found = duties(
        me=me,
        table=table if table is not None else _table(0),
        moves={0: move} if move is not None else {},
        held={0: held} if held is not None else {},
        seen={0: seen} if seen is not None else {},
        answered={0: answered} if answered is not None else {},
    )
    return found.get(0)


# ------------------------------------------------------------------------------------------------------------------------ by the table


def test_the_primary_of_the_table_serves_with_its_epoch() -> None:
    assert _duty("a", None) == Duty(shard=0, step=Step.ACTIVATE, becomes=_PRIMARY)
    assert _duty("a", _PRIMARY) == Duty(shard=0, step=None, becomes=_PRIMARY, serves=True)
    newer = _duty("a", _PRIMARY, table=_table(0, epoch=7))
    assert newer is not None
    assert (newer.step, newer.serves) == (Step.ACTIVATE, False)


def test_a_replica_copies_and_follows() -> None:
    table = _table(0, 1)
    copying, standby = Held(role=Role.COPYING, fence=_FENCE), Held(role=Role.STANDBY, fence=_FENCE)
    assert _duty("b", None, table=table) == Duty(shard=0, step=Step.PREPARE, becomes=copying, peer="a")
    assert _duty("b", copying, table=table) == Duty(shard=0, step=Step.CATCH_UP, becomes=standby, peer="a")
    assert _duty("b", standby, table=table) == Duty(shard=0, step=None, becomes=standby)


def test_who_is_not_in_the_table_forgets_the_shard() -> None:
    assert _duty("b", Held(role=Role.STANDBY)) == Duty(shard=0, step=Step.DROP, becomes=None)
    assert _duty("stranger", _PRIMARY) == Duty(shard=0, step=Step.DROP, becomes=None)
    assert _duty("b", None) is None


def test_a_primary_that_the_table_made_a_replica_passes_on_and_then_follows() -> None:
    table = _table(1, 0, epoch=6)
    first = _duty("a", _PRIMARY, table=table)
    assert first is not None
    assert (first.step, first.peer, first.serves) == (Step.FORWARD, "b", False)
    then = _duty("a", first.becomes, table=table)
    assert then is not None
    assert (then.step, then.becomes) == (Step.CATCH_UP, Held(role=Role.STANDBY, fence=Fence(term=1, epoch=6)))


def test_without_a_table_nothing_is_done_and_nothing_served() -> None:
    assert duties(me="a", table=None, moves={}, held={0: _PRIMARY}, seen={}, answered={}) == {}


def test_unplaced_replicas_belong_to_nobody() -> None:
    assert _duty("a", None, table=_table(1, NOBODY)) is None


@pytest.mark.parametrize("role", [Role.PRIMARY, Role.FORWARDING])
def test_who_led_before_somebody_else_did_catches_up_before_it_leads_again(role: Role) -> None:
    """It was away while "b" led with epoch 6, came back, and now "b" is gone: what was acknowledged with epoch 6, it has not got."""
    again = Move(shard=0, state=MoveState.ACTIVATE, from_="b", to="a", fence=Fence(term=1, epoch=7))
    late = _duty("a", Held(role=role, fence=_FENCE), table=_table(1, 0, epoch=6), move=again)
    assert late is not None
    assert (late.step, late.peer, late.serves, late.report) == (Step.CATCH_UP, "b", False, None)


def test_who_passes_on_and_is_told_to_lead_again_does_so_at_once() -> None:
    """Nobody has led since: the table still has it first."""
    back = Move(shard=0, state=MoveState.ACTIVATE, from_="b", to="a", fence=Fence(term=1, epoch=7))
    soon = _duty("a", Held(role=Role.FORWARDING, fence=_FENCE), table=_table(0), move=back)
    assert soon is not None
    assert soon.step is Step.ACTIVATE


# ------------------------------------------------------------------------------------------------------------------------- by the moves


@pytest.mark.parametrize(
    ("state", "held", "step", "role", "serves"),
    [
        (MoveState.PREPARE, None, Step.PREPARE, Role.COPYING, False),
        (MoveState.PREPARE, Role.COPYING, None, Role.COPYING, False),
        (MoveState.CATCH_UP, None, Step.PREPARE, Role.COPYING, False),
        (MoveState.CATCH_UP, Role.COPYING, Step.CATCH_UP, Role.STANDBY, False),
        (MoveState.CATCH_UP, Role.STANDBY, None, Role.STANDBY, False),
        (MoveState.FORWARD, Role.STANDBY, None, Role.STANDBY, False),
        (MoveState.ACTIVATE, Role.STANDBY, Step.ACTIVATE, Role.PRIMARY, False),
        (MoveState.ACTIVATE, Role.COPYING, Step.CATCH_UP, Role.STANDBY, False),
        (MoveState.ACTIVATE, None, Step.PREPARE, Role.COPYING, False),
        (MoveState.DROP, Role.STANDBY, Step.ACTIVATE, Role.PRIMARY, False),
        (MoveState.ABORT, Role.STANDBY, Step.DROP, None, False),
        (MoveState.ABORT, None, None, None, False),
    ],
)
def test_the_new_holder(state: MoveState, held: Role | None, step: Step | None, role: Role | None, serves: object) -> None:
    duty = _duty("b", Held(role=held, fence=_FENCE) if held is not None else None, move=_move(state))
    assert duty is not None
    assert (duty.step, duty.becomes.role if duty.becomes is not None else None, duty.serves) == (step, role, serves)


def test_the_new_holder_serves_only_what_it_was_activated_for() -> None:
    serving = Held(role=Role.PRIMARY, fence=_NEXT)
    for state in (MoveState.ACTIVATE, MoveState.DROP):
        duty = _duty("b", serving, move=_move(state), answered=Report(state=MoveState.ACTIVATE, epoch=_NEXT.epoch))
        assert duty is not None
        assert (duty.step, duty.serves) == (None, True)
    older = _duty("b", _PRIMARY, move=_move(MoveState.ACTIVATE))
    assert older is not None
    assert (older.step, older.serves) == (Step.ACTIVATE, False)


def test_the_new_holder_serves_nothing_before_its_report_is_there() -> None:
    """An operator that has no report, and finds it gone, gives the shard back to the old holder, who lacks what would have been served."""
    duty = _duty("b", Held(role=Role.PRIMARY, fence=_NEXT), move=_move(MoveState.ACTIVATE))
    assert duty is not None
    assert (duty.step, duty.serves, duty.report) == (None, False, Report(state=MoveState.ACTIVATE, epoch=_NEXT.epoch))


def test_a_replica_copies_from_whom_it_is_told_and_catches_up_with_the_primary() -> None:
    table = _table(2, 0)
    prepare = _duty("b", None, table=table, move=_move(MoveState.PREPARE, primary=False))
    catch_up = _duty("b", Held(role=Role.COPYING, fence=_FENCE), table=table, move=_move(MoveState.CATCH_UP, primary=False))
    assert prepare is not None
    assert catch_up is not None
    assert (prepare.step, prepare.peer) == (Step.PREPARE, "a")
    assert (catch_up.step, catch_up.peer) == (Step.CATCH_UP, "c")


def test_before_the_commit_the_old_holder_serves_with_the_fence_of_the_table() -> None:
    """Not with the term of the order: after a restart without the move, its storage would take the table's fence for an old one."""
    later = Move(shard=0, state=MoveState.ABORT, from_="a", to="b", fence=Fence(term=9, epoch=5))
    back = _duty("a", Held(role=Role.FORWARDING, fence=_FENCE), move=later)
    assert back is not None
    assert (back.step, back.becomes) == (Step.ACTIVATE, _PRIMARY)


@pytest.mark.parametrize(
    ("state", "held", "step", "role", "serves"),
    [
        (MoveState.PREPARE, Role.PRIMARY, None, Role.PRIMARY, True),
        (MoveState.PREPARE, None, Step.ACTIVATE, Role.PRIMARY, False),
        (MoveState.CATCH_UP, Role.PRIMARY, Step.CATCH_UP, Role.PRIMARY, True),
        (MoveState.CATCH_UP, None, Step.ACTIVATE, Role.PRIMARY, False),
        (MoveState.FORWARD, Role.PRIMARY, Step.FORWARD, Role.FORWARDING, False),
        (MoveState.FORWARD, None, Step.FORWARD, Role.FORWARDING, False),
        (MoveState.FORWARD, Role.FORWARDING, None, Role.FORWARDING, False),
        (MoveState.ACTIVATE, Role.PRIMARY, Step.FORWARD, Role.FORWARDING, False),
        (MoveState.ACTIVATE, Role.FORWARDING, None, Role.FORWARDING, False),
        (MoveState.DROP, Role.FORWARDING, Step.DROP, None, False),
        (MoveState.DROP, Role.PRIMARY, Step.DROP, None, False),
        (MoveState.ABORT, Role.PRIMARY, None, Role.PRIMARY, True),
        (MoveState.ABORT, Role.FORWARDING, Step.ACTIVATE, Role.PRIMARY, False),
    ],
)
def test_the_old_primary(state: MoveState, held: Role | None, step: Step | None, role: Role | None, serves: object) -> None:
    duty = _duty("a", Held(role=held, fence=_FENCE) if held is not None else None, move=_move(state))
    assert duty is not None
    assert (duty.step, duty.becomes.role if duty.becomes is not None else None, duty.serves) == (step, role, serves)


def test_help_to_catch_up_is_given_once() -> None:
    move = _move(MoveState.CATCH_UP)
    done = _duty("a", _PRIMARY, move=move, answered=Report(state=MoveState.CATCH_UP, epoch=5))
    assert done is not None
    assert (done.step, done.serves) == (None, True)
    failed = _duty("a", _PRIMARY, move=move, answered=Report(state=MoveState.CATCH_UP, epoch=5, error="no"))
    assert failed is not None
    assert failed.step is Step.CATCH_UP


def test_moves_of_a_replica_leave_the_primary_alone() -> None:
    table = _table(0, 1)
    assert _move(MoveState.CATCH_UP, from_="b", to="c", primary=False).parts() == {"c"}
    for state in (MoveState.PREPARE, MoveState.CATCH_UP):
        move = _move(state, from_="b", to="c", primary=False)
        old = _duty("b", Held(role=Role.STANDBY), table=table, move=move)
        primary = _duty("a", _PRIMARY, table=table, move=move)
        assert old is not None
        assert (old.step, old.becomes) == (None, Held(role=Role.STANDBY))
        assert primary is not None
        assert primary.serves
    dropped = _duty("b", Held(role=Role.STANDBY), table=table, move=_move(MoveState.DROP, from_="b", to="c", primary=False))
    assert dropped is not None
    assert dropped.step is Step.DROP


def test_an_abort_does_not_take_a_copy_that_the_table_gives() -> None:
    """A replica was to become the primary: it stays a replica."""
    duty = _duty("b", Held(role=Role.STANDBY), table=_table(0, 1), move=_move(MoveState.ABORT))
    assert duty is not None
    assert (duty.step, duty.becomes) == (None, Held(role=Role.STANDBY))


def test_reports_are_asked_of_those_who_have_a_part() -> None:
    for state in MoveState:
        move = _move(state)
        for me in ("a", "b"):
            duty = _duty(me, _PRIMARY if me == "a" else Held(role=Role.STANDBY), move=move)
            assert duty is not None
            assert (duty.report is not None) == (me in move.parts()), (state, me)


# ----------------------------------------------------------------------------------------------------------- older news than what was seen


def test_a_table_older_than_a_move_that_is_over_gives_nothing_back() -> None:
    """The move is gone, the table of before it is still the one known here: the old primary must not serve again, the new one goes on."""
    old = _duty("a", Held(role=Role.FORWARDING, fence=_FENCE), seen=_NEXT)
    new = _duty("b", Held(role=Role.PRIMARY, fence=_NEXT), seen=_NEXT)
    assert old is not None
    assert (old.step, old.serves) == (None, False)
    assert new is not None
    assert (new.step, new.serves) == (None, True)


# ------------------------------------------------------------------------------------------------------------------- random interleavings


@dataclass
class _World:
    """One shard, three members. The operator takes moves from state to state; each member looks at the world when it likes, moves first."""

    table: ShardTable = field(default_factory=lambda: _table(0))
    move: Move | None = None
    reports: dict[str, Report] = field(default_factory=dict)
    held: dict[str, Held | None] = field(default_factory=lambda: dict.fromkeys("abc"))
    seen: dict[str, Fence] = field(default_factory=lambda: dict.fromkeys("abc", Fence()))
    serves: dict[str, bool] = field(default_factory=lambda: dict.fromkeys("abc", False))
    pending: dict[str, Duty] = field(default_factory=dict)

    def look(self, me: str) -> None:
        """One pass of a member: decides, and stops serving at once; what the application has to do comes later."""
        if me in self.pending:
            return
        moves = {0: self.move} if self.move is not None else {}
        if self.move is not None:
            self.seen[me] = max(self.seen[me], self.move.fence)
        held = self.held[me]
        found = duties(
            me=me,
            table=self.table,
            moves=moves,
            held={0: held} if held is not None else {},
            seen={0: self.seen[me]},
            answered={0: self.reports[me]} if me in self.reports else {},
        ).get(0)
        self.serves[me] = found is not None and found.serves and held is not None and held.role is Role.PRIMARY
        if found is not None and found.step is not None:
            self.pending[me] = found
        elif found is not None and found.report is not None and self.move is not None:
            self.reports[me] = found.report

    def finish(self, me: str) -> None:
        """The application has done its part."""
        duty = self.pending.pop(me, None)
        if duty is None:
            return
        self.held[me] = duty.becomes
        if duty.report is not None and self.move is not None:
            self.reports[me] = duty.report

    def restart(self, me: str) -> None:
        """The process is new and remembers nothing; its session went with it, and it looks before it serves."""
        self.pending.pop(me, None)
        self.held[me], self.seen[me], self.serves[me] = None, Fence(), False

    def operate(self, choice: int) -> None:
        """Go on with the move when all parts were reported, abort it, or begin one."""
        if self.move is None:
            owner = self.table.owners[0]
            to = "abc"[(owner + 1 + choice % 2) % 3]
            self._order(Move(shard=0, state=MoveState.PREPARE, from_="abc"[owner], to=to, fence=Fence(term=1, epoch=self.table.epochs[0])))
            return
        move = self.move
        uncommitted = move.state in {MoveState.PREPARE, MoveState.CATCH_UP, MoveState.FORWARD}
        if uncommitted and choice == 7:
            self._order(Move(shard=0, state=MoveState.ABORT, from_=move.from_, to=move.to, fence=move.fence))
            return
        if any(not self.reports.get(part, Report(state=MoveState.DROP, epoch=-1)).answers(move) for part in move.parts()):
            return
        match move.state:
            case MoveState.PREPARE:
                self._order(Move(shard=0, state=MoveState.CATCH_UP, from_=move.from_, to=move.to, fence=move.fence))
            case MoveState.CATCH_UP:
                self._order(Move(shard=0, state=MoveState.FORWARD, from_=move.from_, to=move.to, fence=move.fence))
            case MoveState.FORWARD:
                fence = Fence(term=1, epoch=move.fence.epoch + 1)
                self._order(Move(shard=0, state=MoveState.ACTIVATE, from_=move.from_, to=move.to, fence=fence))
            case MoveState.ACTIVATE:
                number = "abc".index(move.to or "")
                self.table = _table(number, epoch=move.fence.epoch, generation=self.table.generation + 1)
                self._order(Move(shard=0, state=MoveState.DROP, from_=move.from_, to=move.to, fence=move.fence))
            case MoveState.DROP | MoveState.ABORT:
                self.move, self.reports = None, {}

    def _order(self, move: Move) -> None:
        self.move, self.reports = move, {}


@pytest.mark.parametrize("seed", range(60))
def test_never_do_two_members_serve_a_shard(seed: int) -> None:
    """Long random walks: most steps are looks and their ends, now and then the operator goes on, aborts, or a member starts anew."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable walk
    world, activations = _World(), set()
    for _ in range(1_500):
        who = chance.choice("abc")
        match chance.choices(["look", "finish", "operate", "restart"], [40, 40, 18, 2])[0]:
            case "look":
                world.look(who)
            case "finish":
                world.finish(who)
            case "operate":
                world.operate(7 if chance.random() < 0.05 else chance.randrange(2))
            case "restart":
                world.restart(who)
        serving = [me for me in "abc" if world.serves[me]]
        assert len(serving) <= 1, world
        for me in serving:
            held = world.held[me]
            assert held is not None
            assert held.fence.epoch >= world.table.epochs[0]
            activations.add(held.fence.epoch)
    assert len(activations) > 2, "the walk did not get anywhere"


def test_a_move_comes_to_its_end_whatever_the_order_of_looks() -> None:
    for order in itertools.permutations("abc"):
        world = _World()
        for me in "abc":
            world.look(me)
            world.finish(me)
        world.operate(0)
        states = []
        for _ in range(100):
            if world.move is None:
                break
            if world.move.state not in states:
                states.append(world.move.state)
            for me in order:
                world.look(me)
                world.finish(me)
                world.look(me)
            world.operate(0)
        assert world.move is None
        assert states == [MoveState.PREPARE, MoveState.CATCH_UP, MoveState.FORWARD, MoveState.ACTIVATE, MoveState.DROP]
        for me in order:
            world.look(me)
        assert [me for me in "abc" if world.serves[me]] == ["b"]


def test_duties_of_a_large_table_are_those_of_its_replicas() -> None:
    members = members_of(5)
    table = even_table(members, 64, 2)
    found = duties(me="node-2", table=table, moves={}, held={}, seen={}, answered={})
    assert {shard for shard, duty in found.items() if duty.step is Step.ACTIVATE} == {s for s in range(64) if s % 5 == 2}
    assert {shard for shard, duty in found.items() if duty.step is Step.PREPARE} == {s for s in range(64) if s % 5 == 1}
