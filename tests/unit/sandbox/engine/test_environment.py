"""What a task finds in its environment (Marathon 1.11, reference §7)."""

# ruff: noqa: E501 - a table reads best with one definition a line

from __future__ import annotations

from typing import Any

import pytest

from shuren.sandbox.engine.environment import mesos_environment, pod_environment, task_environment, wanted_ports

Json = dict[str, Any]
APP: Json = {"id": "/shop/web", "version": "2026-01-01T00:00:00.000Z", "cpus": 0.1, "mem": 128.0, "disk": 0.0, "gpus": 0}
MESOS = {"MESOS_TASK_ID": "t", "MESOS_SANDBOX": "/box"}
DOCKER = {"type": "DOCKER", "docker": {"image": "nginx"}}


def env(definition: Json, ports: list[int], **options: Any) -> dict[str, str]:
    return task_environment({**APP, **definition}, mesos=MESOS, host="127.0.0.2", host_ports=ports, **options)


def ports_of(found: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if name.startswith("PORT")}


def test_what_every_task_has() -> None:
    assert env({"portDefinitions": []}, []) == {
        **MESOS,
        "MARATHON_APP_ID": "/shop/web",
        "MARATHON_APP_VERSION": "2026-01-01T00:00:00.000Z",
        "MARATHON_APP_RESOURCE_CPUS": "0.1",
        "MARATHON_APP_RESOURCE_MEM": "128.0",
        "MARATHON_APP_RESOURCE_DISK": "0.0",
        "MARATHON_APP_RESOURCE_GPUS": "0",
        "MARATHON_APP_LABELS": "",
        "MARATHON_APP_ENFORCE_GROUP_ROLE": "FALSE",
        "HOST": "127.0.0.2",
    }


@pytest.mark.parametrize(
    ("container", "image"),
    [(DOCKER, "nginx"), ({"docker": {"image": "nginx"}, "type": "MESOS"}, None), ({"type": "MESOS"}, None), ({}, None)],
)
def test_the_image_is_told_for_the_docker_engine_only(container: Json, image: str | None) -> None:
    assert env({"container": container} if container else {}, []).get("MARATHON_APP_DOCKER_IMAGE") == image


@pytest.mark.parametrize(("enforces", "told"), [(True, "TRUE"), (False, "FALSE")])
def test_the_group_role(*, enforces: bool, told: str) -> None:
    assert env({}, [], enforce_group_role=enforces)["MARATHON_APP_ENFORCE_GROUP_ROLE"] == told


def test_labels() -> None:
    labels = {"a.b--c": "x", ".lead": "y", "long": "v" * 512, "k" * 493: "z", "k" * 492: "fits", "v": "w" * 511}
    found = env({"labels": labels}, [])
    named = {name: value for name, value in found.items() if name.startswith("MARATHON_APP_LABEL_")}
    assert named == {
        "MARATHON_APP_LABEL_A_B_C": "x",
        "MARATHON_APP_LABEL__LEAD": "y",
        "MARATHON_APP_LABEL_" + "K" * 492: "fits",
        "MARATHON_APP_LABEL_V": "w" * 511,
    }
    assert found["MARATHON_APP_LABELS"].split() == ["A_B_C", "_LEAD", "K" * 492, "V"]


PORT_CASES: dict[str, tuple[Json, list[int], dict[str, str]]] = {
    "host": (
        {"portDefinitions": [{"port": 10_000, "name": "http"}, {"port": 0, "name": "admin-api"}]},
        [31_001, 31_002],
        {
            "PORT": "31001", "PORT0": "31001", "PORT1": "31002", "PORTS": "31001,31002", "PORT_10000": "31001", "PORT_HTTP": "31001",
            "PORT_31002": "31002", "PORT_ADMIN-API": "31002",
        },
    ),
    "bridge": (
        {"networks": [{"mode": "container/bridge"}], "container": {**DOCKER, "portMappings": [{"containerPort": 80, "hostPort": 0, "name": "web"}]}},
        [31_005],
        {"PORT": "31005", "PORT0": "31005", "PORTS": "31005", "PORT_80": "31005", "PORT_WEB": "31005"},
    ),
    "container without host ports": (
        {"networks": [{"mode": "container", "name": "n"}], "container": {**DOCKER, "portMappings": [{"containerPort": 80, "name": "web"}]}},
        [],
        {"PORT0": "80", "PORTS": "", "PORT_80": "80", "PORT_WEB": "80"},
    ),
    "container with one of two on the host": (
        {"networks": [{"mode": "container", "name": "n"}], "container": {**DOCKER, "portMappings": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]}},
        [31_007],
        {"PORT": "31007", "PORT0": "80", "PORT1": "31007", "PORTS": "31007", "PORT_80": "80", "PORT_81": "31007"},
    ),
    "container port left to Marathon": (
        {"networks": [{"mode": "container", "name": "n"}], "container": {**DOCKER, "portMappings": [{"containerPort": 0, "name": "any"}, {"containerPort": 1025, "hostPort": 0}]}},
        [31_008],
        {"PORT": "31008", "PORT0": "1026", "PORT1": "31008", "PORTS": "31008,1026", "PORT_1026": "1026", "PORT_1025": "31008", "PORT_ANY": "0"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PORT_CASES)
def test_ports(name: str) -> None:
    definition, ports, expected = PORT_CASES[name]
    assert ports_of(env(definition, ports)) == expected


def test_the_prefix_is_for_host_and_ports() -> None:
    found = env({"portDefinitions": [{"port": 0}], "env": {"MINE": "1"}}, [31_001], prefix="X_")
    assert (found["X_PORT0"], found["X_PORTS"], found["X_HOST"], found["MINE"]) == ("31001", "31001", "127.0.0.2", "1")
    assert not ports_of(found)
    assert "HOST" not in found
    assert found["MARATHON_APP_ID"] == "/shop/web"


def test_the_apps_own_environment_wins_and_secrets_stay_out() -> None:
    mine = {"PORT0": "mine", "MARATHON_APP_ID": "me", "MESOS_TASK_ID": "t0", "S": {"secret": "s"}}
    found = env({"portDefinitions": [{"port": 0}], "env": mine}, [31_001])
    assert (found["PORT0"], found["PORT"], found["MARATHON_APP_ID"], found["MESOS_TASK_ID"]) == ("mine", "31001", "me", "t0")
    assert "S" not in found


def test_which_host_ports_are_wanted() -> None:
    mapping = {"portMappings": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}, {"containerPort": 82, "hostPort": 9000}]}
    assert wanted_ports({"networks": [{"mode": "container/bridge"}], "container": mapping}) == [0, 0, 9000]
    assert wanted_ports({"networks": [{"mode": "container", "name": "n"}], "container": mapping}) == [0, 9000]
    assert wanted_ports({"portDefinitions": [{"port": 31_500}]}) == [0]
    assert wanted_ports({"portDefinitions": [{"port": 31_500}], "requirePorts": True}) == [31_500]


def test_a_container_of_a_pod() -> None:
    web = {
        "name": "web",
        "resources": {"cpus": 0.5, "mem": 64.0, "disk": 0.0, "gpus": 0},
        "endpoints": [{"name": "http-api", "containerPort": 80, "hostPort": 0}],
        "environment": {"A": "container"},
        "labels": {"tier": "front"},
    }
    side = {"name": "side", "resources": {"cpus": 0.1, "mem": 32.0}, "endpoints": [{"name": "stats", "containerPort": 90}]}
    pod = {"id": "/p", "version": "v", "containers": [web, side], "environment": {"A": "pod", "B": "pod"}, "labels": {"x": "y"}}
    found = pod_environment(pod, web, mesos=MESOS, host="h", host_ports=[31_001], prefix="X_")
    assert found == {
        **MESOS,
        "MARATHON_APP_ID": "/p",
        "MARATHON_APP_VERSION": "v",
        "MARATHON_APP_ENFORCE_GROUP_ROLE": "FALSE",
        "MARATHON_CONTAINER_ID": "web",
        "MARATHON_CONTAINER_RESOURCE_CPUS": "0.5",
        "MARATHON_CONTAINER_RESOURCE_MEM": "64.0",
        "MARATHON_CONTAINER_RESOURCE_DISK": "0.0",
        "MARATHON_CONTAINER_RESOURCE_GPUS": "0",
        "MARATHON_APP_LABELS": "X TIER",
        "MARATHON_APP_LABEL_X": "y",
        "MARATHON_APP_LABEL_TIER": "front",
        "X_HOST": "h",
        "X_EP_HOST_HTTP_API": "31001",
        "X_EP_CONTAINER_HTTP_API": "80",
        "X_EP_CONTAINER_STATS": "90",
        "A": "container",
        "B": "pod",
    }


def test_what_mesos_gives() -> None:
    instance = "web.instance-d3370268-e77a-11f1-b0c6-02fc00000001"
    found = mesos_environment(task_id=f"{instance}._app.1", instance_id=instance, agent_id="S0", framework_id="F", sandbox="/box")
    assert found == {
        "MESOS_TASK_ID": f"{instance}._app.1",
        "MESOS_SANDBOX": "/box",
        "MESOS_DIRECTORY": "/box",
        "MESOS_EXECUTOR_ID": f"{instance}._app.1",
        "MESOS_FRAMEWORK_ID": "F",
        "MESOS_SLAVE_ID": "S0",
        "MESOS_CONTAINER_NAME": "mesos-d3370268-e77a-11f1-b0c6-02fc00000001",
    }
