# ruff: noqa: E501 - tables read best with one case a line
"""Groups and pods over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from quiet_engine import QuietEngine
from wire import Wire

APP = {"cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 0}
NESTED = {
    "apps": [{"id": "db", **APP}, {"id": "/g/web", **APP, "dependencies": ["db"]}],
    "groups": [{"id": "sub", "apps": [{"id": "x", **APP, "dependencies": ["../web"]}], "dependencies": ["/g/other"]}, {"id": "other"}],
}
POD: dict[str, Any] = {
    "id": "/p",
    "containers": [{"name": "c", "resources": {"cpus": 0.1, "mem": 32}, "exec": {"command": {"shell": "sleep 1"}}}],
}


def details(path: str, *errors: str) -> dict[str, Any]:
    return {"message": "Object is not valid", "details": [{"path": path, "errors": list(errors)}]}


async def test_nested_group(wire: Wire) -> None:
    assert (await wire.put("/v2/groups/g", NESTED)).status == 200
    group = (await wire.get("/v2/groups/g")).json
    assert [app["id"] for app in group["apps"]] == ["/g/db", "/g/web"]
    assert group["apps"][1]["dependencies"] == ["/g/db"]
    assert [(child["id"], child["dependencies"]) for child in group["groups"]] == [("/g/sub", ["/g/other"]), ("/g/other", [])]
    assert group["groups"][0]["apps"][0]["dependencies"] == ["/g/web"]
    assert (group["enforceRole"], "enforceRole" in group["groups"][0]) == (False, False)
    assert "tasksRunning" not in group["apps"][0]


@pytest.mark.parametrize(
    ("query", "apps", "groups"),
    [("", 2, 2), ("?embed=group.groups", 0, 2), ("?embed=group.apps", 2, 0), ("?embed=group.pods", 0, 0), ("?embed=foo", 0, 0)],
)
async def test_group_embeds(wire: Wire, query: str, apps: int, groups: int) -> None:
    await wire.put("/v2/groups/g", NESTED)
    group = (await wire.get(f"/v2/groups/g{query}")).json
    assert (len(group["apps"]), len(group["groups"])) == (apps, groups)


async def test_group_embeds_of_apps(wire: Wire) -> None:
    await wire.put("/v2/groups/g", NESTED)
    group = (await wire.get("/v2/groups/g?embed=group.apps&embed=group.apps.counts&embed=group.apps.taskStats")).json
    assert {"tasksRunning", "tasksStats"} < set(group["apps"][0])
    assert [app["id"] for app in (await wire.get("/v2/groups/g/apps")).json] == ["/g/db", "/g/web", "/g/sub/x"]
    assert (await wire.get("/v2/groups/apps")).json[0]["id"] == "/g/db"


async def test_group_put_replaces_only_what_it_names(wire: Wire) -> None:
    await wire.put("/v2/groups/g", NESTED)
    await wire.put("/v2/groups/g", {"apps": [{"id": "db", **APP}]})
    group = (await wire.get("/v2/groups/g")).json
    assert ([app["id"] for app in group["apps"]], len(group["groups"])) == (["/g/db"], 2)
    await wire.put("/v2/groups/g", {"groups": []})
    group = (await wire.get("/v2/groups/g")).json
    assert (len(group["apps"]), group["groups"]) == (1, [])


@pytest.mark.parametrize("body", ["null", "[]", '"x"', "42", "{}"])
async def test_group_put_of_nothing_is_a_new_version(wire: Wire, body: str) -> None:
    reply = await wire.put("/v2/groups", body)
    assert (reply.status, (await wire.get("/v2/groups")).json["version"]) == (200, reply.json["version"])


async def test_group_post(wire: Wire) -> None:
    first = await wire.post("/v2/groups", {"id": "/ge"})
    assert (first.status, first.headers["Location"]) == (201, "http://marathon.test:8080/ge")
    assert (await wire.post("/v2/groups/ge", {"id": "s1"})).status == 201
    assert (await wire.post("/v2/groups/ge", {"id": "/elsewhere"})).status == 201
    again = await wire.post("/v2/groups", {"id": "/ge"})
    assert (again.status, again.json) == (409, {"message": "Group /ge is already created. Use PUT to change this group."})
    await wire.put("/v2/apps/a", APP)
    over = await wire.post("/v2/groups", {"id": "/a"})
    assert over.json == {"message": "An app with the path /a already exists."}


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/gb", {"apps": [{"id": "/zz/a", **APP}]}, details("/apps(0)/id", "Identifier is not child of '/gb'")),
        ("/gb", {"groups": [{"id": "/zz/b"}]}, details("/groups(1)", "Group has to be child of groups with parent id")),
        ("/gb", {"apps": [{"id": "a"}]}, details("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")),
        ("/gb", {"scaleBy": 2, "apps": []}, details("/scaleBy", "not allowed in conjunction with other properties.")),
        ("/gb/c", {"enforceRole": True}, details("/enforceRole", "enforceRole can only be set for top-level groups, and /gb/c is not top-level")),
        ("/gb", {"apps": [{"id": "a", **APP, "dependencies": ["/gb"]}]}, details("/", "Dependency graph has cyclic dependencies.")),
        ("/gb", {"apps": [{"id": "a", **APP}], "groups": [{"id": "a", "apps": [{"id": "b", **APP}]}]},
         details("/groups(0)", "Groups and Applications may not have the same identifier.")),
    ],
)  # fmt: skip
async def test_group_put_refusals(wire: Wire, engine: QuietEngine, path: str, body: Any, answer: Any) -> None:
    reply = await wire.put(f"/v2/groups{path}", body)
    assert (reply.status, reply.json, engine.root.groups) == (422, answer, {})


async def test_group_scale(wire: Wire) -> None:
    await wire.put(
        "/v2/groups/g",
        {"apps": [{"id": "a", **APP, "instances": 3}], "groups": [{"id": "s", "apps": [{"id": "b", **APP, "instances": 1}]}]},
    )
    await wire.put("/v2/groups/g", {"scaleBy": 1.5})
    assert [app["instances"] for app in (await wire.get("/v2/apps")).json["apps"]] == [5, 2]
    assert (await wire.put("/v2/groups/nosuch", {"scaleBy": 2})).status == 200
    assert (await wire.get("/v2/groups/nosuch")).status == 404


async def test_group_versions_and_rollback(wire: Wire) -> None:
    old = (await wire.put("/v2/groups/g", {"apps": [{"id": "a", **APP}]})).json["version"]
    await wire.put("/v2/groups/g", {"apps": []})
    assert (await wire.get("/v2/groups/g/versions")).json[0] == old
    assert (await wire.get("/v2/groups/versions")).json[0] == old
    assert (await wire.get(f"/v2/groups/g/versions/{old}")).json["apps"][0]["id"] == "/g/a"
    assert (await wire.get(f"/v2/groups/versions/{old}")).json["id"] == "/"
    assert (await wire.put("/v2/groups/g", {"version": old})).status == 200
    assert (await wire.get("/v2/apps/g/a")).status == 200
    unknown = await wire.put("/v2/groups/g", {"version": "2010-01-01T00:00:00.000Z"})
    assert (unknown.status, unknown.json) == (422, {"message": "Group /g not available in version 2010-01-01T00:00:00.000Z"})
    assert (await wire.get("/v2/groups/g/versions/2010-01-01T00:00:00Z")).json == {"message": "Group '/g' does not exist", "details": []}
    assert (await wire.get("/v2/groups/x/versions")).status == 404


async def test_dry_run_plans_and_changes_nothing(wire: Wire) -> None:
    await wire.put("/v2/groups/g", {"apps": [{"id": "a", **APP}, {"id": "b", **APP, "instances": 1}]})
    steps = (await wire.put("/v2/groups/g?dryRun=true", {"dependencies": []})).json["steps"]
    assert steps == [{"actions": [{"action": "ScaleApplication", "app": "/g/a"}, {"action": "RestartApplication", "app": "/g/b"}]}]
    assert (await wire.put("/v2/groups?dryRun=true", {"apps": []})).json == {"steps": []}
    gone = (await wire.put("/v2/groups/g?dryRun=true", {"apps": []})).json["steps"]
    assert [action["action"] for action in gone[0]["actions"]] == ["StopApplication", "StopApplication"]
    assert (await wire.get("/v2/apps/g/a")).status == 200


async def test_group_delete(wire: Wire) -> None:
    await wire.put("/v2/groups/g", NESTED)
    await wire.put("/v2/apps/a", APP)
    assert (await wire.delete("/v2/groups/nosuch")).status == 200
    await wire.delete("/v2/groups/g")
    assert [app["id"] for app in (await wire.get("/v2/apps")).json["apps"]] == ["/a"]
    await wire.delete("/v2/groups")
    assert (await wire.get("/v2/groups")).json["apps"] == []


async def test_group_patch_is_for_the_role(wire: Wire) -> None:
    await wire.put("/v2/groups/g", {"apps": [{"id": "a", **APP}]})
    reply = await wire.send("PATCH", "/v2/groups/g", {"enforceRole": True})
    assert (reply.status, reply.body) == (200, b"")
    assert (await wire.get("/v2/groups/g")).json["enforceRole"] is True
    assert (await wire.send("PATCH", "/v2/groups/nosuch", {"foo": 1})).status == 200
    assert (await wire.send("PATCH", "/v2/groups/g/sub", {})).json == details("/", "Path needs to be top-level")
    both = await wire.put("/v2/groups/g", {"enforceRole": False, "apps": []})
    assert both.status == 422
    assert both.json["details"][0]["path"] == "/enforceRole"


async def test_pod_round_trip(wire: Wire, engine: QuietEngine) -> None:
    created = await wire.post("/v2/pods", POD)
    assert (created.status, created.headers["Location"]) == (201, "http://marathon.test:8080/p")
    pod = (await wire.get("/v2/pods/p")).json
    assert pod == created.json
    assert (pod["scaling"], pod["networks"], pod["role"]) == ({"kind": "fixed", "instances": 1}, [{"mode": "host"}], "*")
    assert pod["containers"][0]["resources"] == {"cpus": 0.1, "mem": 32.0, "disk": 0.0, "gpus": 0}
    assert (await wire.get("/v2/pods")).json == [pod]
    assert set(pod) == {"id", "version", "containers", "networks", "scaling", "scheduling", "executorResources", "role"}
    assert pod["scheduling"]["placement"] == {}
    (shown,) = (await wire.get("/v2/groups")).json["pods"]
    assert (shown["id"], shown["spec"], shown["status"]) == ("/p", pod, "STABLE")
    assert (await wire.get(f"/v2/groups/versions/{pod['version']}")).json["pods"] == [shown]
    changed = await wire.put("/v2/pods/p", POD | {"scaling": {"kind": "fixed", "instances": 3}})
    assert (changed.status, changed.json["scaling"]["instances"]) == (200, 3)
    assert len((await wire.get("/v2/pods/p::versions")).json) == 2
    assert (await wire.get(f"/v2/pods/p::versions/{pod['version']}")).json == pod
    assert (await wire.get("/v2/pods/p::status")).json["id"] == "/p"
    assert len((await wire.get("/v2/pods/::status")).json) == 1
    gone = await wire.delete("/v2/pods/p")
    assert (gone.status, gone.body, "Marathon-Deployment-Id" in gone.headers) == (202, b"", True)
    assert [kind for kind, _ in engine.published] == ["pod_created_event", "pod_updated_event", "pod_deleted_event"]


async def test_pods_that_are_not_there(wire: Wire) -> None:
    assert (await wire.get("/v2/pods/x")).json == {"message": '{"message": "pod with /x does not exist"}', "details": []}
    for path in ("/v2/pods/x::status", "/v2/pods/x::versions", "/v2/pods/x::versions/2010-01-01T00:00:00Z"):
        assert (await wire.get(path)).json == {"message": "Pod '/x' does not exist", "details": []}
    assert (await wire.delete("/v2/pods/x")).status == 404
    mismatch = await wire.put("/v2/pods/x", POD)
    assert (mismatch.status, mismatch.body[:1]) == (400, b"\n")
    assert (await wire.post("/v2/pods", POD)).status == 201
    assert (await wire.post("/v2/pods", POD)).json == {"message": "A pod with id [/p] already exists."}


async def test_pod_instances_can_be_killed(wire: Wire, engine: QuietEngine) -> None:
    await wire.post("/v2/pods", POD)
    instance = "p.instance-cf8b3873-e77a-11f1-b0c6-02fc00000001"
    engine.running = [{"id": f"{instance}.c.1", "appId": "/p", "state": "TASK_RUNNING"}]
    assert (await wire.delete(f"/v2/pods/p::instances/{instance}")).json["instanceId"] == {"idString": instance}
    assert len((await wire.send("DELETE", "/v2/pods/p::instances", [instance])).json) == 1
    engine.running = []
    assert (await wire.delete(f"/v2/pods/p::instances/{instance}")).json == {"message": f"Task '{instance}' does not exist", "details": []}
    pattern = r"must fully match regular expression '^(.+)\.(instance-|marathon-)([^\.]+)$'"
    assert (await wire.delete("/v2/pods/p::instances/foo")).json == details("/", pattern)
    assert (await wire.send("DELETE", "/v2/pods/p::instances", [instance, "foo"])).json == details("(1)", pattern)
    assert (await wire.delete("/v2/pods/p::instances/p.instance-1")).json == {"message": "Invalid UUID string: 1"}
    for body, path, code in (({}, "", "error.expected.jsarray"), ([1], "(0)", "error.expected.jsstring")):
        reply = await wire.send("DELETE", "/v2/pods/p::instances", body)
        assert (reply.status, reply.json) == (422, {"message": "Invalid JSON", "details": [{"path": path, "errors": [code]}]})
    assert (await wire.delete(f"/v2/pods/x::instances/{instance}")).json == {"message": "Path '/x' does not exist"}


@pytest.mark.parametrize("path", ["/v2/groups/A", "/v2/groups/g/a%20b", "/v2/groups/x%00"])
async def test_groups_have_names_whichever_way_they_come(wire: Wire, path: str) -> None:
    for method in ("PUT", "POST"):
        reply = await wire.send(method, path, {})
        assert reply.status == 422
        (detail,) = reply.json["details"]
        assert detail["path"] == "/"
        assert detail["errors"][0].startswith("must fully match regular expression")


async def test_a_bad_name_is_found_before_a_bad_body(wire: Wire) -> None:
    reserved = "must not end with any of the following reserved keywords: restart, tasks, versions, ., .."
    assert (await wire.send("PUT", "/v2/groups/tasks", "{")).json == details("/", reserved)
    assert (await wire.put("/v2/groups", {"id": "/g/restart", "apps": [{"id": "x"}]})).json == details("/", reserved)
    assert (await wire.put("/v2/groups/g", {"groups": [{"id": "restart"}]})).json == details("/groups(0)/id", reserved)
