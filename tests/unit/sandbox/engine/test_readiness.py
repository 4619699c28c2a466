"""Readiness checks: what a deployment waits for, what it shows of them, and what an app shows of them."""

from __future__ import annotations

from typing import Any

from live_wire import Live

Json = dict[str, Any]
CHECK: Json = {
    "name": "ready",
    "portName": "http",
    "path": "/ready",
    "intervalSeconds": 2,
    "timeoutSeconds": 1,
    "preserveLastResponse": True,
}
APP: Json = {"portDefinitions": [{"port": 0, "name": "http"}], "readinessChecks": [CHECK], "labels": {"SIM_READY_AFTER": "7"}}


async def results(live: Live) -> list[Json]:
    (deployment,) = await live.get("/v2/deployments")
    found: list[Json] = deployment["currentActions"][0]["readinessCheckResults"]
    return found


async def test_a_deployment_waits_and_shows_the_last_answer(live: Live) -> None:
    await live.put("/a", **APP)
    live.advance(3)
    (task,) = await live.tasks("/a")
    (result,) = await results(live)
    assert result == {
        "name": "ready", "taskId": task["id"], "ready": False,
        "lastResponse": {"status": 503, "contentType": "text/plain", "body": "not ready"},
    }  # fmt: skip
    assert (await live.app("/a", "?embed=app.readiness"))["readinessCheckResults"] == [result]
    assert "readinessCheckResults" not in await live.app("/a")
    live.settle()
    assert await live.get("/v2/deployments") == []
    assert (await live.app("/a", "?embed=app.readiness"))["readinessCheckResults"] == [], "they belong to the deployment"


async def test_the_answer_is_kept_only_on_request(live: Live) -> None:
    await live.put("/a", **(APP | {"readinessChecks": [CHECK | {"preserveLastResponse": False}]}))
    live.advance(3)
    (result,) = await results(live)
    assert set(result) == {"name", "taskId", "ready"}


async def test_other_codes_may_mean_ready(live: Live) -> None:
    await live.put("/a", **(APP | {"readinessChecks": [CHECK | {"httpStatusCodesForReady": [503]}]}))
    live.advance(3)
    assert await live.get("/v2/deployments") == []


async def test_a_rolling_restart_replaces_an_old_task_only_for_a_ready_one(live: Live) -> None:
    strategy = {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5}
    await live.settled("/a", instances=2, upgradeStrategy=strategy, **APP)
    old = {task["id"] for task in await live.tasks("/a")}
    await live.put("/a", instances=2, upgradeStrategy=strategy, cmd="sleep 9", **APP)
    live.advance(5)
    tasks = {task["id"] for task in await live.tasks("/a")}
    assert len(tasks) == 3
    assert old < tasks, "the new one runs, but is not ready yet"
    live.settle()
    assert not old & {task["id"] for task in await live.tasks("/a")}


async def test_health_and_readiness_are_both_waited_for(live: Live) -> None:
    check = {"protocol": "HTTP", "portIndex": 0, "intervalSeconds": 1, "gracePeriodSeconds": 60}
    await live.put("/a", healthChecks=[check], **(APP | {"labels": {"SIM_READY_AFTER": "3", "SIM_HEALTHY_AFTER": "9"}}))
    live.advance(7)
    assert (await results(live))[0]["ready"] is True
    live.settle()
    assert (await live.app("/a"))["tasksHealthy"] == 1


async def test_a_task_that_is_started_again_is_asked_again(live: Live) -> None:
    await live.put("/a", **APP)
    live.advance(3)
    (first,) = await results(live)
    await live.send("DELETE", f"/v2/apps/a/tasks/{first['taskId']}")
    live.advance(3)
    (second,) = await results(live)
    assert second["taskId"] == first["taskId"].removesuffix("1") + "2"
