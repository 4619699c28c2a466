from __future__ import annotations

import asyncio
import itertools

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.domain.errors import Denied, Fenced, Unreachable
from shuren.ports.kubernetes import LEASES, Object, Resource
from shuren.runtime.leader import Election, LeaseTiming


class Candidate:
    def __init__(self, kubernetes: FakeKubernetes, clock: ManualClock, identity: str) -> None:
        self.log: list[str] = []
        self.election = Election(
            kubernetes=kubernetes,
            clock=clock,
            namespace="system",
            name="lease",
            identity=identity,
            on_start=lambda: self.log.append("start"),
            on_stop=lambda: self.log.append("stop"),
        )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


async def test_the_first_takes_it_and_the_second_waits(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a, b = Candidate(kubernetes, clock, "a"), Candidate(kubernetes, clock, "b")
    await a.election.step()
    await b.election.step()
    assert a.election.held()
    assert not b.election.held()
    assert b.election.holder == "a"
    assert a.log == ["start"]
    with pytest.raises(Fenced):
        b.election.check()
    a.election.check()


async def test_a_renewing_leader_is_never_replaced(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a, b = Candidate(kubernetes, clock, "a"), Candidate(kubernetes, clock, "b")
    for _ in range(30):
        await a.election.step()
        await b.election.step()
        clock.shift(2)
    assert a.election.held()
    assert b.log == []


async def test_a_silent_leader_stops_before_another_starts(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a, b = Candidate(kubernetes, clock, "a"), Candidate(kubernetes, clock, "b")
    await a.election.step()
    await b.election.step()
    assert a.election.remaining() == 15
    clock.shift(10)
    assert not a.election.held()
    assert a.election.remaining() == 5
    await b.election.step()
    assert not b.election.held()
    clock.shift(5)
    await b.election.step()
    assert b.election.held()
    await a.election.step()
    assert a.log == ["start", "stop"]


async def test_released_leases_are_taken_at_once(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a, b = Candidate(kubernetes, clock, "a"), Candidate(kubernetes, clock, "b")
    await a.election.step()
    await a.election.release()
    assert a.log == ["start", "stop"]
    await b.election.step()
    assert b.election.held()
    lease = await kubernetes.get(LEASES, "system", "lease")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] == 1
    await a.election.release()


async def test_whoever_wins_knows_what_the_leader_before_has_noted(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    def candidate(identity: str, version: str) -> Election:
        return Election(kubernetes=kubernetes, clock=clock, namespace="system", name="lease", identity=identity, notes={"version": version})

    first, second = candidate("a", "1"), candidate("b", "2")
    await first.step()
    assert first.found == {}
    await first.release()
    await second.step()
    assert second.held()
    assert second.found == {"version": "1"}
    await second.release()
    await first.step()
    assert first.found == {"version": "2"}


async def test_an_unreachable_api_server_ends_leadership_in_time_and_it_comes_back(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a = Candidate(kubernetes, clock, "a")
    await a.election.step()
    kubernetes.fail("get", "leases", Unreachable("gone"), times=6)
    for _ in range(6):
        clock.shift(2)
        await a.election.step()
    assert not a.election.held()
    assert a.log == ["start", "stop"]
    clock.shift(20)
    await a.election.step()
    await a.election.step()
    assert a.election.held()
    assert a.election.term == 2


async def test_a_lease_that_somebody_deleted_is_made_again(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a = Candidate(kubernetes, clock, "a")
    await a.election.step()
    kubernetes.user_delete(LEASES, "system", "lease")
    clock.shift(2)
    await a.election.step()
    assert a.election.held()
    assert a.election.term == 1


async def test_a_lease_that_was_taken_from_us_is_noticed(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a = Candidate(kubernetes, clock, "a")
    await a.election.step()
    lease = await kubernetes.get(LEASES, "system", "lease")
    assert lease is not None
    lease["spec"]["holderIdentity"] = "thief"
    await kubernetes.replace(LEASES, "system", "lease", lease)
    await a.election.step()
    assert not a.election.held()
    assert a.election.holder == "thief"


async def test_missing_rights_are_told_and_do_not_end_the_loop(
    kubernetes: FakeKubernetes, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    a = Candidate(kubernetes, clock, "a")
    kubernetes.fail("get", "leases", Denied("leases is forbidden"))
    await a.election.step()
    assert "needed: get, create, update on leases in namespace system" in caplog.text
    await a.election.step()
    assert a.election.held()


async def test_resigning_stops_at_once(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a = Candidate(kubernetes, clock, "a")
    a.election.resign("nothing to give up")
    await a.election.step()
    a.election.resign("a fence was met")
    assert a.log == ["start", "stop"]
    assert a.election.remaining() == 0


async def test_whoever_finds_the_time_over_before_the_next_round_is_told_why(
    kubernetes: FakeKubernetes, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = Candidate(kubernetes, clock, "a"), Candidate(kubernetes, clock, "b")
    await a.election.step()
    clock.shift(10)
    with pytest.raises(Fenced) as met:
        a.election.check()
    a.election.resign(str(met.value))
    assert "not leading any more: the lease was not renewed in time" in caplog.text
    await b.election.step()
    clock.shift(15)
    await b.election.step()
    b.election.resign("a fence was met")
    assert "not leading any more: a fence was met" in caplog.text


@pytest.mark.parametrize("deleted", [False, True], ids=["renewed", "created anew"])
async def test_a_leader_that_resigns_while_its_renewal_is_under_way_wins_a_new_term(
    kubernetes: FakeKubernetes, clock: ManualClock, *, deleted: bool
) -> None:
    """With the renewal's answer it must not lead on: its work was stopped, and nothing would start it again."""
    a = Candidate(kubernetes, clock, "a")
    await a.election.step()
    if deleted:
        await kubernetes.delete(LEASES, "system", "lease")

    def resigning(moment: str) -> None:
        if moment.startswith("after create" if deleted else "after replace"):
            kubernetes.hook = None
            a.election.resign("a fence was met")

    kubernetes.hook = resigning
    await a.election.step()
    assert not a.election.held()
    assert a.log == ["start", "stop"]

    await a.election.step()
    assert a.election.held()
    assert (a.log, a.election.term) == (["start", "stop", "start"], 2)


async def test_at_most_one_believes_it_leads_in_every_order_of_steps_and_pauses() -> None:
    for schedule in itertools.product(["a", "b", "pause 3", "pause 16"], repeat=5):
        clock, kubernetes = ManualClock(), FakeKubernetes()
        candidates = {name: Candidate(kubernetes, clock, name) for name in "ab"}
        for step in schedule:
            if step.startswith("pause"):
                clock.shift(float(step.split()[1]))
            else:
                await candidates[step].election.step()
            assert sum(c.election.held() for c in candidates.values()) <= 1, schedule


async def test_the_loop_goes_on_until_it_is_cancelled(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a = Candidate(kubernetes, clock, "a")
    loop = asyncio.create_task(a.election.run())
    await clock.advance(6)
    assert a.election.held()
    assert a.election.heartbeat >= 4
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_a_lease_that_cannot_be_given_back_runs_out(
    kubernetes: FakeKubernetes, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    a = Candidate(kubernetes, clock, "a")
    await a.election.step()
    kubernetes.fail("get", "leases", Unreachable("gone"))
    await a.election.release()
    assert not a.election.held()
    assert "it will run out" in caplog.text


async def test_a_server_that_does_not_answer_about_the_lease_is_not_waited_for(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Mute(FakeKubernetes):
        async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
            await asyncio.Event().wait()
            return await super().get(resource, namespace, name)

    timing = LeaseTiming(duration=0.2, deadline=0.1, renew=0.1)
    election = Election(kubernetes=Mute(), clock=clock, namespace="system", name="lease", identity="a", timing=timing)
    await election.step()
    assert not election.held()
    assert "did not answer about the lease" in caplog.text


async def test_two_that_take_a_free_lease_at_once_do_not_both_lead(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    """The second one's write is refused: its lease was read before the first one wrote."""
    a, b = Candidate(kubernetes, clock, "a"), Candidate(kubernetes, clock, "b")
    await a.election.step()
    await a.election.release()
    free = await kubernetes.get(LEASES, "system", "lease")
    assert free is not None
    await b.election.step()

    class Late(FakeKubernetes):
        """Answers the first read with the lease as it was."""

        async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
            assert (resource, namespace, name) == (LEASES, "system", "lease")
            return free

        async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
            return await kubernetes.replace(resource, namespace, name, body)

    late = Candidate(Late(), clock, "late")
    await late.election.step()
    assert not late.election.held()
    assert b.election.held()


async def test_a_lease_without_fields_is_free(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    await kubernetes.create(LEASES, "system", {"metadata": {"name": "lease"}, "spec": {}})
    a = Candidate(kubernetes, clock, "a")
    await a.election.step()
    assert a.election.held()


async def test_only_our_own_lease_is_given_back(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    a, b = Candidate(kubernetes, clock, "a"), Candidate(kubernetes, clock, "b")
    await b.election.step()
    await a.election.step()
    clock.shift(15)
    await a.election.step()
    await b.election.release()
    lease = await kubernetes.get(LEASES, "system", "lease")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "a"
    assert b.log == ["start", "stop"]


async def test_hooks_are_optional(kubernetes: FakeKubernetes, clock: ManualClock) -> None:
    election = Election(kubernetes=kubernetes, clock=clock, namespace="system", name="lease", identity="a")
    await election.step()
    assert election.held()
    await election.release()
    assert not election.held()
