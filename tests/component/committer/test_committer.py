"""Group commit on the fake Marathon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from lead import Lead
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.crash import Crash, CrashPoint, Moment
from shuren.clients.fakes.marathon import FakeMarathon
from shuren.clients.fakes.marathon_tasks import Behaviour
from shuren.clients.fakes.marathon_world import MarathonWorld
from shuren.controllers.estate.committer import CommitPolicy, Committer
from shuren.domain.commit import ArrayLimits, WriteKind
from shuren.domain.errors import Fenced, FieldError, Gone, Invalid, Locked, ShurenError, Throttled, UnknownOutcome, Unreachable
from shuren.domain.marathon.state import DeploymentRef
from shuren.ports.marathon import Faulted, Marathon
from shuren.runtime.limits import TokenBucket

Answer = DeploymentRef | BaseException | None


class Room:
    """A committer on a fake Marathon, with time in the test's hand."""

    def __init__(
        self, policy: CommitPolicy, behave: Callable[[Mapping[str, Any]], Behaviour] = lambda _: Behaviour.RUNS, *, rate: float = 1_000.0
    ) -> None:
        self.clock = ManualClock()
        self.world = MarathonWorld(clock=self.clock, behave=behave)
        self.marathon = FakeMarathon(self.world)
        self.lead = Lead()
        self.written: list[str] = []
        self.coming = 0
        self.committer = self.new(self.marathon, policy, rate=rate)

    def new(self, marathon: Marathon, policy: CommitPolicy, *, rate: float = 1_000.0) -> Committer:
        bucket = TokenBucket(clock=self.clock, rate=rate, burst=rate)
        written = self.written.append
        return Committer(
            marathon=marathon,
            leadership=self.lead,
            clock=self.clock,
            bucket=bucket,
            written=written,
            policy=policy,
            coming=lambda: self.coming,
        )

    def sizes(self, name: str = "put_apps") -> list[int]:
        """Members of each accepted request of one kind."""
        return [len(call.app_ids) for call in self.marathon.writes if call.name == name]

    async def create(self, *names: str, **fields: Any) -> list[Answer]:
        return await asyncio.gather(*(self.committer.create(definition(n, **fields)) for n in names), return_exceptions=True)

    async def change(self, *names: str, force: bool = False, **fields: Any) -> list[Answer]:
        return await asyncio.gather(*(self.committer.change(definition(n, **fields), force=force) for n in names), return_exceptions=True)

    async def pass_time(self, seconds: float) -> None:
        """Time passes a second at a time, and Marathon's world with it."""
        for _ in range(int(seconds)):
            self.world.settle()
            await self.clock.advance(1.0)


def definition(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"/{name}", "cmd": "sleep 1000", "instances": 1} | fields


def names(count: int, prefix: str = "a") -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]


POLICY = CommitPolicy(arrays=ArrayLimits(members=50, size=1_000_000, mass=5))


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room(POLICY)
    yield made
    await made.committer.close()


async def test_a_single_write_goes_alone_and_at_once(room: Room) -> None:
    before = room.clock.monotonic()
    ref = await room.committer.create(definition("one"))
    assert room.clock.monotonic() == before
    assert room.world.plans[ref.id].app_ids == ("/one",)
    assert room.written == ["/one"]


async def test_many_new_apps_become_few_arrays_that_each_caller_shares(room: Room) -> None:
    answers = await room.create(*names(120))
    assert room.sizes() == [50, 50, 20]
    assert all(isinstance(a, DeploymentRef) for a in answers)
    assert len(set(map(str, answers))) == 3
    assert len(room.world.definitions) == 120


async def test_what_arrives_while_a_write_is_on_its_way_goes_together_next() -> None:
    room = Room(POLICY)
    more: list[asyncio.Task[list[Answer]]] = []

    def arrive(moment: Moment, _: str) -> None:
        if moment is Moment.BEFORE and not more:
            more.append(asyncio.ensure_future(room.create(*names(7, "later"))))

    room.marathon.hook = arrive
    await room.committer.create(definition("first"))
    await more[0]
    assert room.sizes() == [1, 7]
    await room.committer.close()


async def test_a_few_configuration_changes_have_deployments_of_their_own_and_a_mass_change_shares_one(room: Room) -> None:
    await room.create(*names(10))
    room.world.settle()
    await room.clock.advance(2.0)
    few = await room.change("a0", "a1", "a2", cmd="sleep 1")
    assert len(set(map(str, few))) == 3
    await room.pass_time(2)
    many = await room.change(*names(10), cmd="sleep 2")
    assert len(set(map(str, many))) == 1


async def test_scales_share_an_array_of_partial_updates(room: Room) -> None:
    await room.create(*names(8))
    await room.pass_time(3)
    refs = await asyncio.gather(*(room.committer.scale(f"/{n}", {"instances": 3}, force=False) for n in names(8)))
    assert room.sizes("patch_apps") == [8]
    assert len(set(map(str, refs))) == 1
    room.world.settle()
    assert {d["instances"] for d in room.world.definitions.values()} == {3}
    assert {d["cmd"] for d in room.world.definitions.values()} == {"sleep 1000"}


async def test_a_refused_member_gets_its_own_words_and_the_others_go(room: Room) -> None:
    wanted = [definition(n) for n in names(20)]
    wanted[3]["cpus"] = 0
    wanted[11]["instances"] = -1
    answers = await asyncio.gather(*(room.committer.create(d) for d in wanted), return_exceptions=True)
    refused = {i: a for i, a in enumerate(answers) if isinstance(a, BaseException)}
    assert set(refused) == {3, 11}
    assert isinstance(refused[3], Invalid)
    assert isinstance(refused[11], Invalid)
    assert refused[3].errors == (FieldError(path="/cpus", message="error.min"),)
    assert refused[11].errors == (FieldError(path="/instances", message="error.min"),)
    assert "/a3" in str(refused[3])
    assert room.sizes() == [18]


@pytest.mark.parametrize("error", [Invalid("requirement failed"), Faulted("illegal constraint specification")])
async def test_a_member_that_spoils_the_array_without_being_named_is_found_by_halving(error: ShurenError) -> None:
    room = Room(POLICY)

    def stumble(moment: Moment, what: str) -> None:
        if moment is Moment.BEFORE and "/a13" in what.split():
            raise error

    room.marathon.hook = stumble
    answers = await room.create(*names(40))
    assert [i for i, a in enumerate(answers) if isinstance(a, BaseException)] == [13]
    assert type(answers[13]) is type(error)
    assert len(room.world.definitions) == 39
    assert room.committer.sent.requests <= 2 + 2 * 6
    await room.committer.close()


async def test_members_that_a_foreign_deployment_holds_are_told_so_and_the_others_go(room: Room) -> None:
    await room.create(*names(12))
    await room.pass_time(3)
    foreign = room.world.foreign_put(definition("a5", cmd="sleep 9"))
    answers = await room.change(*names(12), cmd="sleep 2")
    held = [i for i, a in enumerate(answers) if isinstance(a, BaseException)]
    assert held == [5]
    assert isinstance(answers[5], Locked)
    assert answers[5].deployments == (foreign.id,)
    assert room.sizes()[-1] == 11


async def test_a_lock_that_is_gone_before_it_can_be_read_does_not_stop_the_array(room: Room) -> None:
    room.marathon.fail_next(Locked("locked", deployments=("gone",)), name="put_apps", times=2)
    answers = await room.create(*names(6))
    assert all(isinstance(a, DeploymentRef) for a in answers)
    assert room.sizes() == [1] * 6


@pytest.mark.parametrize("error", [Unreachable("down"), UnknownOutcome("lost"), Throttled("full", retry_after=2.0)])
async def test_what_befalls_an_array_is_told_to_every_caller(room: Room, error: ShurenError) -> None:
    room.marathon.fail_next(error, name="put_apps")
    answers = await room.create(*names(6))
    assert [type(a) for a in answers] == [type(error)] * 6
    assert len({id(a) for a in answers}) == 6
    assert isinstance(answers[0], type(error))
    if isinstance(error, Throttled):
        assert [a.retry_after for a in answers if isinstance(a, Throttled)] == [2.0] * 6


async def test_leadership_is_checked_right_before_each_request(room: Room) -> None:
    def lose(moment: Moment, _: str) -> None:
        if moment is Moment.AFTER:
            room.lead.leads = False

    room.marathon.hook = lose
    answers = await room.create(*names(60))
    assert room.sizes() == [50]
    assert [type(a) for a in answers[50:]] == [Fenced] * 10
    with pytest.raises(Fenced):
        await room.committer.cancel("any")


@pytest.mark.parametrize(("deadline", "left"), [(0.02, 15.0), (10.0, 0.02)], ids=["its own", "the Lease's"])
async def test_a_request_that_outlives_its_deadline_or_the_lease_has_an_unknown_outcome(deadline: float, left: float) -> None:
    room = Room(CommitPolicy(request_deadline=deadline))
    room.lead.left = left
    never = asyncio.Event()

    class Silent(FakeMarathon):
        async def delete_app(self, app_id: str, *, force: bool = False) -> DeploymentRef | None:
            await never.wait()
            return await super().delete_app(app_id, force=force)

    committer = room.new(Silent(room.world), room.committer.policy)
    with pytest.raises(UnknownOutcome, match=r"within 0\.02 s"):
        await committer.delete("/a", force=False)
    await committer.close()


async def test_no_more_deployments_run_than_may_but_a_forced_write_takes_the_place_of_one() -> None:
    room = Room(
        CommitPolicy(deployments=2, patience=5.0, gather=0.0), lambda d: Behaviour.RUNS if d["cmd"] == "sleep 1" else Behaviour.UNPLACED
    )
    await room.create("a")
    await room.create("b")
    waiting = asyncio.ensure_future(room.create("c"))
    await room.clock.advance(2.0)
    assert len(room.world.plans) == 2
    (answer,) = await room.change("a", cmd="sleep 1", force=True)
    assert isinstance(answer, DeploymentRef)
    await room.pass_time(2)
    assert isinstance((await waiting)[0], DeploymentRef)
    stuck = asyncio.ensure_future(room.create("d"))
    await room.pass_time(8)
    (given_back,) = await stuck
    assert isinstance(given_back, Throttled)
    await room.committer.close()


async def test_a_slow_mass_creation_does_not_use_up_its_deployments_on_small_arrays() -> None:
    """Deployments that do not end: the few that may run had better hold many apps each. Sent as they come, they would hold one each."""
    room = Room(replace(POLICY, deployments=8, gather=2.0), lambda _: Behaviour.UNPLACED)
    answers: list[asyncio.Future[list[Answer]]] = []
    room.coming = 400
    for moment in range(400):
        answers.append(asyncio.ensure_future(room.create(f"a{moment}")))
        await room.clock.advance(0.02)
    await room.clock.advance(0.1)
    assert len(room.sizes()) == 8
    assert set(room.sizes()) == {50}, "they are full"
    await room.committer.close()
    await asyncio.gather(*answers)


async def test_an_array_waits_for_what_is_coming_and_a_write_that_nothing_follows_never_does() -> None:
    room = Room(replace(POLICY, gather=2.0), lambda _: Behaviour.UNPLACED)
    room.coming = 3
    early = asyncio.ensure_future(room.create("a", "b"))
    await room.clock.advance(0.1)
    assert room.sizes() == []
    late = asyncio.ensure_future(room.create("c"))
    await room.clock.advance(0.1)
    assert room.sizes() == [3], "nothing more is coming: it does not wait on"
    room.coming = 0
    before = room.clock.monotonic()
    for name in names(12, "later"):
        await room.create(name)
    assert room.clock.monotonic() == before
    room.coming = 2
    elsewhere = asyncio.ensure_future(room.create("d"))
    for _ in range(12):
        await room.clock.advance(0.05)
    assert len(room.sizes()) == 14, "what is coming hangs elsewhere"
    await room.committer.close()
    await asyncio.gather(early, late, elsewhere)


async def test_a_write_whose_turn_comes_is_not_given_back_however_long_the_line_is() -> None:
    room = Room(replace(POLICY, arrays=ArrayLimits(members=1), deployments=1, patience=5.0), lambda _: Behaviour.RUNS)
    waiting = asyncio.ensure_future(room.create(*names(20)))
    await room.pass_time(60)
    assert {type(answer) for answer in await waiting} == {DeploymentRef}
    await room.committer.close()


async def test_deployments_that_hang_do_not_use_up_the_limit() -> None:
    room = Room(CommitPolicy(deployments=2, ceiling=3, hang=20.0, patience=5.0, gather=0.0), lambda _: Behaviour.UNPLACED)
    await room.create("a")
    await room.create("b")
    await room.pass_time(21)
    (answer,) = await room.create("c")
    assert isinstance(answer, DeploymentRef)
    stuck = asyncio.ensure_future(room.create("d"))
    await room.pass_time(8)
    assert isinstance((await stuck)[0], Throttled), "the ceiling counts all"
    await room.committer.close()


async def test_requests_are_paced() -> None:
    room = Room(CommitPolicy(), rate=2.0)
    deletes = [asyncio.ensure_future(room.committer.delete(f"/{n}", force=False)) for n in names(6)]
    await room.clock.advance(0.1)
    assert sum(d.done() for d in deletes) == 2
    await room.clock.advance(2.1)
    assert sum(d.done() for d in deletes) == 6
    await room.committer.close()


async def test_a_caller_that_is_gone_writes_nothing(room: Room) -> None:
    first = asyncio.ensure_future(room.create("a"))
    second = asyncio.ensure_future(room.create("b"))
    await asyncio.sleep(0)
    second.cancel()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    assert set(room.world.definitions) == {"/a"}


async def test_the_rest_of_the_writes_reach_marathon(room: Room) -> None:
    await room.create("a", instances=3)
    await room.pass_time(2)
    app = room.world.actual("/a")
    assert app is not None
    first = app.version
    assert await room.committer.kill("/a", (app.tasks[0].id,), force=False)
    await room.pass_time(2)
    after = room.world.actual("/a")
    assert after is not None
    assert [t.id for t in after.tasks] == [t.id for t in app.tasks[1:]]
    await room.change("a", cmd="sleep 5")
    assert await room.committer.restore("/a", first)
    assert room.world.definitions["/a"]["cmd"] == "sleep 1000"
    kept = await room.committer.definition_at("/a", first)
    assert kept is not None
    assert kept["instances"] == 3
    await room.pass_time(2)
    assert await room.committer.restart("/a")
    assert await room.committer.delete("/a", force=True)
    assert await room.committer.delete("/a", force=True) is None
    with pytest.raises(Gone):
        await room.committer.restart("/a")


# ------------------------------------------------------------------------------------------------ shared deployments


def hanging(*bad: str) -> Callable[[Mapping[str, Any]], Behaviour]:
    return lambda d: Behaviour.UNPLACED if d["id"] in bad and d["cmd"] != "sleep 1" else Behaviour.RUNS


async def test_a_hanging_member_does_not_hold_the_others_locks() -> None:
    room = Room(POLICY, hanging("/a3"))
    await room.create(*names(8))
    room.world.settle()
    assert len(room.world.plans) == 1
    change = asyncio.ensure_future(room.change("a0", cmd="sleep 2"))
    await room.pass_time(POLICY.contention + 2)
    (answer,) = await change
    assert isinstance(answer, DeploymentRef)
    assert room.committer.sent.cancelled == 1
    room.world.settle()
    assert not room.world.plans
    assert [q.app_id for q in room.world.waiting()] == ["/a3"]
    assert room.committer.sent.restarted == 0, "what waits in the queue needs no restart"
    await room.committer.close()


async def test_an_unfinished_member_is_locked_for_writes_that_are_not_forced_and_given_way_to_for_forced_ones() -> None:
    room = Room(POLICY, hanging("/a3"))
    await room.create(*names(8))
    room.world.settle()
    plain = asyncio.ensure_future(room.change("a3", cmd="sleep 1"))
    await room.pass_time(POLICY.contention + 2)
    (locked,) = await plain
    assert isinstance(locked, Locked)
    assert room.committer.sent.cancelled == 0
    forced = asyncio.ensure_future(room.change("a3", cmd="sleep 1", force=True))
    await room.pass_time(POLICY.contention + 2)
    (answer,) = await forced
    assert isinstance(answer, DeploymentRef)
    room.world.settle()
    assert not room.world.plans
    assert room.world.actual("/a3") is not None
    await room.committer.close()


async def test_a_mass_change_that_hangs_is_cancelled_and_what_it_leaves_half_done_is_finished() -> None:
    """/a2 never gets its new tasks placed; the other nine roll in two steps of dependency, so cancelling leaves some of them old."""
    room = Room(POLICY, lambda d: Behaviour.UNPLACED if d["id"] == "/a2" and d["cmd"] == "sleep 2" else Behaviour.RUNS)
    await room.create(*names(10), instances=2)
    await room.pass_time(3)
    wanted = [definition(n, cmd="sleep 2", instances=2) for n in names(10)]
    for late in wanted[5:]:
        late["dependencies"] = ["/a2"]
    refs = await asyncio.gather(*(room.committer.change(d, force=False) for d in wanted))
    assert len(set(map(str, refs))) == 1
    room.world.settle()
    await room.pass_time(2 * POLICY.hang + 5)
    assert room.committer.sent.cancelled == 1
    assert {c.app_ids for c in room.marathon.writes if c.name == "restart"} == {(f"/a{i}",) for i in (2, 5, 6, 7, 8, 9)}
    room.world.settle()
    for name in set(names(10)) - {"a2"}:
        app = room.world.actual(f"/{name}")
        assert app is not None
        assert not app.deployments
        assert all(t.version is not None and t.version >= app.last_config_change_at for t in app.tasks)
        assert len(app.tasks) == 2
    assert [plan.app_ids for plan in room.world.plans.values()] == [("/a2",)], "it hangs by itself now"
    await room.committer.close()


async def test_a_write_waits_for_a_shared_deployment_that_is_about_to_end() -> None:
    room = Room(POLICY)
    await room.create(*names(5))
    change = asyncio.ensure_future(room.change("a0", cmd="sleep 2"))
    await room.pass_time(2)
    (answer,) = await change
    assert isinstance(answer, DeploymentRef)
    assert room.committer.sent.cancelled == 0
    await room.committer.close()


async def test_shared_deployments_are_looked_after_again_when_marathon_was_away() -> None:
    room = Room(POLICY, hanging("/a3"))
    await room.create(*names(5))
    room.world.settle()
    room.marathon.reads_down = Unreachable("away")
    change = asyncio.ensure_future(room.change("a0", cmd="sleep 2"))
    await room.pass_time(POLICY.contention + 2)
    assert not change.done()
    room.marathon.reads_down = None
    await room.pass_time(3)
    assert isinstance((await change)[0], DeploymentRef)
    await room.committer.close()


async def test_a_crash_at_a_request_reaches_every_waiting_caller(room: Room) -> None:
    room.marathon.hook = CrashPoint(at=0)
    answers = await room.create(*names(60))
    assert [type(a) for a in answers] == [Crash] * 60
    assert not room.world.definitions


async def test_closing_gives_waiting_writes_back() -> None:
    room = Room(CommitPolicy(deployments=0))
    waiting = asyncio.ensure_future(room.create("a"))
    await room.clock.advance(1.0)
    await room.committer.close()
    assert isinstance((await waiting)[0], Unreachable)


async def test_write_takes_the_kind_in_words(room: Room) -> None:
    assert await room.committer.write("/a", definition("a"), kind=WriteKind.CREATE)
