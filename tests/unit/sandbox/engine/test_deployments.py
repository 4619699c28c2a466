"""Deployments: steps, locks, force, cancellation, rollback, limits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from live_wire import Live
from sandbox_room import Room, labels
from shuren.sandbox.contract import Group, Locked, Settings, Started, TooManyDeployments
from shuren.sandbox.definition import apps, changes, groups, pods
from shuren.sandbox.definition.errors import ApiError
from shuren.sandbox.engine import scheduler
from shuren.sandbox.engine.deployments import CANCELLED
from shuren.sandbox.engine.model import Condition

NOWHERE = [["hostname", "LIKE", "nowhere"]]


def actions(deployment: dict[str, object]) -> list[list[str]]:
    steps = deployment["steps"]
    assert isinstance(steps, list)
    return [[a["action"] + " " + (a.get("app") or a["pod"]) for a in s["actions"]] for s in steps]


async def test_create_is_start_then_scale_and_holds_the_app_until_it_runs(room: Room) -> None:
    started = await room.put("/a", instances=2)
    (deployment,) = room.deployments()
    assert deployment["id"] == started.deployment_id
    assert actions(deployment) == [["StartApplication /a"], ["ScaleApplication /a"]]
    assert (deployment["currentStep"], deployment["totalSteps"]) == (2, 2)
    assert deployment["currentActions"] == [{"action": "ScaleApplication", "app": "/a", "readinessCheckResults": []}]
    room.until(lambda: not room.deployments())
    assert room.running("/a") == 2


async def test_of_an_app_of_two_billion_so_many_wait_as_the_engine_can_hold(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MAX_WAITING", 5)
    await room.put("/a", constraints=NOWHERE, instances=2**31 - 1)
    room.advance(60)
    assert len(room.leading.world.instances.of("/a")) == 5
    await room.put("/a", constraints=NOWHERE, instances=3, force=True)
    room.advance(60)
    assert len(room.leading.world.instances.of("/a")) == 3
    await room.put("/a", instances=7, force=True)
    room.until(lambda: not room.deployments())
    assert room.running("/a") == 7


async def test_an_app_of_no_instances_is_deployed_within_the_moment(room: Room) -> None:
    await room.put("/a", instances=0)
    room.advance(0)
    assert room.deployments() == []
    assert room.event_names() == [
        "event_stream_attached", "scheduler_registered_event", "deployment_info", "deployment_step_success", "deployment_info",
        "deployment_step_success", "group_change_success", "deployment_success",
    ]  # fmt: skip


async def test_a_held_app_refuses_changes_and_says_who_holds_it(room: Room) -> None:
    started = await room.put("/a", constraints=NOWHERE)
    room.events()
    with pytest.raises(Locked) as refused:
        await room.put("/a", constraints=NOWHERE, instances=3)
    assert refused.value.deployment_ids == (started.deployment_id,)
    failed = [e for e in room.events() if e["eventType"].endswith("failed")]
    assert [e["eventType"] for e in failed] == ["group_change_failed", "deployment_failed"]
    assert failed[1]["id"] != started.deployment_id
    assert failed[0]["reason"] == failed[1]["reason"] == str(refused.value)
    assert str(refused.value).endswith("View details at '/v2/deployments/<DEPLOYMENT_ID>'.")


async def test_a_refused_change_leaves_its_version_in_the_history(room: Room) -> None:
    await room.put("/a", constraints=NOWHERE)
    with pytest.raises(Locked):
        await room.put("/a", constraints=NOWHERE, instances=3)
    assert len(room.leading.store.definitions["/a"]) == 2


async def test_force_cancels_the_holder_and_goes_ahead(room: Room) -> None:
    first = await room.put("/a", constraints=NOWHERE)
    room.events()
    second = await room.put("/a", force=True, instances=1, cmd="sleep 5")
    events = room.events()
    assert events[0]["eventType"] == "deployment_failed"
    assert (events[0]["id"], events[0]["reason"]) == (first.deployment_id, CANCELLED)
    assert [d["id"] for d in room.deployments()] == [second.deployment_id]
    room.until(lambda: not room.deployments())
    assert room.running("/a") == 1


async def test_other_apps_are_not_held(room: Room) -> None:
    await room.put("/a", constraints=NOWHERE)
    await room.put("/b")
    room.until(lambda: room.running("/b") == 1)
    assert [d["affectedApps"] for d in room.deployments()] == [["/a"]]


async def test_an_array_is_one_deployment_that_holds_all_until_the_slowest_is_done(room: Room) -> None:
    wholes = [
        ("/a", apps.replacement({"cmd": "sleep 9", "cpus": 0.1, "mem": 8}, "/a")),
        ("/b", apps.replacement({"cmd": "sleep 9", "cpus": 0.1, "mem": 8, "constraints": NOWHERE}, "/b")),
    ]
    await room.leading.update(changes.replace_apps(wholes, room.settings))
    room.until(lambda: room.running("/a") == 1)
    assert [sorted(d["affectedApps"]) for d in room.deployments()] == [["/a", "/b"]]
    with pytest.raises(Locked):
        await room.put("/a", cmd="sleep 8")


async def test_cancel_leaves_things_as_they_are(room: Room) -> None:
    started = await room.put("/a", constraints=NOWHERE)
    room.leading.deployments.cancel(started.deployment_id)
    assert room.deployments() == []
    assert [i.condition for i in room.instances("/a")] == [Condition.SCHEDULED]
    assert room.leading.world.definition("/a") is not None


async def test_rollback_of_a_create_removes_the_app_and_its_new_group(room: Room) -> None:
    before = room.leading.world.root.version
    started = await room.put("/g/a", constraints=NOWHERE)
    back = await room.leading.roll_back(started.deployment_id)
    room.until(lambda: not room.deployments())
    assert room.leading.world.definition("/g/a") is None
    assert "/g" not in room.leading.world.root.groups
    assert not room.instances("/g/a")
    assert back.version == before


async def test_rollback_of_an_update_restores_the_definition_as_a_new_version(room: Room) -> None:
    await room.settled("/a", cmd="sleep 1")
    started = await room.put("/a", cmd="sleep 2", constraints=NOWHERE)
    await room.leading.roll_back(started.deployment_id)
    room.until(lambda: not room.deployments())
    definition = room.leading.world.definition("/a")
    assert definition is not None
    assert definition["cmd"] == "sleep 1"
    assert room.running("/a") == 1
    with pytest.raises(KeyError):
        await room.leading.roll_back(started.deployment_id)


async def test_a_change_of_nothing_is_a_success_without_steps(room: Room) -> None:
    await room.settled("/a")
    room.events()
    started = await room.put("/a")
    room.advance(0)
    success = [e for e in room.events() if e["eventType"] == "deployment_success"]
    assert [(e["id"], e["plan"]["steps"]) for e in success] == [(started.deployment_id, [])]


async def test_scale_keeps_the_tasks_and_a_configuration_change_replaces_them(room: Room) -> None:
    await room.settled("/a", instances=2)
    first = {t["id"] for t in room.tasks("/a")}
    await room.settled("/a", instances=3)
    assert first < {t["id"] for t in room.tasks("/a")}
    await room.settled("/a", instances=3, labels={"x": "y"})
    assert not first & {t["id"] for t in room.tasks("/a")}
    assert room.running("/a") == 3


async def test_restart_replaces_every_task(room: Room) -> None:
    await room.settled("/a", instances=2)
    first = {t["id"] for t in room.tasks("/a")}
    await room.restart_app("/a")
    assert actions(room.deployments()[0]) == [["RestartApplication /a"]]
    room.until(lambda: not room.deployments())
    assert not first & {t["id"] for t in room.tasks("/a")}


async def test_suspend_is_a_scale_whatever_else_changes(room: Room) -> None:
    await room.settled("/a", instances=2)
    await room.put("/a", instances=0, cmd="sleep 3")
    assert actions(room.deployments()[0]) == [["ScaleApplication /a"]]
    room.until(lambda: not room.deployments())
    assert room.instances("/a") == []


async def test_delete_ends_the_tasks_first(room: Room) -> None:
    await room.settled("/a", instances=2)
    room.events()
    await room.delete("/a")
    assert room.leading.world.definition("/a") is None
    room.until(lambda: not room.deployments())
    names = room.event_names()
    assert names.index("app_terminated_event") > max(i for i, n in enumerate(names) if n == "status_update_event")
    assert names[-2:] == ["deployment_step_success", "deployment_success"]


async def test_each_step_and_each_deployment_ends_once(room: Room) -> None:
    await room.settled("/a", instances=8)
    await room.settled("/a", instances=8, cmd="sleep 2")
    await room.settled("/a", instances=1, cmd="sleep 2")
    names = room.event_names()
    assert names.count("deployment_success") == 3
    assert names.count("deployment_step_success") == 4
    assert names.count("deployment_info") == 4


async def test_at_most_so_many_deployments(tmp_path: Path) -> None:
    room = Room(tmp_path, settings=Settings(max_running_deployments=2))
    await room.put("/a", constraints=NOWHERE)
    await room.put("/b", constraints=NOWHERE)
    with pytest.raises(TooManyDeployments):
        await room.put("/c")
    failed = room.events()[-1]
    assert (failed["eventType"], failed["groupId"]) == ("group_change_failed", "/")
    assert failed["reason"].startswith("Max number (2) of running deployments is achieved.")
    with pytest.raises(TooManyDeployments):
        await room.put("/a", force=True, cmd="sleep 3")
    # What starts no deployment needs no place.
    await room.leading.update(changes.update_group("/g", {}, room.settings, lambda *_: None))
    await room.close()


async def test_dependencies_are_started_first(room: Room) -> None:
    update = {
        "apps": [
            {"id": "web", "cmd": "sleep 9", "cpus": 0.1, "mem": 8, "dependencies": ["db"]},
            {"id": "db", "cmd": "sleep 9", "cpus": 0.1, "mem": 8},
        ]
    }
    change = changes.update_group("/g", apps.read(groups.GROUP_UPDATE, update), room.settings, lambda *_: None)
    await room.leading.update(change)
    assert [sorted(step) for step in actions(room.deployments()[0])] == [
        ["StartApplication /g/db", "StartApplication /g/web"], ["ScaleApplication /g/db"], ["ScaleApplication /g/web"],
    ]  # fmt: skip
    assert not room.instances("/g/web")
    room.until(lambda: room.running("/g/web") == 1)


async def test_pods_neither_wait_nor_are_waited_for(room: Room) -> None:
    """Nor do apps that a group's dependencies name: those are of groups."""
    pod = {"id": "/g/pod", "containers": [{"name": "c", "resources": {"cpus": 0.1, "mem": 32}}]}
    for group_id, update in (
        ("/h", {"apps": [{"id": "db", "cmd": "sleep 9", "cpus": 0.1, "mem": 8}]}),
        ("/g", {"dependencies": ["/h/db"]}),
    ):
        read = apps.read(groups.GROUP_UPDATE, update)
        await room.leading.update(changes.update_group(group_id, read, room.settings, lambda *_: None))
    room.until(lambda: not room.deployments())

    def edit(root: Group, now: str) -> Group:
        made = pods.define(pods.from_request(pod), apps.place(root, "/g/pod", room.settings), version=now)
        whole = apps.replacement({"cmd": "sleep 9", "cpus": 0.1, "mem": 8, "dependencies": ["/g/pod", "/h"]}, "/g/web")
        root = changes.create_pod(made, room.settings)(root, now)
        root = changes.update_app("/h/db", {"cpus": 0.2}, room.settings, lambda *_: None)(root, now)
        return changes.replace_app("/g/web", whole, room.settings)(root, now)

    await room.leading.update(edit)
    assert [sorted(step) for step in actions(room.deployments()[0])] == [
        ["StartApplication /g/web", "StartPod /g/pod"],
        ["RestartApplication /h/db", "ScalePod /g/pod"],
        ["ScaleApplication /g/web"],
    ]


@pytest.mark.parametrize(
    ("asked", "body", "group_id", "reason"),
    [
        ("POST /v2/apps", {"id": "/g/a", "cmd": "sleep 9"}, "/g", "An app with id [/g/a] already exists."),
        ("DELETE /v2/apps/g/none", None, "/g", "App '/g/none' does not exist"),
        ("POST /v2/apps/none/restart", None, "/", "App '/none' does not exist"),
        ("PUT /v2/apps/g/a", {"dependencies": ["/g/a"]}, "/g", "Validation failed: /: Dependency graph has cyclic dependencies."),
    ],
)
async def test_what_fails_once_it_has_begun_is_told(live: Live, asked: str, body: Any, group_id: str, reason: str) -> None:
    await live.settled("/g/a")
    live.events()
    method, path = asked.split()
    assert (await live.send(method, path, body)).status >= 400
    told = live.events()
    assert [(event["eventType"], event["groupId"], event["reason"]) for event in told] == [("group_change_failed", group_id, reason)]


async def test_kill_and_scale_kills_exactly_the_chosen(room: Room) -> None:
    await room.settled("/a", instances=3)
    ids = [t["id"] for t in room.tasks("/a")]
    await room.kill_and_scale("/a", [ids[1]])
    room.until(lambda: not room.deployments())
    assert [t["id"] for t in room.tasks("/a")] == [ids[0], ids[2]]


async def test_scale_down_takes_the_youngest_or_the_oldest(room: Room) -> None:
    for selection, kept in (("YOUNGEST_FIRST", 0), ("OLDEST_FIRST", 1)):
        app = "/" + selection.lower().replace("_", "-")
        await room.settled(app, instances=1, killSelection=selection)
        room.advance(10)
        await room.settled(app, instances=2, killSelection=selection)
        ids = [t["id"] for t in room.tasks(app)]
        await room.settled(app, instances=1, killSelection=selection)
        assert [t["id"] for t in room.tasks(app)] == [ids[kept]]


async def test_a_task_that_fails_while_deploying_is_started_again_and_waited_for(room: Room) -> None:
    await room.put("/a", labels=labels(launch="no such image"))
    room.advance(30)
    assert room.deployments()
    failure = room.leading.world.failures["/a"]
    assert (failure["state"], failure["message"]) == ("TASK_FAILED", "no such image")


async def test_readiness_holds_the_deployment_and_shows_its_results(room: Room) -> None:
    check = {"name": "r", "portName": "http", "path": "/", "intervalSeconds": 2, "timeoutSeconds": 1, "preserveLastResponse": True}
    fields: dict[str, Any] = {"portDefinitions": [{"port": 0, "name": "http"}], "readinessChecks": [check], "labels": labels(ready_after=7)}
    await room.put("/a", **fields)
    room.advance(5)
    task = room.tasks("/a")[0]["id"]
    last = {"status": 503, "contentType": "text/plain", "body": "not ready"}
    assert room.leading.deployments.readiness("/a") == [{"name": "r", "taskId": task, "ready": False, "lastResponse": last}]
    room.advance(4)
    assert room.deployments() == []


async def test_the_dry_run_changes_nothing(room: Room) -> None:
    change = changes.replace_app("/a", apps.replacement({"cmd": "sleep 1"}, "/a"), room.settings)
    assert room.leading.dry_run(change) == {
        "steps": [{"actions": [{"action": "StartApplication", "app": "/a"}]}, {"actions": [{"action": "ScaleApplication", "app": "/a"}]}]
    }
    assert room.leading.world.definition("/a") is None


async def test_versions_rise_even_when_time_stands_still(room: Room) -> None:
    versions = [(await room.put(f"/a{i}", instances=0)).version for i in range(3)]
    assert versions == sorted(set(versions))


async def test_writes_cost_what_they_cost_on_a_real_one(tmp_path: Path) -> None:
    room = Room(tmp_path, charge=True)
    loop_time = asyncio.get_running_loop().time
    before = loop_time()
    for i in range(3):
        await room.put(f"/a{i}", instances=0)
    assert loop_time() - before >= 3 * 0.007
    await room.close()


async def test_root_updates_wait_for_their_turn_but_not_without_end(room: Room) -> None:
    await room.leading._lock.acquire()
    jobs = [asyncio.ensure_future(room.put(f"/a{i}", instances=0)) for i in range(501)]
    (done, _) = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = (job.exception() for job in done)
    assert isinstance(refused, ApiError)
    assert (refused.status, "500 entries" in refused.body["message"]) == (500, True)
    room.leading._lock.release()
    assert isinstance(await jobs[0], Started)
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
