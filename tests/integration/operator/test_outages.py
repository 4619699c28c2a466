"""Parts beside the operator that are away, come back, or lie: no app is deleted or restarted, no status says what nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tenant import Tenant, answer_of, api_writes, going, leads, lease_holder, marathon_requests, passes, sleeper, web

SILENT = {"events": {"silent": True}}


@pytest.fixture
def steady(unlucky: Tenant) -> Tenant:
    """A user with a running app, once there is a leader."""
    unlucky.until(lambda: lease_holder(unlucky.rest) != "" and leads(unlucky.sandbox, _leader(unlucky)))
    unlucky.run("web", web("1"))
    return unlucky


def _leader(tenant: Tenant) -> str:
    return lease_holder(tenant.rest).replace("-", "=")


def _reads(tenant: Tenant) -> int:
    """How often the leader has asked Marathon for something."""
    return marathon_requests(tenant.sandbox, _leader(tenant)).get("GET", 0)


@contextmanager
def untouched(tenant: Tenant, *, status: bool = True) -> Iterator[None]:
    """Whatever happens meanwhile, the app's tasks stay, nobody deploys, and (with `status`) nothing is said of it."""
    tasks, versions, audited = set(tenant.tasks("web")), tenant.versions("web"), tenant.sandbox.audited()
    yield
    tenant.until(lambda: set(tenant.tasks("web")) == tasks)
    assert tenant.versions("web") == versions
    if status:
        path = f"/namespaces/{tenant.namespace}/paasapps/web"
        assert [write for write in api_writes(tenant.sandbox, audited) if path in write] == []


def test_marathon_killed_and_back_within_the_grace_changes_nothing(steady: Tenant) -> None:
    with untouched(steady):
        steady.sandbox.kill("engine")
        steady.apply("next", sleeper())
        steady.sandbox.start("engine")
        steady.wait("next")
        assert steady.condition("web", "Ready")["status"] == "True"


def test_the_leading_marathon_killed_and_its_standby_is_used(steady: Tenant) -> None:
    urls = steady.sandbox.endpoints.marathon_urls
    leading = urls.index(steady.engine.leader()) + 1
    with untouched(steady):
        steady.sandbox.kill(f"engine={leading}")
        steady.apply("next", sleeper())
        steady.wait("next")
        assert steady.engine.leader() != urls[leading - 1]
        assert steady.condition("web", "Ready")["status"] == "True"
    steady.run("web", web("2"))
    assert steady.answers("web") == ["2", "2"]


def test_marathon_away_for_longer_makes_readiness_unknown_and_nothing_else(steady: Tenant) -> None:
    cluster, tasks = steady.sandbox.kubectl, steady.tasks("web").values()
    cluster("patch", "mesoscluster", "sandbox", "--type=merge", '-p={"spec": {"unreachableGraceSeconds": 1}}')
    try:
        with untouched(steady, status=False):
            steady.sandbox.kill("engine")
            message = steady.until_reason("web", "ClusterUnreachable")
            assert steady.condition("web", "Ready")["status"] == "Unknown"
            assert "the app itself may well be running" in message
            assert [answer_of(task) for task in tasks] == ["1", "1"], "it may, and it does"
            steady.sandbox.start("engine")
            steady.wait("web")
    finally:
        cluster("patch", "mesoscluster", "sandbox", "--type=merge", '-p={"spec": {"unreachableGraceSeconds": null}}')


def test_a_new_leader_of_marathon_does_not_know_health_and_that_is_not_bad_health(steady: Tenant) -> None:
    check = {"protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 30, "intervalSeconds": 8, "timeoutSeconds": 5}
    steady.run("web", web("1", healthChecks=[check]))

    def healthy() -> int:
        return int((steady.engine.app(steady.app_id("web")) or {}).get("tasksHealthy", -1))

    with untouched(steady):
        made = passes(steady.sandbox, _leader(steady))
        steady.engine.change_leader()
        steady.until(lambda: healthy() == 0)
        steady.until(lambda: passes(steady.sandbox, _leader(steady)) > made)
        assert healthy() == 0, "the test is about what is said while health is unknown"
        assert steady.condition("web", "Ready")["status"] == "True"
        steady.until(lambda: healthy() == 2)
        steady.wait("web")


@pytest.mark.parametrize(
    "rule",
    [
        {"path": "^/v2/", "status": 503},
        {"path": "^/v2/apps", "methods": ["GET"], "list": "empty"},
        {"path": "^/v2/apps", "methods": ["GET"], "list": "truncated"},
        {"path": "^/v2/", "methods": ["GET"], "drop": "before", "probability": 0.5},
    ],
    ids=["503", "empty", "truncated", "dropped"],
)
def test_a_marathon_that_answers_nonsense_is_not_believed(steady: Tenant, rule: dict[str, object]) -> None:
    with untouched(steady):
        with steady.engine.faults(http=[rule], events={"drop": True}):
            read, made = _reads(steady), passes(steady.sandbox, _leader(steady))
            steady.kubectl("annotate", "paasapp", "web", "note=look")
            steady.until(lambda: _reads(steady) >= read + 5 and passes(steady.sandbox, _leader(steady)) > made)
        steady.run("next", sleeper())


def test_a_silent_event_stream_holds_no_roll_out_up(steady: Tenant) -> None:
    with steady.engine.faults(**SILENT):
        steady.apply("web", web("2"))
        steady.wait("web")
        assert steady.answers("web") == ["2", "2"]


def test_zookeeper_killed_and_back_changes_nothing_and_what_waited_for_it_goes_on(steady: Tenant) -> None:
    with untouched(steady):
        steady.sandbox.kill("zookeeper")
        steady.apply("next", sleeper())
        steady.sandbox.start("zookeeper")
        steady.wait("next")


def test_the_api_server_killed_and_back_changes_nothing(steady: Tenant, may_be_refused: list[str]) -> None:
    may_be_refused.append("*")  # an API server that has just started knows no Role for a moment, and refuses everybody
    steady.until(lambda: not going(steady.sandbox))  # it knows no custom resources either, and takes a namespace for empty that is not
    with untouched(steady):
        steady.sandbox.kill("apiserver")
        steady.sandbox.start("apiserver")
        steady.apply("next", sleeper())
        steady.wait("next")
