"""Pods over HTTP, from creation to their end: status of the pod, its instances and their containers."""

from __future__ import annotations

from typing import Any

from live_wire import Live

Json = dict[str, Any]


def container(name: str, **fields: Any) -> Json:
    return {"name": name, "exec": {"command": {"shell": "sleep 9"}}, "resources": {"cpus": 0.1, "mem": 32}, **fields}


def pod(*containers: Json, **fields: Any) -> Json:
    return {"id": "/g/p", "containers": list(containers), **fields}


async def status(live: Live) -> Json:
    found: Json = await live.get("/v2/pods/g/p::status")
    return found


async def created(live: Live, body: Json) -> None:
    reply = await live.send("POST", "/v2/pods", body)
    assert reply.status == 201, reply.body
    assert reply.headers["Location"] == "http://marathon.test:8080/g/p"
    assert reply.headers["Marathon-Deployment-Id"]


WEB = container("web", endpoints=[{"name": "http", "hostPort": 0}, {"name": "admin"}], labels={"tier": "front"})


async def test_a_pod_that_runs(live: Live) -> None:
    await created(live, pod(WEB, container("side"), scaling={"kind": "fixed", "instances": 2}))
    assert (await status(live))["status"] == "DEGRADED"
    live.settle()
    found = await status(live)
    assert set(found) == {"id", "spec", "status", "statusSince", "instances", "terminationHistory", "lastUpdated", "lastChanged"}
    assert (found["id"], found["status"], found["terminationHistory"], len(found["instances"])) == ("/g/p", "STABLE", [], 2)
    alone = await live.get("/v2/pods/g/p")
    assert found["spec"] == alone | {"scheduling": {key: value for key, value in alone["scheduling"].items() if key != "placement"}}
    assert alone["scheduling"]["placement"] == {}
    assert found["lastChanged"] == found["statusSince"]
    instance = found["instances"][0]
    assert instance["id"].startswith("g_p.instance-")
    assert (instance["status"], instance["agentHostname"]) in {("STABLE", "127.0.0.1"), ("STABLE", "127.0.0.2")}
    assert instance["specReference"] == f"/v2/pods/g/p::versions/{found['spec']['version']}"
    assert instance["resources"] == {"cpus": 0.3, "mem": 96.0, "disk": 10.0, "gpus": 0}
    assert instance["networks"] == [{"addresses": [instance["agentHostname"]]}]
    web, side = instance["containers"]
    assert (web["name"], web["status"], web["containerId"]) == ("web", "TASK_RUNNING", f"{instance['id']}.web.1")
    assert [e["name"] for e in web["endpoints"]] == ["http", "admin"]
    assert web["endpoints"][0]["allocatedHostPort"] >= 31_000
    assert (side["endpoints"], side["conditions"], side["resources"]["cpus"]) == ([], [], 0.1)
    assert await live.get("/v2/pods/::status") == [await status(live)]


async def test_tasks_of_pods_are_no_matter_of_the_tasks_of_apps(live: Live) -> None:
    await created(live, pod(WEB, container("side")))
    live.settle()
    (instance,) = (await status(live))["instances"]
    assert (await live.get("/v2/tasks"))["tasks"] == []
    assert (await live.send("POST", "/v2/tasks/delete", {"ids": [f"{instance['id']}.web.1"]})).json == {"tasks": []}
    assert [i["id"] for i in (await status(live))["instances"]] == [instance["id"]]


async def test_a_pod_waiting_for_room(live: Live) -> None:
    await created(live, pod(container("big", resources={"cpus": 1000, "mem": 1})))
    live.advance(20)
    found = await status(live)
    (instance,) = found["instances"]
    assert (found["status"], instance["status"], instance["containers"]) == ("DEGRADED", "PENDING", [])
    assert "agentHostname" not in instance
    (waiting,) = (await live.get("/v2/queue"))["queue"]
    assert (waiting["pod"]["id"], "app" in waiting) == ("/g/p", False)


CHECK = {"http": {"endpoint": "http", "path": "/"}, "intervalSeconds": 2, "timeoutSeconds": 1, "delaySeconds": 0, "gracePeriodSeconds": 0}


async def test_health_of_a_pod(live: Live) -> None:
    labels = {"SIM_HEALTHY_AFTER": "5", "SIM_UNHEALTHY_AFTER": "30"}
    await created(
        live,
        pod(
            container(
                "web", endpoints=[{"name": "http", "hostPort": 0}], healthCheck={**CHECK, "maxConsecutiveFailures": 100}, labels=labels
            )
        ),
    )
    live.advance(1)
    (web,) = (await status(live))["instances"][0]["containers"]
    assert (web["conditions"][0]["name"], web["conditions"][0]["value"]) == ("healthy", "false")
    live.settle()
    found = await status(live)
    (web,) = found["instances"][0]["containers"]
    assert (found["status"], web["endpoints"][0]["healthy"]) == ("STABLE", True)
    assert (web["conditions"][0]["value"], web["conditions"][0]["reason"]) == ("true", "health-reported-by-mesos")
    live.advance(30)
    found = await status(live)
    assert (found["status"], found["instances"][0]["status"]) == ("DEGRADED", "DEGRADED")
    assert found["instances"][0]["message"] == "at least one container is not healthy"


async def test_a_lost_pod(live: Live) -> None:
    await created(live, pod(WEB, scheduling={"unreachableStrategy": "disabled"}))
    live.settle()
    agent = (await status(live))["instances"][0]["agentId"]
    assert (await live.send("POST", f"/sandbox/agents/{agent}/partition")).status == 200
    live.advance(1)
    (instance,) = (await status(live))["instances"]
    assert (instance["status"], instance["message"]) == ("DEGRADED", "pod instance has become unreachable")


async def test_update_scale_and_versions(live: Live) -> None:
    await created(live, pod(WEB))
    live.settle()
    first = (await live.get("/v2/pods/g/p"))["version"]
    before = (await status(live))["instances"][0]["id"]
    scaled = await live.send("PUT", "/v2/pods/g/p", pod(WEB, scaling={"kind": "fixed", "instances": 2}))
    assert (scaled.status, scaled.json["scaling"]["instances"]) == (200, 2)
    (deployment,) = await live.get("/v2/deployments")
    assert (deployment["affectedPods"], deployment["affectedApps"]) == (["/g/p"], [])
    assert deployment["steps"] == [{"actions": [{"action": "ScalePod", "pod": "/g/p"}]}]
    live.settle()
    assert before in {i["id"] for i in (await status(live))["instances"]}
    changed = await live.send("PUT", "/v2/pods/g/p", pod(WEB, environment={"A": "1"}))
    assert changed.json["environment"] == {"A": "1"}
    (deployment,) = await live.get("/v2/deployments")
    assert deployment["steps"] == [{"actions": [{"action": "RestartPod", "pod": "/g/p"}]}]
    assert (await live.send("PUT", "/v2/pods/g/p", pod(WEB))).status == 409
    live.settle()
    assert before not in {i["id"] for i in (await status(live))["instances"]}
    versions = await live.get("/v2/pods/g/p::versions")
    assert len(versions) >= 3
    assert first in versions
    assert "environment" not in await live.get(f"/v2/pods/g/p::versions/{first}")


async def test_instances_are_killed_and_wiped(live: Live) -> None:
    await created(live, pod(WEB, container("side")))
    live.settle()
    instance = (await status(live))["instances"][0]["id"]
    killed = await live.send("DELETE", f"/v2/pods/g/p::instances/{instance}")
    assert (killed.status, killed.json["instanceId"]) == (200, {"idString": instance})
    assert sorted(killed.json["tasksMap"]) == [f"{instance}.side.1", f"{instance}.web.1"]
    assert killed.json["state"]["condition"] == "Running"
    live.advance(10)
    (again,) = (await status(live))["instances"]
    assert (again["id"], again["containers"][0]["containerId"]) == (instance, f"{instance}.web.2")
    assert len((await live.waited("DELETE", "/v2/pods/g/p::instances?wipe=true", [instance, instance])).json) == 1
    live.advance(10)
    (other,) = (await status(live))["instances"]
    assert (other["id"] == instance, other["status"]) == (False, "STABLE")


async def test_deleting_a_pod(live: Live) -> None:
    await created(live, pod(WEB))
    live.settle()
    gone = await live.send("DELETE", "/v2/pods/g/p")
    assert (gone.status, gone.body) == (202, b"")
    assert gone.headers["Location"].endswith(gone.headers["Marathon-Deployment-Id"])
    live.settle()
    assert (await live.get("/v2/tasks"))["tasks"] == []
    assert [e["eventType"] for e in live.events()].count("app_terminated_event") == 1
    assert await live.get("/v2/pods") == []
