"""Life of tasks: ids, counters, failures, back-off, kills, queue, health."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox_room import Room, agent, labels
from shuren.sandbox.agents.agent import AgentSpec
from shuren.sandbox.definition import apps, changes, pods
from shuren.sandbox.engine.model import Condition
from shuren.sandbox.runners.port import TaskStatus


def http(**fields: Any) -> dict[str, Any]:
    return {"protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 1, "intervalSeconds": 1, "timeoutSeconds": 1, **fields}


def delay(room: Room) -> dict[str, Any]:
    value: dict[str, Any] = room.queue()[0]["delay"]
    return value


async def test_a_task_reads_as_marathon_writes_it(room: Room) -> None:
    await room.settled("/shop/web")
    (task,) = room.tasks("/shop/web")
    assert task["id"].startswith("shop_web.instance-")
    assert task["id"].endswith("._app.1")
    assert list(task) == [
        "appId", "healthCheckResults", "host", "id", "ipAddresses", "ports", "servicePorts", "slaveId", "state", "stagedAt", "startedAt",
        "version", "localVolumes", "role",
    ]  # fmt: skip
    assert task["state"] == "TASK_RUNNING"
    assert 31_000 <= task["ports"][0] <= 32_000
    assert task["servicePorts"] == [10_000]
    assert task["ipAddresses"] == [{"ipAddress": task["host"], "protocol": "IPv4"}]


async def test_a_kill_keeps_the_instance_and_counts_its_launches(room: Room) -> None:
    await room.settled("/a")
    (before,) = room.tasks("/a")
    assert await room.leading.kill_tasks([before["id"]], wipe=False) == [before]
    room.until(lambda: room.tasks("/a")[0]["id"] != before["id"])
    assert room.tasks("/a")[0]["id"] == before["id"].removesuffix("1") + "2"
    assert "/a" not in room.leading.world.failures


async def test_a_kill_passes_locks_and_skips_what_is_unknown(room: Room) -> None:
    await room.settled("/a")
    await room.put("/a", cmd="sleep 2", readinessChecks=[{"portName": "default"}], labels=labels(ready_after=1000))
    room.until(lambda: room.running("/a") == 2)
    first, second = (t["id"] for t in room.tasks("/a"))
    await room.leading.kill_tasks([first, second], wipe=False)
    room.until(lambda: second.removesuffix("1") + "2" in {t["id"] for t in room.tasks("/a")})
    assert first not in {t["id"] for t in room.tasks("/a")}  # of the old configuration: not started again
    assert room.deployments()
    assert await room.leading.kill_tasks(["a.instance-11111111-1111-1111-1111-111111111111._app.1"], wipe=False) == []


async def test_a_wiped_instance_is_replaced_by_another(room: Room) -> None:
    await room.settled("/a")
    (before,) = room.instances("/a")
    room.leading.lifecycle.wipe(before)
    room.until(lambda: room.running("/a") == 1 and before not in room.instances("/a"))
    (after,) = room.instances("/a")
    assert after.id != before.id


async def test_a_failed_task_stays_listed_without_its_ports_until_the_next_launch(room: Room) -> None:
    await room.put("/a", labels=labels(fail_after=1, exit=3), backoffSeconds=30)
    room.advance(5)
    (task,) = room.tasks("/a")
    assert (task["state"], task["ports"]) == ("TASK_FAILED", [])
    assert not {"stagedAt", "startedAt", "version"} & set(task)
    assert room.leading.world.instances.counts("/a") == (0, 0, 0, 0)
    failure = room.leading.world.failures["/a"]
    assert (failure["state"], failure["message"], failure["taskId"]) == ("TASK_FAILED", "Command exited with status 3", task["id"])
    assert failure["slaveId"] == task["slaveId"]


async def test_failures_back_off_by_the_factor_up_to_the_cap_and_a_config_change_starts_afresh(room: Room) -> None:
    fields: dict[str, Any] = {"labels": labels(fail_after=0), "backoffSeconds": 5, "backoffFactor": 2, "maxLaunchDelaySeconds": 15}
    await room.put("/a", **fields)
    seen = []
    for _ in range(4):
        room.until(lambda: bool(room.queue()) and not delay(room)["overdue"])
        seen.append(delay(room)["timeLeftSeconds"])
        room.advance(seen[-1] + 1)
    assert [round(s / 5) for s in seen] == [1, 2, 3, 3]
    room.until(lambda: bool(room.queue()) and not delay(room)["overdue"])
    await room.put("/a", force=True, **fields, instances=2)
    assert any(not item["delay"]["overdue"] for item in room.queue())  # scaling does not clear it
    await room.put("/a", force=True, **{**fields, "labels": {}})
    room.until(lambda: room.running("/a") == 1)


async def test_a_finished_task_is_started_again_with_delay_but_is_no_failure(room: Room) -> None:
    await room.put("/a", labels=labels(finish_after=0), backoffSeconds=9)
    room.advance(3)
    assert room.tasks("/a")[0]["state"] == "TASK_FINISHED"
    assert "/a" not in room.leading.world.failures
    assert delay(room)["overdue"] is False
    room.leading.lifecycle.scheduler.reset(room.instances("/a")[0].definition)
    room.until(lambda: room.tasks("/a")[0]["id"].endswith(".2"), seconds=2)


async def test_the_last_failure_is_forgotten_only_with_the_app(room: Room) -> None:
    await room.put("/a", labels=labels(fail_after=0))
    room.advance(3)
    await room.put("/a", force=True)
    room.until(lambda: room.running("/a") == 1)
    assert "/a" in room.leading.world.failures
    await room.delete("/a")
    room.until(lambda: not room.deployments())
    assert "/a" not in room.leading.world.failures


async def test_the_queue_lists_all_reasons_as_a_funnel(room: Room) -> None:
    await room.put("/a", cpus=99, instances=3)
    room.advance(1)
    (item,) = room.queue()
    assert (item["count"], item["role"], item["delay"]) == (3, "*", {"timeLeftSeconds": 0, "overdue": True})
    assert item["app"]["id"] == "/a"
    rows = item["processedOffersSummary"]["rejectSummaryLastOffers"]
    assert [r["reason"] for r in rows] == [
        "UnfulfilledRole", "UnfulfilledConstraint", "NoCorrespondingReservationFound", "AgentMaintenance", "InsufficientCpus",
        "InsufficientMemory", "InsufficientDisk", "InsufficientGpus", "InsufficientPorts", "DeclinedScarceResources",
    ]  # fmt: skip
    assert [(r["declined"], r["processed"]) for r in rows] == [(0, 2)] * 4 + [(2, 2)] + [(0, 0)] * 5
    assert [o["reason"] for o in item["lastUnusedOffers"]] == [["InsufficientCpus"]] * 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mem": 1e9}, "InsufficientMemory"),
        ({"disk": 1e9}, "InsufficientDisk"),
        ({"constraints": [["rack", "IS", "r9"]]}, "UnfulfilledConstraint"),
        ({"portDefinitions": [{"port": 80}], "requirePorts": True}, "InsufficientPorts"),
    ],
)
async def test_why_nothing_is_launched(room: Room, fields: dict[str, Any], reason: str) -> None:
    await room.put("/a", **fields)
    room.advance(1)
    (item,) = room.queue()
    declined = {r["reason"] for r in item["processedOffersSummary"]["rejectSummaryLastOffers"] if r["declined"]}
    assert declined == {reason}


async def test_roles_maintenance_and_scarce_hosts(tmp_path: Path) -> None:
    room = Room(tmp_path, agents=[agent("127.0.0.2", role="kafka"), agent("127.0.0.3", gpus=2), agent("127.0.0.4")])
    third = room.leading.world.agents.get("127.0.0.4")
    assert third is not None
    third.maintenance = True
    await room.put("/a")
    room.advance(1)
    rows = room.queue()[0]["processedOffersSummary"]["rejectSummaryLastOffers"]
    assert {r["reason"] for r in rows if r["declined"]} == {"UnfulfilledRole", "DeclinedScarceResources", "AgentMaintenance"}
    third.maintenance = False
    room.leading.world.agents.version += 1
    room.until(lambda: room.running("/a") == 1)
    await room.close()


async def test_tasks_spread_and_share_no_port(tmp_path: Path) -> None:
    room = Room(tmp_path, agents=[agent("127.0.0.2", ports="31000-31004"), agent("127.0.0.3", ports="31000-31004")])
    await room.put("/a", instances=12)
    room.until(lambda: room.running("/a") == 10)
    used = [(t["host"], t["ports"][0]) for t in room.tasks("/a")]
    assert len(set(used)) == 10
    await room.settled("/a", instances=2, force=True)
    assert sum(len(a.used_ports) for a in room.leading.world.agents) == 2
    await room.close()


async def test_the_status_event_comes_before_the_change_of_the_instance(room: Room) -> None:
    await room.settled("/a")
    events = room.events()
    order = [
        e.get("taskStatus") or e.get("condition") for e in events if e["eventType"] in {"status_update_event", "instance_changed_event"}
    ]
    assert order == ["Scheduled", "Provisioned", "TASK_STARTING", "Starting", "TASK_RUNNING", "Running"]


async def test_a_pod_runs_when_all_its_containers_do_and_ends_with_the_first(room: Room) -> None:
    container = {"exec": {"command": {"shell": "sleep 9"}}, "resources": {"cpus": 0.1, "mem": 32}}
    raw = pods.from_request({"id": "/p", "containers": [{"name": name, **container} for name in ("one", "two")]})
    definition = pods.define(raw, apps.place(room.leading.world.root, "/p", room.settings), version="")
    await room.leading.update(changes.create_pod(definition, room.settings))
    room.until(lambda: not room.deployments())
    (instance,) = room.instances("/p")
    assert sorted(instance.parts) == ["one", "two"]
    room.leading.lifecycle.report(TaskStatus(task_id=instance.task_ids()[0], state="TASK_FAILED", message="boom"))
    room.until(lambda: instance.attempt == 2 and instance.condition is Condition.RUNNING)
    pod = room.leading.world.definition("/p")
    assert pod is not None
    status = room.leading.pod_status(pod)
    assert status["status"] == "STABLE"


async def test_a_task_that_never_gets_up_is_killed_and_started_again(room: Room) -> None:
    await room.put("/a", labels=labels(start=100_000))
    room.until(lambda: room.instances("/a")[0].attempt == 2, seconds=400)
    assert room.deployments()


async def test_tasks_in_rest_cost_no_timers(room: Room) -> None:
    check = http(protocol="MESOS_HTTP", delaySeconds=0)
    await room.settled("/a", instances=150, cpus=0.01, mem=1, healthChecks=[check])
    room.advance(1000)
    assert len(room.clock._heap._entries) < 20


async def test_thousands_of_tasks_start_run_and_end(tmp_path: Path) -> None:
    """As many as fit into a test. `make bench` has 50,000, and what each costs."""
    hosts = [AgentSpec.parse({"hostname": f"127.0.1.{n + 1}", "cpus": 100, "mem": 100_000}) for n in range(20)]
    crowd = Room(tmp_path, agents=hosts)
    try:
        for number in range(4):
            await crowd.put(f"/g/a{number}", instances=1000, cpus=0.1, mem=1, portDefinitions=[])
        crowd.until(lambda: not crowd.deployments(), seconds=600)
        assert crowd.leading.world.instances.totals == [0, 4000, 0, 0]
        assert {len(crowd.leading.world.instances.on_agent(a.id)) for a in crowd.leading.world.agents} <= set(range(1001))
        for number in range(4):
            await crowd.delete(f"/g/a{number}")
        crowd.until(lambda: not crowd.deployments(), seconds=600)
        assert len(crowd.leading.world.instances) == 0
        assert all(agent.used.cpus == pytest.approx(0) for agent in crowd.leading.world.agents)
    finally:
        await crowd.close()
