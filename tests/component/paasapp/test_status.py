"""What the status tells: conditions as kstatus reads them, why an app waits, advice; and that it does not flicker."""

from __future__ import annotations

from typing import Any

import pytest

from paasapp_scenarios import broken
from paasapp_world import World
from shuren.api.v1alpha1.paasapp_status import PaasAppStatus
from shuren.domain.app.snapshot import Problem
from shuren.ports.kubernetes import PAAS_APPS


def kstatus(item: dict[str, Any]) -> str:
    """The rules of cli-utils' kstatus for a kind that it does not know, in its order."""
    if "deletionTimestamp" in item["metadata"]:
        return "Terminating"
    status = item.get("status") or {}
    if "observedGeneration" in status and status["observedGeneration"] != item["metadata"]["generation"]:
        return "InProgress"
    found = {c["type"]: c["status"] for c in status.get("conditions", ())}
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return {"True": "Current", None: "Current"}.get(found.get("Ready"), "InProgress")


async def test_kstatus_sees_progress_from_the_first_pass_to_the_end() -> None:
    world = World()
    world.apply(instances=2)
    seen = []
    for _ in range(12):
        await world.round()
        world.clock.shift(1.0)
        item = world.resource()
        assert item is not None
        seen.append(kstatus(item))
    assert set(seen[:-6]) >= {"InProgress"}
    assert seen[-1] == "Current"
    assert seen == sorted(seen, key=["InProgress", "Current"].index), "never back and forth"


async def test_kstatus_sees_failure_and_healing() -> None:
    world = World()
    world.marathon.behave = broken
    world.apply(cmd="stuck 1", rollout={"deadlineSeconds": 30})
    await world.settle()
    item = world.resource()
    assert item is not None
    assert kstatus(item) == "Failed"
    world.apply(cmd="sleep 1")
    item = world.resource()
    assert item is not None
    assert kstatus(item) == "InProgress", "a new generation has not been observed yet"
    await world.settle()
    item = world.resource()
    assert item is not None
    assert kstatus(item) == "Current"


async def test_counts_id_version_and_deployment_are_told() -> None:
    world = World()
    world.apply(instances=3)
    await world.round()
    await world.round(tick=False)
    status = world.status()
    assert status["counts"] == {"desired": 3, "staged": 3, "running": 0, "healthy": 0, "unhealthy": 0, "updated": 0}
    assert status["ready"] == "0/3"
    assert status["marathon"]["id"] == "/shop/web"
    assert status["marathon"]["deployment"]["totalSteps"] == 2
    assert status["marathon"]["deployment"]["deadline"] == "2026-01-01T00:10:00Z"
    assert status["cluster"] == "bj1"
    await world.settle()
    assert world.status()["ready"] == "3/3"
    assert "deployment" not in world.status()["marathon"]
    PaasAppStatus.model_validate(world.status())


async def test_the_selector_of_scale_finds_nothing_but_our_own() -> None:
    world = World()
    world.apply()
    await world.settle()
    item = world.resource()
    assert item is not None
    assert world.status()["selector"] == f"paas.shurenyun.com/app-uid={item['metadata']['uid']}"


@pytest.mark.parametrize(("behaviour", "reason"), [("unplaced", "InsufficientCpus"), ("fails", "Backoff")])
async def test_why_it_waits_is_told(behaviour: str, reason: str) -> None:
    world = World()
    world.marathon.behave = broken
    world.apply(cmd=f"{behaviour} 1", backoffSeconds=100)
    for _ in range(4):
        await world.round()
    waiting = world.status()["waiting"]
    assert waiting["reason"] == reason
    assert ("backoffUntil" in waiting) == (reason == "Backoff")


async def test_a_countdown_does_not_write_the_status_again_and_again() -> None:
    world = World()
    world.marathon.behave = broken
    world.apply(cmd="fails 1", backoffSeconds=200)
    for _ in range(6):
        await world.round()
    before = world.writes
    for _ in range(20):
        world.clock.shift(5.0)
        await world.round(everything=True)
    assert world.writes == before


async def test_a_failure_of_an_older_configuration_is_not_shown() -> None:
    world = World()
    world.marathon.behave = broken
    world.apply(cmd="fails 1")
    for _ in range(5):
        await world.round()
        world.clock.shift(0.2)
    assert world.status()["lastTaskFailure"]["message"] == "Command exited with status 1"
    world.apply(cmd="sleep 1")
    await world.settle()
    assert "lastTaskFailure" not in world.status()


async def test_advice_is_a_condition_and_a_warning_and_stops_nothing() -> None:
    world = World()
    world.adviser = lambda definition, cluster: (
        (Problem(reason="TooFewAgents", message=f"UNIQUE with {definition['instances']} instances on {cluster.agents} agents"),)
        if cluster.agents is not None
        else ()
    )
    world.site.agents = 1
    world.apply(instances=2, version="2020-01-01T00:00:00.000Z")
    await world.settle()
    assert world.conditions()["Advice"] == ("True", "TooFewAgents")
    assert world.conditions()["Ready"][0] == "True"
    assert world.status()["warnings"] == [
        "UNIQUE with 2 instances on 1 agents",
        "ignored, since Marathon alone writes them: version",
    ]


async def test_a_spec_that_the_models_refuse_is_stalled_with_the_field_and_what_runs_stays() -> None:
    world = World()
    world.apply()
    await world.settle()
    calls = len(world.marathon.calls)
    world.apply(healthChecks=[{"protocol": "COMMAND"}])
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "InvalidSpec")
    assert "spec.healthChecks[0]" in world.message()
    assert len(world.marathon.calls) == calls
    world.delete()
    await world.settle()
    assert world.resource() is None, "a broken spec can be deleted"


async def test_a_broken_management_block_deletes_nothing_in_marathon() -> None:
    world = World()
    world.apply()
    await world.settle()
    world.apply(management={"deletion": "Destroy"})
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "InvalidSpec")
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert "/shop/web" in world.marathon.definitions


async def test_a_status_of_another_release_is_replaced() -> None:
    world = World()
    world.apply()
    await world.settle()
    await world.kubernetes.apply_status(
        PAAS_APPS, "shop", "web", {"phase": 7, "conditions": "?", "revision": [], "marathon": 3}, manager="x"
    )
    await world.settle()
    assert world.ready()
    assert "phase" not in world.status()


async def test_people_hear_of_transitions_once() -> None:
    world = World()
    world.marathon.behave = broken
    world.apply()
    await world.settle()
    world.apply(cmd="unplaced 1", rollout={"deadlineSeconds": 30})
    await world.settle()
    await world.assert_quiet()
    assert [reason for reason, _ in world.recorder.events] == ["Creating", "Ready", "Updating", "RollingBack", "RolledBack"]


async def test_each_change_outside_is_counted_by_what_it_was() -> None:
    world = World()
    world.apply(instances=2)
    await world.settle()
    world.apply(instances=2, cmd="sleep 2000")
    await world.settle()
    world.apply(instances=1, cmd="sleep 2000")
    await world.settle()
    world.delete()
    await world.settle()
    assert world.changes == ["create", "update", "scale", "delete"]
