"""A member serves what is its own, and only that: through moves, restarts, lost sessions and silence."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from sharding_operator import WITHIN, Operator, wait_until
from sharding_server import AsyncRecordingServer, RecordingServer
from sharding_tables import members_of
from shuren.sharding.aio import AsyncShardMember
from shuren.sharding.core import NOBODY, Member, ShardTable, make_table
from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.moves import Fence, Live, Move, MoveState, Report
from shuren.sharding.fake import FakeEnsemble, FakeStore
from shuren.sharding.lease import seconds
from shuren.sharding.member import ShardMember
from shuren.sharding.store import Link, Unavailable
from shuren.sharding.wrong_shard import NotServing, WrongShard

_PATH = "/root/shards/shop.cart"
_MEMBERS = members_of(3)
_Make = Callable[..., "tuple[ShardMember, RecordingServer, FakeStore]"]


def _table(*owners: int, generation: int = 1, epochs: list[int] | None = None, members: tuple[Member, ...] = _MEMBERS) -> ShardTable:
    return make_table(
        shards=len(owners), replicas=1, members=members, owners=owners, epochs=epochs or [5] * len(owners), generation=generation, term=1
    )


@pytest.fixture
def ensemble() -> FakeEnsemble:
    return FakeEnsemble()


@pytest.fixture
def operator(ensemble: FakeEnsemble) -> Operator:
    return Operator(ensemble, _PATH)


@pytest.fixture
def make(ensemble: FakeEnsemble) -> Iterator[_Make]:
    made: list[ShardMember] = []

    def one(number: int = 0, **more: object) -> tuple[ShardMember, RecordingServer, FakeStore]:
        store, server = FakeStore(ensemble, session_seconds=float(more.pop("session_seconds", 60.0))), RecordingServer()  # type: ignore[arg-type]
        member = ShardMember(
            store,
            _PATH,
            id=_MEMBERS[number].id,
            address=_MEMBERS[number].address,
            server=server,
            retry=0.02,
            **more,  # type: ignore[arg-type]
        )
        made.append(member)
        return member.start(), server, store

    yield one
    for member in made:
        member.stop()


def _serves(member: ShardMember, slot: int) -> bool:
    try:
        return member.permit(slot).valid
    except (WrongShard, NotServing):
        return False


# ------------------------------------------------------------------------------------------------------------------------- by the table


def test_a_primary_registers_is_activated_and_serves(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    operator.publish(_table(0, 1, 0, 2))
    member, server, _ = make()
    wait_until(lambda: _serves(member, 0) and _serves(member, 2))
    assert sorted(server.calls) == [("activate", 0, 5), ("activate", 2, 5)]
    permit = member.permit(0)
    assert permit.fence == Fence(term=1, epoch=5)
    assert member.reply_bound == pytest.approx(20.0)

    def live() -> Live:
        return codec.decode_live(ensemble.get(f"{_PATH}/live/node-0") or b"")

    wait_until(lambda: live().generation == 1)
    assert (live().id, live().address, live().session_seconds) == ("node-0", _MEMBERS[0].address, 60.0)
    status = member.status
    assert (status.generation, status.serving, status.held, status.link, status.problem) == (1, 2, {"primary": 2}, Link.CONNECTED, "")
    assert status.lease > 0


def test_what_is_somebody_elses_is_refused_with_who_has_it(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0, 1))
    member, _, _ = make()
    wait_until(lambda: _serves(member, 0))
    with pytest.raises(WrongShard, match="shard 1 is with node-1") as caught:
        member.permit(1)
    error = caught.value
    assert (error.owner, error.address, error.generation, error.ask) == ("node-1", _MEMBERS[1].address, 1, False)
    with pytest.raises(NotServing, match="not in the map"):
        member.permit(2)


def test_keys_are_served_by_their_shard(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    member, _, _ = make()
    with pytest.raises((NotServing, WrongShard)):
        make(1)[0].permit(0)
    wait_until(lambda: _serves(member, 0))
    with member.serving("user:7") as permit:
        assert (permit.shard, permit.valid) == (0, True)


def test_before_there_is_a_map_nothing_is_served(make: _Make, operator: Operator) -> None:
    member, server, _ = make()
    with pytest.raises(NotServing, match="no map was read yet"):
        member.slot("a")
    wait_until(lambda: "no map is published" in member.status.problem)
    assert server.calls == []
    operator.publish(_table(0))
    wait_until(lambda: _serves(member, 0))


def test_a_replica_copies_from_the_primary(operator: Operator, make: _Make) -> None:
    operator.publish(make_table(shards=1, replicas=2, members=_MEMBERS, owners=[1, 0], generation=1, term=1))
    member, server, _ = make()
    wait_until(lambda: member.status.held == {"standby": 1})
    assert server.of(0) == ["prepare", "catch-up"]
    assert {(h.peer, h.address) for h in server.handoffs} == {("node-1", _MEMBERS[1].address)}
    assert not _serves(member, 0)


def test_a_shard_found_on_the_disk_that_is_not_its_own_is_dropped(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0, 1))
    _, server, _ = make(0, holding=[1])
    wait_until(lambda: ("drop", 1, 0) in server.calls)


def test_a_call_that_fails_is_made_again(operator: Operator, make: _Make) -> None:
    operator.publish(_table(1))
    member, server, _ = make()
    server.failures["activate"] = 2
    operator.publish(_table(0, generation=2))
    wait_until(lambda: _serves(member, 0))
    assert server.of(0) == ["activate"] * 3


# -------------------------------------------------------------------------------------------------------------------------- by the moves


def test_a_shard_goes_from_one_member_to_another(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    old, old_server, _ = make(0)
    new, new_server, _ = make(1)
    wait_until(lambda: _serves(old, 0))
    served: dict[MoveState, tuple[bool, bool]] = {}
    operator.hand_over(0, "node-1", after=lambda state: served.update({state: (_serves(old, 0), _serves(new, 0))}))
    wait_until(lambda: _serves(new, 0))
    assert served[MoveState.PREPARE] == served[MoveState.CATCH_UP] == (True, False)
    assert served[MoveState.FORWARD] == (False, False)
    assert not served[MoveState.ACTIVATE][0]
    assert not served[MoveState.DROP][0]
    assert old_server.calls == [("activate", 0, 5), ("catch-up", 0, 5), ("forward", 0, 5), ("drop", 0, 5)]
    assert new_server.calls == [("prepare", 0, 5), ("catch-up", 0, 5), ("activate", 0, 6)]
    assert new.permit(0).fence == Fence(term=1, epoch=6)
    assert [h.primary for h in old_server.handoffs] == [False, True, True, False]
    with pytest.raises(WrongShard, match="is with node-1"):
        old.permit(0)


def test_while_it_passes_on_it_says_whom_to_ask(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    member, _, _ = make(0)
    wait_until(lambda: _serves(member, 0))
    operator.order(Move(shard=0, state=MoveState.FORWARD, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5)))

    def asks() -> bool:
        try:
            member.permit(0)
        except WrongShard as error:
            return error.ask and (error.owner, error.address) == ("node-1", _MEMBERS[1].address)
        except NotServing:
            return False
        return False

    wait_until(asks)


def test_requests_under_way_end_before_it_passes_on(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    member, server, _ = make(0)
    wait_until(lambda: _serves(member, 0))
    move = Move(shard=0, state=MoveState.FORWARD, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5))
    with member.serving("a"):
        operator.order(move)
        wait_until(lambda: not _serves(member, 0))
        assert "forward" not in server.of(0)
        assert not operator.answered(move)
    wait_until(lambda: operator.answered(move))
    assert server.of(0) == ["activate", "forward"]


def test_requests_that_do_not_end_are_told_to_the_operator(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    operator.publish(_table(0))
    member, _, _ = make(0, drain=0.05)
    wait_until(lambda: _serves(member, 0))
    move = Move(shard=0, state=MoveState.FORWARD, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5))

    def report() -> Report:
        return codec.decode_report(ensemble.get(f"{_PATH}/moves/0/node-0") or b'{"state":"drop","shardEpoch":0}')

    with member.serving("a"):
        operator.order(move)
        wait_until(lambda: "1 requests of shard 0 did not end" in report().error)
        assert not report().answers(move)
    wait_until(lambda: report().answers(move))


def test_an_abort_before_the_commit_gives_the_shard_back(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    old, old_server, _ = make(0)
    _, new_server, _ = make(1)
    wait_until(lambda: _serves(old, 0))
    fence = Fence(term=1, epoch=5)
    for state in (MoveState.PREPARE, MoveState.CATCH_UP, MoveState.FORWARD, MoveState.ABORT):
        move = Move(shard=0, state=state, from_="node-0", to="node-1", fence=fence)
        operator.order(move)
        wait_until(lambda move=move: operator.answered(move))  # type: ignore[misc]
    operator.over(0)
    wait_until(lambda: _serves(old, 0))
    assert old_server.of(0) == ["activate", "catch-up", "forward", "activate"]
    assert new_server.of(0) == ["prepare", "catch-up", "drop"]


def test_a_long_copy_is_told_that_it_is_not_wanted_any_more(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    _, server, _ = make(1)
    gate = server.hold("prepare")
    operator.order(Move(shard=0, state=MoveState.PREPARE, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5)))
    wait_until(lambda: server.handoffs)
    abort = Move(shard=0, state=MoveState.ABORT, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5))
    operator.order(abort)
    assert server.handoffs[0].cancelled.wait(WITHIN)
    gate.set()
    wait_until(lambda: server.of(0) == ["prepare", "drop"])


def test_so_is_one_whose_move_was_taken_away(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    _, server, _ = make(1)
    gate = server.hold("prepare")
    operator.order(Move(shard=0, state=MoveState.PREPARE, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5)))
    wait_until(lambda: server.handoffs)
    operator.over(0)
    assert server.handoffs[0].cancelled.wait(WITHIN)
    gate.set()
    wait_until(lambda: server.of(0) == ["prepare", "drop"])


def test_a_failure_in_a_move_is_reported_and_made_good(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    operator.publish(_table(0))
    _, server, _ = make(1)
    server.failures["prepare"] = 1
    move = Move(shard=0, state=MoveState.PREPARE, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5))
    operator.order(move)
    wait_until(lambda: operator.answered(move))
    reports = [path for path in ensemble.writes if path == f"{_PATH}/moves/0/node-1"]
    assert len(reports) == 2


def test_a_successor_is_activated_at_once_when_the_old_primary_is_gone(operator: Operator, make: _Make) -> None:
    operator.publish(make_table(shards=1, replicas=2, members=_MEMBERS, owners=[0, 1], epochs=[5], generation=1, term=1))
    member, server, _ = make(1)
    wait_until(lambda: member.status.held == {"standby": 1})
    move = Move(shard=0, state=MoveState.ACTIVATE, from_=None, to="node-1", fence=Fence(term=1, epoch=6))
    operator.order(move)
    wait_until(lambda: operator.answered(move) and _serves(member, 0))
    assert server.of(0) == ["prepare", "catch-up", "activate"]


def test_a_lost_report_is_written_again(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    operator.publish(_table(0))
    make(1)
    move = Move(shard=0, state=MoveState.PREPARE, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5))
    operator.order(move)
    wait_until(lambda: operator.answered(move))
    ensemble.delete(f"{_PATH}/moves/0/node-1")
    operator.order(move)
    wait_until(lambda: operator.answered(move))


def test_orders_that_nobody_can_read_stop_nothing_that_runs(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    operator.publish(_table(0, 0))
    member, _, _ = make(0)
    wait_until(lambda: _serves(member, 0))
    ensemble.set(f"{_PATH}/moves/1", b"{")
    wait_until(lambda: "moves/1" in member.status.problem)
    assert _serves(member, 0)
    ensemble.delete(f"{_PATH}/moves/1")
    ensemble.set(f"{_PATH}/moves/lost+found", b"")
    wait_until(lambda: member.status.problem == "")


# --------------------------------------------------------------------------------------------------------------------- session and lease


def test_silence_ends_serving_before_the_session_can_end(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    member, _, store = make(0, session_seconds=3.0)
    wait_until(lambda: _serves(member, 0))
    permit = member.permit(0)
    store.silence()
    silent_since = seconds()
    wait_until(lambda: not _serves(member, 0))
    # no write was answered after the silence began, so the lease cannot end later than this
    assert member._lease.until <= silent_since + 2.0
    assert not permit.valid
    with pytest.raises(NotServing, match="lease has run out"):
        member.permit(0)
    store.speak()
    wait_until(lambda: _serves(member, 0))


def test_after_a_lost_session_it_looks_before_it_serves(operator: Operator, make: _Make) -> None:
    """In the meantime, the shard went to somebody else."""
    operator.publish(_table(0, 0))
    member, server, store = make(0)
    wait_until(lambda: _serves(member, 0) and _serves(member, 1))
    store.silence()
    store.expire()
    operator.publish(_table(1, 0, generation=2, epochs=[6, 5]))
    served_wrongly = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if store.link is Link.CONNECTED and _serves(member, 0):
                served_wrongly.set()

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    # what the lease of before still allows is over at the latest when the loss is known
    store.speak()
    watcher.start()
    wait_until(lambda: _serves(member, 1))
    wait_until(lambda: "drop" in server.of(0))
    done.set()
    watcher.join()
    assert not served_wrongly.is_set()


def test_a_move_made_in_its_absence_is_obeyed(operator: Operator, make: _Make) -> None:
    """The successor was activated, and the table of it is not published yet."""
    operator.publish(_table(0))
    member, _, store = make(0)
    wait_until(lambda: _serves(member, 0))
    store.silence()
    store.expire()
    operator.order(Move(shard=0, state=MoveState.ACTIVATE, from_="node-0", to="node-1", fence=Fence(term=1, epoch=6)))
    store.speak()
    wait_until(lambda: member.status.held == {"forwarding": 1})
    assert not _serves(member, 0)


def test_copies_are_doubted_after_a_lost_session(operator: Operator, make: _Make) -> None:
    operator.publish(make_table(shards=1, replicas=2, members=_MEMBERS, owners=[1, 0], generation=1, term=1))
    member, server, store = make(0)
    wait_until(lambda: member.status.held == {"standby": 1})
    store.expire()
    wait_until(lambda: server.of(0) == ["prepare", "catch-up", "catch-up"])
    wait_until(lambda: member.status.held == {"standby": 1})


def test_it_has_caught_up_when_its_copies_are_whole_and_not_when_it_runs(operator: Operator, make: _Make) -> None:
    member, server, store = make(0)
    wait_until(lambda: member.status.caught_up)
    gate = server.hold("catch-up")
    operator.publish(make_table(shards=2, replicas=2, members=_MEMBERS, owners=[1, 0, 0, 1], generation=1, term=1))
    wait_until(lambda: "catch-up" in server.of(0) and _serves(member, 1))
    assert not member.status.caught_up
    gate.set()
    wait_until(lambda: member.status.caught_up)
    assert member.status.held == {"standby": 1, "primary": 1}
    gate.clear()
    store.expire()
    wait_until(lambda: server.of(0).count("catch-up") == 2)
    assert not member.status.caught_up
    gate.set()
    wait_until(lambda: member.status.caught_up)


def test_a_copy_caught_up_with_in_a_session_that_was_lost_is_caught_up_with_again(operator: Operator, make: _Make) -> None:
    """The primary let go of it when its session ended; the call that was under way then says nothing about what came after."""
    operator.publish(make_table(shards=1, replicas=2, members=_MEMBERS, owners=[1, 0], generation=1, term=1))
    member, server, store = make(0)
    wait_until(lambda: member.status.held == {"standby": 1})
    gate = server.hold("catch-up")
    store.expire()
    wait_until(lambda: server.of(0).count("catch-up") == 2)
    store.expire()
    wait_until(lambda: member.status.lease > 0)
    gate.set()
    wait_until(lambda: server.of(0).count("catch-up") == 3)
    wait_until(lambda: member.status.held == {"standby": 1})


class _Remembering(FakeStore):
    """Keeps what was said in the live node."""

    def __init__(self, ensemble: FakeEnsemble) -> None:
        super().__init__(ensemble, session_seconds=60.0)
        self.said: list[Live] = []

    def put_ephemeral(self, path: str, data: bytes) -> bool:
        self.said.append(codec.decode_live(data))
        return super().put_ephemeral(path, data)


def test_copies_are_told_to_lag_from_the_first_word_of_a_new_session(operator: Operator, ensemble: FakeEnsemble) -> None:
    """Between a registration and the doubts, an operator would take them for successors."""
    operator.publish(make_table(shards=1, replicas=2, members=_MEMBERS, owners=[1, 0], generation=1, term=1))
    store, server = _Remembering(ensemble), RecordingServer()
    with ShardMember(store, _PATH, id="node-0", server=server, retry=0.02) as member:
        wait_until(lambda: member.status.held == {"standby": 1})
        gate, said = server.hold("catch-up"), len(store.said)
        store.expire()
        wait_until(lambda: server.of(0).count("catch-up") == 2)
        assert {frozenset(live.counts.items()) for live in store.said[said:]} == {frozenset({("copying", 1)})}
        gate.set()


def test_what_it_measured_is_told_with_a_heartbeat(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    operator.publish(_table(0, 0))
    member, _, _ = make(0, session_seconds=0.5)
    member.measured({shard: shard for shard in range(100)})

    def live() -> Live:
        return codec.decode_live(ensemble.get(f"{_PATH}/live/node-0") or b'{"id":"","generation":0}')

    wait_until(lambda: live().load == 4950)
    assert live().hottest == {shard: shard for shard in range(68, 100)}


def test_who_holds_a_shard_and_whose_session_has_ended(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    operator.publish(make_table(shards=1, replicas=3, members=_MEMBERS, owners=[0, 2, NOBODY], generation=1, term=1))
    member, _, store = make(0)
    wait_until(lambda: _serves(member, 0))
    assert member.replicas(0) == (_MEMBERS[0], _MEMBERS[2])
    assert member.replicas(7) == ()
    assert (member.gone("node-0"), member.gone("node-2")) == (False, True)
    ensemble.set(f"{_PATH}/live/node-2", b"{}")
    assert not member.gone("node-2")
    store.silence()
    with pytest.raises(Unavailable):
        member.gone("node-2")


def test_two_processes_of_one_name_do_not_serve_together(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0))
    first, _, _ = make(0)
    wait_until(lambda: _serves(first, 0))
    second, server, _ = make(0, session_seconds=2.0)
    wait_until(lambda: "another process is registered as 'node-0'" in second.status.problem)
    assert not _serves(second, 0)
    assert server.calls == []
    first.stop()
    wait_until(lambda: _serves(second, 0))
    assert second.status.problem == ""


def test_stopping_serves_nothing_more_and_waits_for_requests(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    operator.publish(_table(0))
    member, _, _ = make(0)
    wait_until(lambda: _serves(member, 0))
    entered, leave = threading.Event(), threading.Event()

    def request() -> None:
        with member.serving("a"):
            entered.set()
            assert leave.wait(WITHIN)

    asking, stopping = threading.Thread(target=request), threading.Thread(target=member.stop)
    asking.start()
    assert entered.wait(WITHIN)
    stopping.start()
    wait_until(lambda: not _serves(member, 0))
    assert ensemble.get(f"{_PATH}/live/node-0") is not None
    leave.set()
    stopping.join(WITHIN)
    assert not stopping.is_alive()
    asking.join()
    assert ensemble.get(f"{_PATH}/live/node-0") is None


def test_starting_without_zookeeper(ensemble: FakeEnsemble) -> None:
    class Absent(FakeStore):
        def start(self, *, within: float) -> None:
            raise Unavailable(f"nobody answers within {within} s")

    with pytest.raises(Unavailable), ShardMember(Absent(ensemble), _PATH, id="a", server=RecordingServer()):
        pass


# -------------------------------------------------------------------------------------------------------------------------------- layout


def test_a_split_renumbers_what_is_held(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0, 1))
    member, server, _ = make(0)
    wait_until(lambda: _serves(member, 0))
    operator.publish(_table(0, 0, 1, 1, generation=2))
    wait_until(lambda: _serves(member, 0) and _serves(member, 1))
    assert server.calls == [("activate", 0, 5), ("resharded", 2, 4)]
    with pytest.raises(WrongShard):
        member.permit(2)


def test_after_a_split_it_tells_the_sum_of_what_it_measured_and_no_shards_of_before(
    operator: Operator, ensemble: FakeEnsemble, make: _Make
) -> None:
    operator.publish(_table(0, 1))
    member, _, _ = make(0, session_seconds=0.5)
    member.measured({0: 7})

    def live() -> Live:
        return codec.decode_live(ensemble.get(f"{_PATH}/live/node-0") or b'{"id":"","generation":0}')

    wait_until(lambda: live().hottest == {0: 7})
    operator.publish(_table(0, 0, 1, 1, generation=2))
    wait_until(lambda: live().generation == 2)
    assert (live().load, live().hottest) == (7, {})


def test_two_splits_missed_while_it_was_away_are_made_up_for(operator: Operator, make: _Make) -> None:
    operator.publish(_table(0, 0, 0, 0, 1, 1, 1, 1))
    _, server, _ = make(0, holding=[0], holding_of=2)
    wait_until(lambda: server.calls[1:] and {call for call, *_ in server.calls[1:]} == {"activate"} and len(server.calls) == 5)
    assert server.calls[0] == ("resharded", 2, 8)
    assert sorted(server.calls[1:]) == [("activate", shard, 5) for shard in range(4)]


def test_a_split_that_was_taken_back_leaves_what_all_children_were(operator: Operator, make: _Make) -> None:
    """Shard 0 is led by two children under one fence; of shard 1, one child was somebody else's."""
    operator.publish(_table(0, 0, 0, 1))
    member, server, _ = make(0)
    wait_until(lambda: member.status.serving == 3)
    operator.publish(_table(0, 1, generation=2, epochs=[6, 6]))
    wait_until(lambda: server.calls[-1] == ("activate", 0, 6))
    assert server.calls[3:] == [("resharded", 4, 2), ("activate", 0, 6)]
    wait_until(lambda: member.status.held == {"primary": 1})


def test_a_move_from_before_a_split_is_about_another_shard(operator: Operator, ensemble: FakeEnsemble, make: _Make) -> None:
    """It was read before the table was split, and names a number that is a child of another shard by now."""
    operator.publish(_table(0, 0, 1, 1))
    operator.order(Move(shard=1, state=MoveState.DROP, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5), shards=2))
    member, server, _ = make(0)
    wait_until(lambda: _serves(member, 1))
    assert server.of(1) == ["activate"]
    order = Move(shard=1, state=MoveState.DROP, from_="node-0", to="node-1", fence=Fence(term=1, epoch=6), shards=4)
    operator.order(order)
    wait_until(lambda: operator.answered(order))
    assert server.of(1) == ["activate", "drop"]


async def test_asyncio_members(operator: Operator, ensemble: FakeEnsemble) -> None:
    operator.publish(_table(0))
    server = AsyncRecordingServer()
    wanted = AsyncShardMember(server, lambda s: ShardMember(FakeStore(ensemble), _PATH, id="node-0", server=s))
    async with wanted as member:
        await asyncio.to_thread(wait_until, lambda: _serves(member, 0))
        with member.serving("a") as permit:
            assert permit.valid
        operator.order(Move(shard=0, state=MoveState.FORWARD, from_="node-0", to="node-1", fence=Fence(term=1, epoch=5)))
        await asyncio.to_thread(wait_until, lambda: member.status.held == {"forwarding": 1})
    assert server.inner.of(0) == ["activate", "forward"]
