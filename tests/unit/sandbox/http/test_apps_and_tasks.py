"""Apps, their tasks and versions over HTTP: filters, embeds, kills, several at once."""

from __future__ import annotations

from typing import Any

import pytest

from quiet_engine import QuietEngine
from wire import Wire

UUID = "cf8b3873-e77a-11f1-b0c6-02fc00000001"
OTHER = "cf8b3874-e77a-11f1-b0c6-02fc00000001"


def task(app: str, uuid: str = UUID, *, state: str = "TASK_RUNNING", host: str = "127.0.0.2", run: int = 1) -> dict[str, Any]:
    name = app.strip("/").replace("/", "_")
    return {
        "id": f"{name}.instance-{uuid}._app.{run}",
        "appId": app,
        "state": state,
        "host": host,
        "servicePorts": [10000],
        "stagedAt": "x",
    }


async def web_app(wire: Wire, app_id: str = "/l/web", **fields: Any) -> None:
    body = {"id": app_id, "cmd": "exec http", "instances": 2, "labels": {"tier": "web", "env": "prod"}} | fields
    assert (await wire.post("/v2/apps", body)).status == 201


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 2), ("?cmd=HTTP", 1), ("?id=WEB", 1), ("?id=l/", 2), ("?cmd=&id=", 2), ("?label=tier", 2), ("?label=", 2),
        ("?label=tier==web", 1), ("?label=tier!=web", 1), ("?label=env!=prod", 0), ("?label=none!=x", 0), ("?label=tier+in+(web,db)", 2),
        ("?label=tier%20notin%20(web)", 1), ("?label=tier%20in%20()", 0), ("?label=tier==web,env==prod", 1), ("?label=t%5C%21", 1),
        ("?cmd=http&id=web&label=env", 1),
    ],
)  # fmt: skip
async def test_filters(wire: Wire, query: str, found: int) -> None:
    await web_app(wire)
    await web_app(wire, "/l/db", cmd="sleep 1", labels={"tier": "db", "t!": "x"})
    assert len((await wire.get(f"/v2/apps{query}")).json["apps"]) == found


@pytest.mark.parametrize("selector", ["tier=web", "!tier", "==", "a in (b", "a,"])
async def test_selectors_that_cannot_be_read(wire: Wire, selector: str) -> None:
    reply = await wire.get(f"/v2/apps?label={selector.replace(' ', '%20')}")
    assert reply.status == 422
    assert reply.json == {"message": f"Can not parse label selector {selector}. Reason: end of input expected"}


@pytest.mark.parametrize(
    ("query", "extra"),
    [
        ("", set()),
        ("?embed=apps.tasks", {"tasks"}),
        ("?embed=failures", {"tasks"}),
        ("?embed=app.readiness", {"readinessCheckResults"}),
        ("?embed=apps.taskStats&embed=foo", {"tasksStats"}),
    ],
)
async def test_embeds_of_lists(wire: Wire, query: str, extra: set[str]) -> None:
    await web_app(wire)
    always = {"tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "deployments"}
    shown = set((await wire.get(f"/v2/apps{query}")).json["apps"][0])
    assert shown & (always | {"tasks", "readinessCheckResults", "tasksStats"}) == always | extra


async def test_one_app_always_shows_its_tasks_without_service_ports(wire: Wire, engine: QuietEngine) -> None:
    await web_app(wire)
    engine.running = [task("/l/web")]
    shown = (await wire.get("/v2/apps/l/web")).json["app"]
    assert [t["servicePorts"] for t in shown["tasks"]] == [[]]
    assert [t["servicePorts"] for t in (await wire.get("/v2/tasks")).json["tasks"]] == [[10000]]
    assert (await wire.get("/v2/apps/l/*")).json["*"][0]["id"] == "/l/web"
    assert len((await wire.get("/v2/apps/*")).json["*"]) == 1


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("", 3),
        ("?status=running", 1),
        ("?status=staging", 1),
        ("?status=foo", 3),
        ("?status[]=running&status[]=staging", 2),
        ("?status=RUNNING", 1),
    ],
)
async def test_tasks_by_status(wire: Wire, engine: QuietEngine, query: str, states: int) -> None:
    await web_app(wire, "/a")
    found = enumerate(("TASK_RUNNING", "TASK_STAGING", "TASK_FAILED"))
    engine.running = [task("/a", UUID.replace("cf8b3873", f"cf8b387{n}"), state=state) for n, state in found]
    assert len((await wire.get(f"/v2/tasks{query}")).json["tasks"]) == states


async def test_tasks_of_what_is_no_app_are_not_listed(wire: Wire, engine: QuietEngine) -> None:
    await web_app(wire, "/a")
    engine.running = [task("/a"), task("/deleted", OTHER)]
    assert [shown["appId"] for shown in (await wire.get("/v2/tasks")).json["tasks"]] == ["/a"]


@pytest.mark.parametrize("path", ["/v2/apps/nosuch", "/v2/apps/nosuch/tasks", "/v2/apps/nosuch/versions"])
async def test_reads_of_unknown_apps(wire: Wire, path: str) -> None:
    reply = await wire.get(path)
    assert (reply.status, reply.json) == (404, {"message": "App '/nosuch' does not exist", "details": []})


async def test_reads_of_unknown_groups_of_apps(wire: Wire) -> None:
    for path in ("/v2/apps/nosuch/*", "/v2/apps/nosuch/*/tasks"):
        assert (await wire.get(path)).json == {"message": "Group '/nosuch' does not exist", "details": []}


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/v2/apps/nosuch"), ("POST", "/v2/apps/nosuch/restart"), ("DELETE", "/v2/apps/x/restart")]
)
async def test_writes_to_unknown_apps(wire: Wire, method: str, path: str) -> None:
    reply = await wire.send(method, path)
    name = "/x/restart" if path.startswith("/v2/apps/x") else "/nosuch"
    assert (reply.status, reply.json) == (404, {"message": f"App '{name}' does not exist"})


async def test_delete_leaves_the_group_and_the_history(wire: Wire) -> None:
    await web_app(wire)
    assert (await wire.delete("/v2/apps/l/web")).headers["Marathon-Deployment-Id"]
    assert (await wire.get("/v2/groups/l")).json["apps"] == []
    assert (await wire.get("/v2/apps/l/web/versions")).json == {"versions": ["2026-11-23T20:00:00.001Z"]}


async def test_versions(wire: Wire) -> None:
    await web_app(wire)
    await wire.put("/v2/apps/l/web", {"cmd": "sleep 7"})
    versions = (await wire.get("/v2/apps/l/web/versions")).json["versions"]
    assert len(versions) == 2
    old = (await wire.get(f"/v2/apps/l/web/versions/{versions[0]}")).json
    assert (old["cmd"], "app" in old, old["version"]) == ("exec http", False, versions[0])
    unknown = await wire.get("/v2/apps/l/web/versions/2010-01-01T00:00:00.000Z")
    assert unknown.json == {"message": "App '/l/web' does not exist in version 2010-01-01T00:00:00.000Z", "details": []}
    bad = await wire.get("/v2/apps/l/web/versions/foo")
    assert (bad.status, bad.json) == (422, {"message": "Invalid timestamp provided 'foo'. Expecting ISO-8601 datetime string."})
    assert (await wire.put("/v2/apps/l/web", {"version": "2010-01-01T00:00:00Z"})).json == {"message": "App '/l/web' does not exist"}


async def test_put_creates_with_a_location_and_patch_does_not(wire: Wire) -> None:
    created = await wire.put("/v2/apps/new/one", {"cmd": "sleep 1"})
    assert (created.status, created.headers["Location"]) == (201, "http://marathon.test:8080/new/one")
    assert set(created.json) == {"version", "deploymentId"}
    assert (await wire.send("PATCH", "/v2/apps/new/two", {"cmd": "sleep 1"})).json == {"message": "App '/new/two' does not exist"}
    assert (await wire.send("PATCH", "/v2/apps/new/two", {"cpus": 1})).status == 422
    assert (await wire.send("PATCH", "/v2/apps/new/one", {"cpus": 3})).status == 200


async def test_events_of_writes(wire: Wire, engine: QuietEngine) -> None:
    await web_app(wire)
    await wire.put("/v2/apps/l/web", {"cpus": 2})
    await wire.put("/v2/apps", [{"id": "/l/web", "cpus": 3}])
    assert [(kind, payload["uri"]) for kind, payload in engine.published] == [
        ("api_post_event", "/v2/apps"),
        ("api_post_event", "/v2/apps/l/web"),
    ]
    first, second = (payload["appDefinition"] for _, payload in engine.published)
    assert (first["portDefinitions"][0]["port"], second["portDefinitions"][0]["port"]) == (0, 10000)
    assert str(second["cpus"]) == "2", "events print whole numbers without a fraction"


async def test_several_at_once(wire: Wire, engine: QuietEngine) -> None:
    checked = {"id": "m/b", "cmd": "sleep 1", "healthChecks": [{}], "portDefinitions": [{}]}
    reply = await wire.put("/v2/apps", [{"id": "/m/a", "cmd": "sleep 1"}, checked])
    assert reply.status == 200
    assert len(engine.history) == 1, "one change"
    assert (await wire.get("/v2/apps/m/b")).json["app"]["healthChecks"][0]["portIndex"] == 0
    await wire.put("/v2/apps", [{"id": "/m/a", "instances": 4}, {"id": "/m/b", "instances": 5}])
    assert [a["instances"] for a in (await wire.get("/v2/apps")).json["apps"]] == [4, 5]
    await wire.put("/v2/apps?partialUpdate=false", [{"id": "/m/a", "cmd": "sleep 2"}])
    assert (await wire.get("/v2/apps/m/a")).json["app"]["instances"] == 1


async def test_several_at_once_go_wrong_together(wire: Wire, engine: QuietEngine) -> None:
    assert (await wire.put("/v2/apps", [{"cmd": "sleep 1"}])).json == {"message": "requirement failed: App Update must have app id set"}
    bad = await wire.put("/v2/apps", [{"id": "/m/a", "cmd": "sleep 1"}, {"id": "/m/b"}])
    assert (bad.status, engine.root.groups) == (422, {})
    unknown = await wire.send("PATCH", "/v2/apps", [{"id": "/m/a", "cpus": 1}])
    assert (unknown.status, unknown.json) == (404, {"message": "App '/m/a' does not exist"})


async def test_kill_of_one_task_means_its_instance(wire: Wire, engine: QuietEngine) -> None:
    await web_app(wire)
    engine.running = [task("/l/web", run=2), task("/l/web", OTHER)]
    reply = await wire.delete(f"/v2/apps/l/web/tasks/l_web.instance-{UUID}._app.1?wipe=true")
    assert reply.json["task"]["id"].endswith("_app.2")
    assert engine.killed == [([f"l_web.instance-{UUID}._app.2"], True)]
    unknown = await wire.delete("/v2/apps/l/web/tasks/foo")
    assert (unknown.status, unknown.json) == (404, {"message": "Task 'foo' does not exist", "details": []})


@pytest.mark.parametrize(("host", "count"), [("127.0.0.2", 1), ("*", 2), ("nope", 0)])
async def test_kill_by_host(wire: Wire, engine: QuietEngine, host: str, count: int) -> None:
    await web_app(wire)
    engine.running = [task("/l/web"), task("/l/web", OTHER, host="127.0.0.3")]
    assert len((await wire.delete(f"/v2/apps/l/web/tasks?host={host}")).json["tasks"]) == count


async def test_kill_and_scale(wire: Wire, engine: QuietEngine) -> None:
    await web_app(wire, instances=3)
    ended = {key: value for key, value in task("/l/web", OTHER, state="TASK_FAILED").items() if key != "stagedAt"}
    engine.running = [task("/l/web"), ended]
    reply = await wire.delete("/v2/apps/l/web/tasks?scale=true")
    assert set(reply.json) == {"version", "deploymentId"}
    assert (await wire.get("/v2/apps/l/web")).json["app"]["instances"] == 2, "only the living one counts"
    assert engine.chosen == [{"/l/web": [f"l_web.instance-{UUID}._app.1"]}]


@pytest.mark.parametrize("path", ["/v2/apps/x/tasks", "/v2/apps/x/tasks/y"])
async def test_kill_cannot_scale_and_wipe(wire: Wire, path: str) -> None:
    reply = await wire.delete(f"{path}?scale=true&wipe=true")
    assert (reply.status, reply.json) == (400, {"message": "You cannot use scale and wipe at the same time."})


async def test_kill_in_unknown_apps(wire: Wire) -> None:
    assert (await wire.delete("/v2/apps/x/tasks")).json == {"message": "App '/x' does not exist", "details": []}
    assert (await wire.delete("/v2/apps/x/tasks?scale=true")).json == {"message": "Path '/x' does not exist"}


async def test_kill_by_list(wire: Wire, engine: QuietEngine) -> None:
    await web_app(wire)
    engine.running = [task("/l/web")]
    ids = [f"l_web.instance-{UUID}._app.1", f"l_web.{OTHER}", f"l_web.marathon-{OTHER}.app"]
    assert len((await wire.post("/v2/tasks/delete", {"ids": ids})).json["tasks"]) == 1
    assert set((await wire.post("/v2/tasks/delete?scale=true", {"ids": ids})).json) == {"version", "deploymentId"}


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ({"ids": ["foo"]}, 400, {"message": "Invalid task id 'foo'. [taskId foo no valid identifier (of class java.lang.String)]"}),
        ({}, 422, {"message": "Invalid JSON", "details": [{"path": "", "errors": ["'ids' is undefined on object: {}"]}]}),
        ({"ids": "x"}, 422, {"message": "Invalid JSON", "details": [{"path": "", "errors": ["error.expected.jsarray"]}]}),
        ({"ids": [1]}, 422, {"message": "Invalid JSON", "details": [{"path": "(0)", "errors": ["error.expected.jsstring"]}]}),
        ([], 422, {"message": "Invalid JSON", "details": [{"path": "", "errors": ["[] is not an object"]}]}),
        ({"ids": []}, 200, {"tasks": []}),
    ],
)
async def test_kill_by_list_reads_carefully(wire: Wire, body: Any, status: int, answer: Any) -> None:
    reply = await wire.post("/v2/tasks/delete", body)
    assert (reply.status, reply.json) == (status, answer)


async def test_kill_and_scale_looks_for_instances(wire: Wire) -> None:
    await web_app(wire, instances=0)
    reply = await wire.delete("/v2/apps/l/web/tasks?scale=true")
    assert (reply.status, reply.json) == (404, {"message": "Path '/l/web' does not exist"})
    assert (await wire.delete("/v2/apps/l/web/tasks")).json == {"tasks": []}
