"""One operator that is killed, or away while the world moves on: what it left half done is finished, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shuren.devenv.background import Sandbox
from tenant import Tenant, api_writes, broken, leads, looking, passes, sleeper, until_quiet, web, writes_below


@pytest.fixture(scope="module", autouse=True)
def _alone(breakable: Sandbox) -> Iterator[None]:
    """These tests are about one operator: the other one is away."""
    breakable.stop("operator=2")
    yield
    breakable.start("operator=2")


@pytest.fixture
def only(unlucky: Tenant) -> Tenant:
    """A user, once the only operator leads."""
    _leading(unlucky)
    return unlucky


def _leading(tenant: Tenant) -> None:
    tenant.until(lambda: leads(tenant.sandbox, "operator=1"))


def test_killed_in_the_middle_of_a_roll_out_it_goes_on_with_it_and_restarts_nothing(only: Tenant) -> None:
    only.run("web", web("1"))
    with looking(lambda: set(only.tasks("web"))) as tasks:
        only.apply("web", web("2"))
        only.until(lambda: len(only.versions("web")) == 2)

        only.sandbox.kill("operator=1")
        only.sandbox.start("operator=1")

        only.wait("web")
    assert only.answers("web") == ["2", "2"]
    assert len(only.versions("web")) == 2, "nothing was written twice"
    assert len(set().union(*tasks)) == 4, "two of each version"
    assert {r["metadata"]["annotations"]["paas.shurenyun.com/state"] for r in only.revisions("web")} == {"Good"}


def test_killed_while_a_broken_version_is_tried_it_still_takes_it_back(only: Tenant) -> None:
    rollout = {"deadlineSeconds": 5}
    only.run("web", web("1", rollout=rollout))
    only.apply("web", broken("2", rollout=rollout))
    only.until(lambda: only.reason("web") == "RollingOut", about="web")

    only.sandbox.kill("operator=1")
    only.sandbox.start("operator=1")

    only.until_reason("web", "RolledBack", "Stalled")
    assert only.answers("web") == ["1", "1"]


def test_what_happened_while_it_was_away_is_brought_about(only: Tenant) -> None:
    for name in ("edited", "deleted", "scaled", "drifted", "lost"):
        only.apply(name, sleeper())
    for name in ("edited", "deleted", "scaled", "drifted", "lost"):
        only.wait(name)
    only.sandbox.stop("operator=1")

    only.apply("edited", sleeper(cmd="exec sleep 7777"))
    only.kubectl("delete", "paasapp", "deleted", "--wait=false")
    only.kubectl("scale", "paasapp/scaled", "--replicas=3")
    only.apply("new", sleeper())
    only.engine.ask("PATCH", f"/v2/apps/{only.app_id('drifted')}", {"cmd": "exec sleep 4444"})
    only.engine.ask("DELETE", f"/v2/apps/{only.app_id('lost')}")
    only.sandbox.start("operator=1")

    only.until(lambda: only.app("deleted") == {})
    only.until(lambda: len(only.tasks("scaled")) == 3, about="scaled")
    only.until(lambda: (only.engine.app(only.app_id("drifted")) or {}).get("cmd") == "exec sleep 86400", about="drifted")
    only.until(lambda: len(only.tasks("lost")) == 1, about="lost")
    for name in ("edited", "scaled", "drifted", "lost", "new"):
        only.wait(name)
    assert only.engine.app(only.app_id("deleted")) is None
    assert (only.engine.app(only.app_id("edited")) or {})["cmd"] == "exec sleep 7777"
    assert set(only.claims()) == {only.app_id(name) for name in ("edited", "scaled", "drifted", "lost", "new")}


def test_a_restart_in_an_unchanged_world_writes_nothing(only: Tenant) -> None:
    sandbox = only.sandbox
    only.run("web", web("1"))
    only.run("stopped", sleeper(instances=0))
    only.apply("waiting", sleeper(cpus=1000))
    only.until(lambda: only.status("waiting").get("waiting", {}).get("reason") == "InsufficientCpus", about="waiting")
    before = {name: only.status(name) for name in ("web", "stopped", "waiting")}
    until_quiet(sandbox)
    nodes, deployments, audited = writes_below(sandbox), only.engine.counter("deployments"), sandbox.audited()

    sandbox.kill("operator=1")
    sandbox.start("operator=1")

    _leading(only)
    made = passes(sandbox)
    only.kubectl("annotate", "paasapps", "--all", "note=looked-at")
    only.until(lambda: passes(sandbox) >= made + len(before))
    until_quiet(sandbox)
    assert api_writes(sandbox, audited) == []
    assert only.engine.counter("deployments") == deployments
    assert writes_below(sandbox) == nodes
    assert {name: only.status(name) for name in before} == before


def test_deleted_with_its_namespace_while_it_was_away(only: Tenant) -> None:
    only.run("web", sleeper())
    only.sandbox.kill("operator=1")
    only.sandbox.kubectl("delete", "namespace", only.namespace, "--wait=false")
    assert len(only.tasks("web")) == 1
    only.sandbox.start("operator=1")

    only.until(lambda: only.rest.call("GET", f"/api/v1/namespaces/{only.namespace}").status == 404)
    assert only.engine.app(only.app_id("web")) is None
    assert only.claims() == {}
