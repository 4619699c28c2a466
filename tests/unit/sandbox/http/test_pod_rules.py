"""What Marathon takes for a pod and what it says about the rest: the rules of shape first, then those of sense, then those of roles."""

# ruff: noqa: E501 - tables read best with one case a line
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quiet_engine import QuietEngine
from shuren.sandbox.contract import Settings
from shuren.sandbox.http.app import build_app
from wire import Wire

Json = dict[str, Any]
CONTAINER: Json = {"name": "c", "resources": {"cpus": 0.1, "mem": 32}, "exec": {"command": {"shell": "sleep 1"}}}
POD: Json = {"id": "/p", "containers": [CONTAINER]}
DATA: Json = {
    "id": "/g/p",
    "role": "g",
    "containers": [CONTAINER | {"volumeMounts": [{"name": "data", "mountPath": "d"}]}],
    "volumes": [{"name": "data", "persistent": {"size": 10}}],
}


def violations(*pairs: tuple[str, str]) -> Json:
    return {"message": "Object is not valid", "details": [{"path": path, "errors": [error]} for path, error in pairs]}


def bad_shape(path: str, error: str) -> Json:
    return {"message": "Invalid JSON", "details": [{"path": path, "errors": [error]}]}


def with_container(**fields: Any) -> Json:
    return POD | {"containers": [CONTAINER | fields]}


@pytest.mark.parametrize(
    ("pod", "path", "error"),
    [
        (POD | {"containers": []}, "/containers", "error.minLength"),
        (with_container(exec={}), "/containers(0)/exec/command", "error.path.missing"),
        (with_container(exec=1), "/containers(0)/exec", "error.expected.jsobject"),
        (with_container(exec={"command": {}}), "/containers(0)/exec/command/argv", "'argv' is undefined on object: {}"),
        (with_container(exec={"command": {"argv": []}}), "/containers(0)/exec/command/argv", "error.minLength"),
        (with_container(exec={"command": {"shell": ""}}), "/containers(0)/exec/command/argv", "'argv' is undefined on object: {\"shell\":\"\"}"),
        (with_container(endpoints=[{"name": "e", "protocol": []}]), "/containers(0)/endpoints(0)/protocol", "error.minLength"),
        (with_container(environment={"1A": "x"}), "/containers(0)/environment/1A", "error.pattern"),
        (POD | {"environment": {"A-B": "x"}}, "/environment/A-B", "error.pattern"),
        (POD | {"environment": {"A" * 256: "x"}}, "/environment/" + "A" * 256, "error.pattern"),
        (with_container(image={"kind": "APPC", "id": "x"}), "/containers(0)/image/kind", "error.unknown.enum.literal"),
        (with_container(image={"kind": "DOCKER", "id": "x", "pullConfig": {"secret": ""}}), "/containers(0)/image/pullConfig/secret", "error.minLength"),
        (with_container(linuxInfo=1), "/containers(0)/linuxInfo", "error.expected.jsobject"),
        (POD | {"volumes": [{"name": ""}]}, "/volumes(0)/name", "error.minLength"),
        (POD | {"scaling": {"kind": "FIXED"}}, "/scaling", "error.expected.jsstring"),
        (POD | {"scaling": {"instances": 2}}, "/scaling", "error.expected.jsstring"),
        (POD | {"scheduling": {"placement": {"constraints": [{"fieldName": "a"}]}}}, "/scheduling/placement/constraints(0)/operator", "error.path.missing"),
        (POD | {"scheduling": {"placement": {"constraints": ["a"]}}}, "/scheduling/placement/constraints(0)", "error.expected.jsobject"),
    ],
)  # fmt: skip
async def test_shape(wire: Wire, pod: Json, path: str, error: str) -> None:
    reply = await wire.post("/v2/pods", pod)
    assert reply.status == 422
    assert reply.json["message"] == "Invalid JSON"
    found = {detail["path"]: detail["errors"] for detail in reply.json["details"]}
    assert found[path][0] == error


@pytest.mark.parametrize("given", [{}, None, 7])
async def test_resources_have_defaults(wire: Wire, given: Any) -> None:
    shown = (await wire.post("/v2/pods", with_container(resources=given))).json["containers"][0]["resources"]
    assert shown == {"cpus": 1.0, "mem": 128.0, "disk": 0.0, "gpus": 0}


async def test_what_does_not_fit_a_volume_makes_it_another(wire: Wire) -> None:
    """Marathon tries the kinds of volumes one after the other, and the last one only wants a name."""
    mounts = [{"name": "v", "mountPath": "/x"}]
    for volume in ({"persistent": {"size": "x"}}, {"secret": ""}, {"host": 1}):
        pod = with_container(volumeMounts=mounts) | {"id": f"/{next(iter(volume))}", "volumes": [{"name": "v", **volume}]}
        assert (await wire.post("/v2/pods", pod)).json["volumes"] == [{"name": "v"}]


async def test_what_is_no_number_of_instances_is_one(wire: Wire) -> None:
    for number, instances in enumerate(("x", 1.5, None, 10**20)):
        reply = await wire.post("/v2/pods", POD | {"id": f"/p{number}", "scaling": {"kind": "fixed", "instances": instances}})
        assert reply.json["scaling"] == {"kind": "fixed", "instances": 1}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": "p"}, [("/id", "Path needs to be absolute")]),
        ({"user": ""}, [("/user", "must not be empty")]),
        ({"containers": [CONTAINER, CONTAINER]}, [("/containers", "container names must be unique")]),
        ({"volumes": [{"name": "v"}]}, [("/volumes(0)", "volume must be referenced by at least one container")]),
        ({"networks": [{"mode": "host"}, {"mode": "host"}]}, [("/networks", "May specify a single host network, single bridge network, or else 1-to-n container networks")]),
        ({"networks": [{"mode": "container"}]}, [("/networks", "Network name must be specified when container network is selected.")]),
        ({"scaling": {"kind": "fixed", "instances": -1}}, [("/scaling/instances", "got -1, expected 0 or more")]),
        ({"linuxInfo": {"seccomp": {}}}, [("/linuxInfo/seccomp", "Seccomp configuration on executor level is not supported")]),
        ({"linuxInfo": {"ipcInfo": {"mode": "SHARE_PARENT", "shmSize": 1}}}, [("/linuxInfo/ipcInfo", "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT")]),
        ({"role": "x"}, [("/role", "got x, expected one of: [*]")]),
        ({"scheduling": {"placement": {"acceptedResourceRoles": ["x"]}}}, [("/acceptedResourceRoles", "acceptedResourceRoles can only contain *")]),
        ({"scheduling": {"placement": {"constraints": [{"fieldName": "a", "operator": "UNIQUE", "value": "x"}]}}},
         [("/scheduling/placement/constraints", "must be empty"), ("/scheduling/placement/constraints(0)", "UNIQUE does not accept a value")]),
        ({"scheduling": {"placement": {"constraints": [{"fieldName": "", "operator": "UNIQUE"}]}}},
         [("/scheduling/placement/constraints", "must be empty"), ("/scheduling/placement/constraints(0)", "missing field for constraint declaration")]),
    ],
)  # fmt: skip
async def test_sense(wire: Wire, change: Json, expected: list[tuple[str, str]]) -> None:
    reply = await wire.post("/v2/pods", POD | change)
    assert (reply.status, reply.json) == (422, violations(*expected))


async def test_secrets_need_the_feature(wire: Wire) -> None:
    reply = await wire.post("/v2/pods", POD | {"secrets": {"s": {"source": "/x"}}})
    errors = ["must be empty", "Feature secrets is not enabled. Enable with --enable_features secrets)"]
    assert reply.json == {"message": "Object is not valid", "details": [{"path": "/secrets", "errors": errors}]}


@pytest.mark.parametrize(
    ("container", "path", "error"),
    [
        ({"endpoints": [{"name": "e", "containerPort": 80}], "healthCheck": {"http": {"endpoint": "x"}}}, "/healthCheck/http/endpoint", "contained in the container endpoints"),
        ({"healthCheck": {}}, "/healthCheck", "Only one of http, tcp, or command may be specified"),
        ({"healthCheck": {"exec": {"command": {"shell": "x"}}, "timeoutSeconds": 60}}, "/healthCheck/timeoutSeconds", "got 60, expected less than 60"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/x"}]}, "/volumeMounts(0)/name", "Referenced Volume in VolumeMount should exist"),
        ({"resourceLimits": {"cpus": 0.05}}, "/resourceLimits/cpus", "resource limit must be greater than or equal to requested resource (0.1)"),
        ({"resourceLimits": {"mem": "much"}}, "/resourceLimits/mem", "'much' is an invalid resource limit. It must be 'unlimited' or a number"),
        ({"endpoints": [{"name": "e", "protocol": ["tcp", "tcp"]}]}, "/endpoints(0)/protocol", "Duplicate protocols within the same endpoint are not allowed"),
        ({"linuxInfo": {"seccomp": {"profileName": "", "unconfined": True}}}, "/linuxInfo/seccomp", "Seccomp unconfined can NOT be true when Profile is defined"),
        ({"linuxInfo": {"seccomp": {"unconfined": "yes"}}}, "/linuxInfo/seccomp", "Seccomp unconfined must be true when Profile is NOT defined"),
    ],
)  # fmt: skip
async def test_sense_of_containers(wire: Wire, container: Json, path: str, error: str) -> None:
    reply = await wire.post("/v2/pods", with_container(**container))
    assert reply.json == violations((f"/containers(0){path}", error))


async def test_names_and_ports_of_endpoints_are_for_the_whole_pod(wire: Wire) -> None:
    ends = [{"name": "e", "hostPort": 31000, "containerPort": 80}]
    pod = POD | {"networks": [{"name": "n"}], "containers": [CONTAINER | {"endpoints": ends}, CONTAINER | {"name": "d", "endpoints": ends}]}
    (detail,) = (await wire.post("/v2/pods", pod)).json["details"]
    assert detail == {
        "path": "/",
        "errors": [
            "endpoint names nust be unique across all containers",
            "container ports must be unique across all containers",
            "host ports must be unique across all containers",
        ],
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"role": "*"}, [("/role", "Resident pods cannot have the role *")]),
        ({"scheduling": {"unreachableStrategy": {}}}, [("/", "unreachableStrategy must be disabled for pods with persistent volumes")]),
        ({"scheduling": {"upgrade": {"maximumOverCapacity": 0.1}}}, [("/upgrade/maximumOverCapacity", "got 0.1, expected 0.0")]),
    ],
)
async def test_pods_that_keep_data(wire: Wire, change: Json, expected: list[tuple[str, str]]) -> None:
    reply = await wire.post("/v2/pods", DATA | change)
    assert (reply.status, reply.json) == (422, violations(*expected))


async def test_pods_that_keep_data_take_resources_of_everybody(wire: Wire) -> None:
    reply = await wire.post("/v2/pods", DATA | {"scheduling": {"placement": {"acceptedResourceRoles": ["*", "g"]}}})
    errors = ["must be empty", 'A resident pod must have `acceptedResourceRoles = ["*"]`.']
    assert reply.json == {"message": "Object is not valid", "details": [{"path": "/acceptedResourceRoles", "errors": errors}]}
    shown = (await wire.post("/v2/pods", DATA)).json["scheduling"]
    assert (shown["unreachableStrategy"], shown["upgrade"]) == ("disabled", {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.0})


async def test_pods_that_keep_data_change_little(wire: Wire) -> None:
    assert (await wire.post("/v2/pods", DATA)).status == 201
    bigger = DATA | {
        "containers": [DATA["containers"][0] | {"resources": {"cpus": 0.2, "mem": 32}, "endpoints": [{"name": "e", "hostPort": 1}]}]
    }
    assert (await wire.put("/v2/pods/g/p", bigger)).json["details"] == [
        {
            "path": "/pod(0)",
            "errors": [
                "cpus cannot be updated if a pod has persistent volumes",
                "host ports cannot be updated if a pod has persistent volumes",
            ],
        }
    ]
    other = DATA | {"volumes": [{"name": "data", "persistent": {"size": 20}}]}
    assert (await wire.put("/v2/pods/g/p", other)).json == violations(("/pod(0)", "persistent volumes cannot be updated"))


async def test_a_pod_that_parts_with_its_data(wire: Wire) -> None:
    """It is refused for the strategy, too, that such a pod has by default."""
    assert (await wire.post("/v2/pods", DATA)).status == 201
    container = {key: value for key, value in DATA["containers"][0].items() if key != "volumeMounts"}
    reply = await wire.put("/v2/pods/g/p", {**DATA, "volumes": [], "containers": [container]})
    assert reply.json == violations(
        ("/pod(0)", "persistent volumes cannot be updated"), ("/pod(0)/upgradeStrategy/maximumOverCapacity", "got 1.0, expected 0.0")
    )


async def test_a_put_that_changes_nothing_answers_with_the_version_that_it_would_have_got(wire: Wire) -> None:
    created = (await wire.post("/v2/pods", POD)).json
    put = (await wire.put("/v2/pods/p", POD)).json
    assert put["version"] > created["version"]
    assert {**put, "version": created["version"]} == created == (await wire.get("/v2/pods/p")).json


async def test_put_creates_a_pod_that_is_not_there(wire: Wire, engine: QuietEngine) -> None:
    reply = await wire.put("/v2/pods/p", POD)
    assert (reply.status, reply.json["id"], "Location" in reply.headers) == (200, "/p", False)
    assert [kind for kind, _ in engine.published] == ["pod_updated_event"]


async def test_rules_of_shape_and_sense_come_before_the_id_of_the_path(wire: Wire) -> None:
    assert (await wire.put("/v2/pods/x", POD)).status == 400
    assert (await wire.put("/v2/pods/x", POD | {"user": ""})).status == 422
    assert (await wire.put("/v2/pods/x", POD | {"role": "nobody"})).status == 400


async def test_apps_that_keep_data_take_resources_of_everybody(wire: Wire) -> None:
    volumes = [{"containerPath": "d", "mode": "RW", "persistent": {"size": 1}}]
    app = {"id": "/g/a", "cmd": "sleep 1", "role": "g", "container": {"type": "MESOS", "volumes": volumes}}
    reply = await wire.post("/v2/apps", app | {"acceptedResourceRoles": ["g", "*"]})
    assert reply.json == violations(("/acceptedResourceRoles", 'A resident app must have `acceptedResourceRoles = ["*"]`.'))
    assert (await wire.post("/v2/apps", app | {"acceptedResourceRoles": ["*"]})).status == 201


@pytest.mark.parametrize("kind", ["apps", "pods"])
async def test_reservations_keep_their_role_unless_forced(kind: str) -> None:
    engine = QuietEngine()
    engine.settings = replace(Settings(), mesos_role="m")
    app = {
        "id": "/g/p",
        "cmd": "sleep 1",
        "role": "g",
        "container": {"type": "MESOS", "volumes": [{"containerPath": "d", "mode": "RW", "persistent": {"size": 1}}]},
    }
    body = app if kind == "apps" else DATA
    async with Wire(build_app(engine, address=engine.address)) as wire:
        assert (await wire.post(f"/v2/{kind}", body)).status == 201
        refused = await wire.put(f"/v2/{kind}/g/p", body | {"role": "m"})
        assert refused.status == 422
        (detail,) = refused.json["details"]
        assert detail["path"] == "/role"
        assert "will continue to run under the previous role, g. Only new instances" in detail["errors"][0]
        assert detail["errors"][0].endswith("retry your request with ?force=true")
        assert (await wire.put(f"/v2/{kind}/g/p?force=true", body | {"role": "m"})).status == 200
