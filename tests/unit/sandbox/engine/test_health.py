"""Health checks as Marathon (HTTP, HTTPS, TCP) and Mesos (COMMAND, MESOS_*) judge them."""

from __future__ import annotations

from typing import Any

import pytest

from live_wire import Live
from sandbox_room import Room, labels
from shuren.sandbox.engine.model import Condition, Instance

Json = dict[str, Any]


def http(**fields: Any) -> Json:
    check = {"protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 0, "intervalSeconds": 1, "timeoutSeconds": 1}
    return {**check, "maxConsecutiveFailures": 3, **fields}


def mesos(**fields: Any) -> Json:
    return http(protocol="MESOS_HTTP", delaySeconds=0, **fields)


def counts(room: Room) -> Json:
    return dict(zip(("staged", "running", "healthy", "unhealthy"), room.leading.world.instances.counts("/a"), strict=True))


def results(room: Room) -> list[Json]:
    (task,) = room.tasks("/a")
    found: list[Json] = task["healthCheckResults"]
    return found


def only(room: Room) -> Instance:
    (instance,) = room.instances("/a")
    return instance


def health_events(room: Room) -> list[str]:
    return [e["eventType"] for e in room.events() if "health" in e["eventType"]]


async def test_marathon_heals_breaks_and_kills(room: Room) -> None:
    await room.put("/a", healthChecks=[http()], labels=labels(unhealthy_after=5.5), backoffSeconds=60)
    room.until(lambda: counts(room)["healthy"] == 1)
    (result,) = results(room)
    assert set(result) == {"alive", "consecutiveFailures", "firstSuccess", "lastSuccess", "instanceId"}
    assert (result["alive"], result["consecutiveFailures"], result["instanceId"]) == (True, 0, f"instance [{only(room).id}]")
    assert health_events(room) == ["add_health_check_event", "health_status_changed_event", "instance_health_changed_event"]
    room.until(lambda: counts(room)["unhealthy"] == 1)
    (result,) = results(room)
    assert (result["alive"], result["consecutiveFailures"], result["lastFailureCause"]) == (False, 1, "503 Service Unavailable")
    room.until(lambda: only(room).killing is not None)
    assert results(room)[0]["consecutiveFailures"] == 4, "three failures are allowed, the fourth kills"
    assert health_events(room) == [
        "failed_health_check_event", "health_status_changed_event", "instance_health_changed_event",
        "failed_health_check_event", "failed_health_check_event",
        "failed_health_check_event", "unhealthy_instance_kill_event",
    ]  # fmt: skip
    failure = room.leading.world.failures["/a"]
    assert failure["message"] == "Task was killed since health check failed. Reason: 503 Service Unavailable"
    assert (failure["state"], failure["taskId"]) == ("TASK_FAILED", only(room).task_id)
    room.until(lambda: only(room).condition is Condition.SCHEDULED)
    assert only(room).state == "TASK_KILLED"


async def test_each_further_failure_of_a_dying_task_is_told(room: Room) -> None:
    check = http(maxConsecutiveFailures=1)
    await room.put("/a", healthChecks=[check], labels=labels(healthy_after=1000, stop=3.5), taskKillGracePeriodSeconds=10)
    room.until(lambda: only(room).killing is not None)
    room.until(lambda: only(room).condition is Condition.SCHEDULED)
    assert health_events(room).count("unhealthy_instance_kill_event") == 4


@pytest.mark.parametrize(("limit", "allowed"), [(1, 1), (3, 3)])
async def test_mesos_counts_the_failure_at_hand(room: Room, limit: int, allowed: int) -> None:
    await room.put("/a", healthChecks=[mesos(maxConsecutiveFailures=limit)], labels=labels(healthy_after=1000, stop=0.5))
    room.until(lambda: only(room).killing is not None)
    assert results(room)[0]["consecutiveFailures"] == allowed
    assert health_events(room) == ["add_health_check_event", "instance_health_changed_event"], "what agents check makes no other events"
    assert "/a" not in room.leading.world.failures, "Mesos kills it, and a kill is no failure"


async def test_zero_failures_allowed_means_never_for_marathon_and_at_once_for_mesos(room: Room) -> None:
    sick = labels(healthy_after=10_000)
    await room.put("/marathon", healthChecks=[http(maxConsecutiveFailures=0)], labels=sick)
    await room.put("/mesos", healthChecks=[mesos(maxConsecutiveFailures=0)], labels=sick)
    room.advance(30)
    assert room.instances("/marathon")[0].attempt == 1
    assert room.instances("/mesos")[0].attempt > 1


async def test_failures_within_the_grace_period_do_not_count_but_show(room: Room) -> None:
    await room.put("/a", healthChecks=[http(gracePeriodSeconds=20, maxConsecutiveFailures=1)], labels=labels(healthy_after=15))
    room.advance(12)
    (result,) = results(room)
    assert result == {"alive": False, "consecutiveFailures": 0, "instanceId": f"instance [{only(room).id}]"}
    assert counts(room) == {"staged": 0, "running": 1, "healthy": 0, "unhealthy": 1}
    assert "failed_health_check_event" not in health_events(room)
    room.until(lambda: not room.deployments(), seconds=10)
    assert only(room).attempt == 1
    assert counts(room)["healthy"] == 1


async def test_mesos_tells_nothing_of_the_grace_period(room: Room) -> None:
    await room.put("/a", healthChecks=[mesos(gracePeriodSeconds=20)], labels=labels(healthy_after=15))
    room.advance(12)
    assert results(room) == []
    assert counts(room) == {"staged": 0, "running": 1, "healthy": 0, "unhealthy": 0}


async def test_the_first_probe_comes_after_the_interval_or_five_seconds(room: Room) -> None:
    await room.put("/a", healthChecks=[http(intervalSeconds=60)])
    room.until(lambda: counts(room)["running"] == 1)
    started = room.clock.now()
    room.until(lambda: counts(room)["healthy"] == 1)
    assert room.clock.now() - started == pytest.approx(5, abs=0.01)


async def test_all_checks_of_a_task_must_pass(room: Room) -> None:
    slow = mesos() | {"delaySeconds": 10}
    await room.put("/a", healthChecks=[http(), slow])
    room.until(lambda: counts(room)["healthy"] == 1)
    assert len(results(room)) == 1, "one that has given no result yet does not count for the counters"
    assert room.deployments(), "but it does for the instance as a whole"
    room.until(lambda: not room.deployments())
    assert len(results(room)) == 2


async def test_a_task_nobody_can_reach_is_not_killed_for_its_health(room: Room) -> None:
    await room.settled("/a", healthChecks=[http(maxConsecutiveFailures=1)], unreachableStrategy="disabled")
    agent = room.leading.world.agents.get(only(room).agent_id)
    assert agent is not None
    room.leading.reachability.partition(agent)
    room.advance(100)
    assert (only(room).attempt, only(room).killing) == (1, None)


async def test_health_is_unknown_after_a_change_of_leader(room: Room) -> None:
    await room.settled("/a", healthChecks=[http()])
    await room.restart()
    assert results(room) == []
    assert counts(room) == {"staged": 0, "running": 1, "healthy": 0, "unhealthy": 0}
    room.until(lambda: counts(room)["healthy"] == 1)


async def test_what_was_healthy_once_counts_for_the_deployment(live: Live) -> None:
    """A deployment waits for instances to become healthy, not to stay so."""
    sick = {"SIM_HEALTHY_AFTER": "0", "SIM_UNHEALTHY_AFTER": "8"}
    check = http(maxConsecutiveFailures=0)
    await live.put("/a", instances=1, healthChecks=[check], labels=sick, constraints=[["hostname", "UNIQUE"]])
    live.settle()
    await live.put("/a", query="?partialUpdate=true", instances=2)
    live.advance(4)
    assert (await live.app("/a"))["deployments"] == []


async def test_add_and_remove_events_follow_the_definition(room: Room) -> None:
    await room.settled("/a", healthChecks=[http(), mesos()])
    assert health_events(room).count("add_health_check_event") == 2
    await room.settled("/a", healthChecks=[http()], cmd="sleep 9")
    events = room.events()
    assert [e["appId"] for e in events if e["eventType"] == "remove_health_check_event"] == ["/a", "/a"]
    (added,) = [e for e in events if e["eventType"] == "add_health_check_event"]
    assert (added["appId"], added["healthCheck"]["protocol"]) == ("/a", "HTTP")
    await room.delete("/a")
    assert [e for e in room.events() if e["eventType"] == "remove_health_check_event"]
