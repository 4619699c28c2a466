"""The small parts of a gated roll-out: ids, steps, limits, what a status says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import app_snapshots as given
from shuren.domain.app import analysis, progress
from shuren.domain.app.decide import decide
from shuren.domain.app.pair import lives_on, other, pair
from shuren.domain.app.plan import ClaimId, PutApp, RecordRevision
from shuren.domain.app.progress import Command, Progress, Split, Stage
from shuren.domain.app.snapshot import Beside, Carrier, Count, Revision, RevisionState, Step, Strategy
from shuren.domain.app.steps import effective, size

WEB, ALT = pair("/shop/web")
GOOD, TRYING, FAILED, WITHDRAWN = RevisionState.GOOD, RevisionState.TRYING, RevisionState.FAILED, RevisionState.WITHDRAWN


def revision(number: int, state: RevisionState, app_id: str, beside: str = "") -> Revision:
    return Revision(name=f"r{number}", hash=f"{number}", number=number, state=state, app_id=app_id, beside=beside)


@pytest.mark.parametrize(
    ("known", "there", "lives"),
    [
        ((), (), WEB),
        ((), (WEB,), WEB),
        ((), (ALT,), ALT),
        ((), (WEB, ALT), WEB),
        ((revision(1, GOOD, WEB),), (WEB,), WEB),
        ((revision(1, GOOD, WEB), revision(2, TRYING, ALT, WEB)), (WEB, ALT), WEB),
        ((revision(1, GOOD, WEB), revision(2, FAILED, ALT, WEB)), (WEB, ALT), WEB),
        ((revision(1, GOOD, WEB), revision(2, GOOD, ALT)), (WEB, ALT), ALT),
        ((revision(1, GOOD, WEB), revision(2, WITHDRAWN, ALT)), (ALT,), ALT),
        ((revision(2, GOOD, ALT), revision(3, TRYING, WEB, ALT)), (WEB, ALT), ALT),
        # in another cluster, where nothing of it is
        ((revision(2, GOOD, ALT),), (), WEB),
        # under another name
        ((revision(2, GOOD, "/shop/other"),), (WEB,), WEB),
    ],
)
def test_the_newest_revision_tells_where_a_resource_lives(known: tuple[Revision, ...], there: tuple[str, ...], lives: str) -> None:
    assert lives_on(WEB, known, exists=lambda app_id: app_id in there, claimed=lambda app_id: app_id in there) == lives


def test_each_id_has_the_other_beside_it() -> None:
    assert (other(WEB, WEB), other(WEB, ALT)) == (ALT, WEB)


@pytest.mark.parametrize(
    ("steps", "sizes"),
    [
        ((), [10]),
        ((Step(weight=1),), [1, 10]),
        ((Step(weight=25), Step(weight=50)), [3, 5, 10]),
        ((Step(weight=0, scale=100, pause=True),), [10, 10]),
        ((Step(weight=50), Step(weight=10), Step(weight=100, scale=10)), [5, 5, 10]),
    ],
)
def test_instances_of_each_step(steps: tuple[Step, ...], sizes: list[int]) -> None:
    taken = effective(steps)
    assert taken[-1].weight == 100
    assert [size(taken, index, 10) for index in range(len(taken))] == sizes
    assert all(size(taken, index, 0) == 0 for index in range(len(taken)))


def test_what_has_come_since_over_load_balancers_of_which_one_has_begun_anew() -> None:
    before = {"a": Count(requests=100, errors=3), "b": Count(requests=500, errors=9)}
    now = {"a": Count(requests=130, errors=4, latency=10), "b": Count(requests=10, errors=1, latency=50), "c": Count()}
    assert analysis.since(before, now) == Count(requests=40, errors=2, latency=20)
    assert analysis.since(now, now) == Count()


@pytest.mark.parametrize(
    ("step", "seen", "words"),
    [
        (Step(weight=1), Count(requests=100, errors=100), ""),
        (Step(weight=1, max_error_rate=0.1), Count(requests=100, errors=10), ""),
        (Step(weight=1, max_error_rate=0.1), Count(requests=100, errors=11), "11 of 100 requests failed (11.0%, maxErrorRate is 0.1)"),
        (Step(weight=1, max_error_rate=0.1), Count(requests=19, errors=19), ""),
        (Step(weight=1, max_error_rate=0.0, min_requests=0), Count(), ""),
        (
            Step(weight=1, max_error_rate=0.0, min_requests=0),
            Count(requests=1, errors=1),
            "1 of 1 requests failed (100.0%, maxErrorRate is 0)",
        ),
        (Step(weight=1, max_latency=20), Count(requests=20, latency=21), "requests took 21 ms on average (maxLatencyMillis is 20)"),
        (Step(weight=1, max_latency=20), Count(requests=20, latency=20), ""),
    ],
)
def test_limits(step: Step, seen: Count, words: str) -> None:
    assert analysis.exceeded(step, seen) == words


def test_counters_of_all_services_are_kept_apart() -> None:
    carriers = [Carrier(service=name, counts={"lb": Count(requests=n)}) for n, name in enumerate(("a", "b"))]
    assert analysis.counted(carriers) == {"a lb": Count(), "b lb": Count(requests=1)}


def test_what_a_status_says_comes_back_from_it() -> None:
    told = Progress(
        stage=Stage.HOLDING,
        revision="abc",
        id=ALT,
        step=1,
        steps=3,
        weight=50,
        since="2026-01-02T03:04:05Z",
        message="holding",
        deadline="2026-01-02T04:04:05Z",
        deployment="d1",
        paused=True,
        skip=True,
        handled={"pause": "1"},
    )
    assert progress.read({"rollout": progress.document(told)}) == told


@pytest.mark.parametrize("rollout", [None, "x", {}, {"phase": "Unheard"}, {"phase": 3}])
def test_a_status_that_says_nothing_of_a_roll_out(rollout: object) -> None:
    assert progress.read({"rollout": rollout}) is None  # type: ignore[dict-item]  # what stands there may be anything


def test_the_split_of_traffic() -> None:
    told = Progress(stage=Stage.HOLDING, revision="abc", id=ALT, weight=50)
    assert progress.split({"marathon": {"id": WEB}, "rollout": progress.document(told)}) == Split(lives_on=WEB, beside=ALT, weight=50)
    ended = replace(told, stage=Stage.COMPLETED, id="")
    assert progress.split({"marathon": {"id": ALT}, "rollout": progress.document(ended)}) == Split(lives_on=ALT)
    assert progress.split({}) == Split()


def test_each_new_value_of_an_annotation_is_one_command() -> None:
    before = Progress(stage=Stage.HOLDING, revision="a", id=ALT, handled={"pause": "1", "resume": "1"})
    annotations = {f"{progress.ANNOTATION}{word}": value for word, value in (("pause", "1"), ("promote", "7"), ("resume", "2"))}
    s = given.snapshot(resource={"annotations": annotations})
    fresh, handled = progress.asked(s, before)
    assert fresh == {Command.PROMOTE, Command.RESUME}
    assert handled == {"pause": "1", "promote": "7", "resume": "2"}


def test_the_first_pass_claims_and_records_before_it_writes() -> None:
    s = given.snapshot(
        rollout={"strategy": Strategy.GATED, "steps": (Step(weight=10),)},
        desired=given.desired("bbbb", cmd="sleep 2", instances=2),
        beside=Beside(app_id=ALT),
    )
    plan = decide(s)
    assert [type(a) for a in plan.actions] == [ClaimId, RecordRevision, PutApp]
    claim, record, put = plan.actions
    assert isinstance(claim, ClaimId)
    assert claim.app_id == ALT
    assert isinstance(record, RecordRevision)
    assert (record.app_id, record.beside, record.number) == (ALT, WEB, 2)
    assert isinstance(put, PutApp)
    assert (put.app_id, put.definition["id"], put.definition["instances"], put.definition["cmd"]) == (ALT, ALT, 1, "sleep 2")
