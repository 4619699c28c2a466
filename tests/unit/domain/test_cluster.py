"""What a MesosCluster says about itself, for every way in which it can be."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.cluster import (
    Amounts,
    Blocked,
    ClusterReport,
    ClusterSettings,
    ClusterSnapshot,
    Counts,
    Login,
    MarathonSettings,
    MesosSettings,
    MesosSummary,
    Obstacle,
    PartView,
    SecretName,
    TlsMaterial,
    TlsSettings,
    ZooKeeperSettings,
    decide,
)
from shuren.domain.conditions import Condition, ConditionType, Truth, written
from shuren.domain.marathon.state import MarathonInfo
from strict_kubernetes import status_validator

_AMOUNTS = Amounts(cpus=8.0, mem=100.0, disk=10.0)
_GOOD = ClusterSnapshot(
    name="bj1",
    generation=2,
    synced=True,
    synced_at="2026-01-01T00:00:00Z",
    mesos=PartView(),
    summary=MesosSummary(version="1", leader="m", agents=1, total=_AMOUNTS, used=Amounts(cpus=4.1, mem=50.0)),
    counts=Counts(apps=1, managed=1, tasks=2, deployments=0),
)
_views = st.builds(
    PartView,
    unreachable_for=st.one_of(st.none(), st.sampled_from([0.0, 30.0, 60.0, 500.0])),
    error=st.sampled_from(["", "refused"]),
    denied=st.booleans(),
)
_snapshots = st.builds(
    ClusterSnapshot,
    name=st.just("bj1"),
    generation=st.just(1),
    obstacle=st.one_of(st.none(), st.builds(Obstacle, kind=st.sampled_from(Blocked), reason=st.just("R"), message=st.just("m"))),
    marathon=_views,
    synced=st.booleans(),
    zookeeper=_views,
    leading=st.booleans(),
    mesos=st.one_of(st.none(), _views),
    deletions_wait=st.sampled_from([0.0, 12.0]),
    previous=st.sampled_from([{}, {"marathon": {"reachable": True}, "zookeeper": {"reachable": False}, "counts": {"apps": 3}}]),
)


def _find(report: ClusterReport, kind: ConditionType) -> Condition | None:
    return next((c for c in report.conditions if c.type is kind), None)


@given(_snapshots)
def test_ready_is_always_there_once_and_says_one_thing_with_its_companions(snapshot: ClusterSnapshot) -> None:
    report = decide(snapshot)
    ready = [c for c in report.conditions if c.type is ConditionType.READY]
    assert len(ready) == 1
    reconciling, stalled = _find(report, ConditionType.RECONCILING), _find(report, ConditionType.STALLED)
    assert (ready[0].status is Truth.TRUE) is (reconciling is None and stalled is None)
    assert reconciling is None or stalled is None
    assert all(c.reason and c.message for c in report.conditions)
    assert len({c.type for c in report.conditions}) == len(report.conditions)
    assert 0 < report.requeue_after <= 30


@given(_snapshots)
def test_deciding_on_the_outcome_again_changes_nothing(snapshot: ClusterSnapshot) -> None:
    first = decide(snapshot)
    conditions = written(first.conditions, generation=1, now="t")
    again = decide(replace(snapshot, previous={**first.facts, "conditions": conditions}))
    if snapshot.marathon.unreachable_for is None and snapshot.zookeeper.unreachable_for is None:
        assert again.facts == first.facts


@given(st.floats(min_value=0, max_value=59.9))
def test_within_the_grace_period_the_status_stays_as_it_was(seconds: float) -> None:
    good = decide(_GOOD)
    away = decide(replace(_GOOD, marathon=PartView(unreachable_for=seconds, error="refused"), previous=good.facts))
    assert (away.conditions, away.facts) == (good.conditions, good.facts)
    assert away.requeue_after <= 60 - seconds + 0.1


def test_after_it_the_reason_is_told() -> None:
    away = decide(replace(_GOOD, marathon=PartView(unreachable_for=60.0, error="refused"), previous=decide(_GOOD).facts))
    ready = _find(away, ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == (Truth.FALSE, "MarathonUnreachable")
    assert "refused" in ready.message


def test_use_is_shown_in_steps() -> None:
    facts = (
        [decide(replace(_GOOD, summary=replace(_GOOD.summary, used=Amounts(cpus=cpus)))).facts for cpus in (4.0, 4.1)]
        if _GOOD.summary
        else []
    )
    assert len(facts) == 2
    assert facts[0]["resources"] == facts[1]["resources"]


def test_without_mesos_there_is_nothing_about_it() -> None:
    report = decide(replace(_GOOD, mesos=None, summary=None))
    assert not {"mesos", "resources"} & report.facts.keys()
    assert _find(report, ConditionType.MESOS_REACHABLE) is None


def test_what_cannot_be_read_keeps_its_last_value() -> None:
    report = decide(replace(_GOOD, counts=None, summary=None, synced_at="", previous=decide(_GOOD).facts))
    assert (report.facts["counts"], report.facts["resources"]) == (decide(_GOOD).facts["counts"], decide(_GOOD).facts["resources"])
    assert report.facts["lastFullSync"] == _GOOD.synced_at


def test_secrets_are_named_once_and_never_shown() -> None:
    one, two = SecretName(namespace="ops", name="a"), SecretName(namespace="ops", name="b")
    settings = ClusterSettings(
        name="x",
        marathon=MarathonSettings(urls=("http://m",), auth=one, tls=TlsSettings(ca=two, client=one)),
        zookeeper=ZooKeeperSettings(hosts=("z:1",), root="/r", auth=two),
    )
    assert settings.secrets == (one, two)
    assert str(one) == "ops/a"
    shown = repr(Login(username="u", password="hush", token="hush")) + repr(TlsMaterial(ca=b"hush", certificate=b"hush", key=b"hush"))
    assert "hush" not in shown
    assert settings.same_connection(replace(settings, unreachable_grace=1.0))
    assert not settings.same_connection(replace(settings, mesos=MesosSettings(masters=("http://mesos",))))


def test_whatever_length_the_words_of_servers_have_the_status_can_be_written() -> None:
    long = "x" * 5000
    info = MarathonInfo(version=long, framework_id=long, leader=long)
    summary = MesosSummary(version=long, leader=long, agents=1, total=_AMOUNTS, used=_AMOUNTS)
    error = PartView(unreachable_for=500.0, error=long)
    report = decide(replace(_GOOD, info=info, summary=summary, zookeeper_version=long, zookeeper=error))
    status = {**report.facts, "conditions": written(report.conditions, generation=1, now="2026-01-01T00:00:00Z")}
    assert [e.message for e in status_validator("mesosclusters").iter_errors(status)] == []
