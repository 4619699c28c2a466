"""What is asked of Docker for a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shuren.sandbox.runners.docker_request import (
    DEFAULT_IMAGE,
    LABEL,
    container_address,
    container_name,
    container_request,
    further_networks,
    split_image,
)
from shuren.sandbox.runners.port import Launch

Json = dict[str, Any]


def request(*, ports: tuple[int, ...] = (31_001,), volumes: tuple[Any, ...] = (), **definition: Any) -> Json:
    launch = Launch(
        task_id="t", app_id="/a", agent_id="S0", host="127.0.0.2", environment={"A": "1"}, ports=ports, directory=Path("/box"),
        definition=definition, volumes=volumes,
    )  # fmt: skip
    return container_request(launch)


def with_parameter(key: str, value: str) -> Json:
    return request(cmd="x", container={"docker": {"image": "i", "parameters": [{"key": key, "value": value}]}})


def test_image_command_environment_and_labels() -> None:
    body = request(cmd="serve", user="www", container={"docker": {"image": "web:1", "privileged": True}})
    assert (body["Image"], body["Entrypoint"], body["Cmd"], body["User"]) == ("web:1", ["/bin/sh"], ["-c", "serve"], "www")
    assert set(body["Env"]) == {"A=1", "MESOS_SANDBOX=/mnt/mesos/sandbox"}
    assert body["Labels"] == {LABEL: "t"}
    assert body["HostConfig"]["Privileged"] is True
    assert container_name("t") == container_name("t") != container_name("u")


def test_arguments_go_to_the_images_own_entrypoint() -> None:
    body = request(args=["a", "b"], container={"docker": {"image": "web"}})
    assert (body["Cmd"], "Entrypoint" in body) == (["a", "b"], False)


def test_a_plain_command_gets_a_small_image_on_the_host() -> None:
    body = request(cmd="x")
    assert (body["Image"], body["HostConfig"]["NetworkMode"], "PortBindings" in body["HostConfig"]) == (DEFAULT_IMAGE, "host", False)


def test_a_container_of_a_pod() -> None:
    body = request(image={"kind": "DOCKER", "id": "web:2"}, exec={"command": {"shell": "serve"}}, resources={"cpus": 1})
    assert (body["Image"], body["Cmd"]) == ("web:2", ["-c", "serve"])


def test_ports_of_a_bridge_are_published_at_the_agents_address() -> None:
    mappings = [
        {"containerPort": 80, "hostPort": 0, "protocol": "udp,tcp"}, {"containerPort": 0, "hostPort": 0},
        {"containerPort": 90, "hostPort": 0, "protocol": "tcp"},
    ]  # fmt: skip
    body = request(ports=(31_001, 31_002, 31_003), networks=[{"mode": "container/bridge"}], container={"portMappings": mappings})
    published = {key: bindings[0]["HostPort"] for key, bindings in body["HostConfig"]["PortBindings"].items()}
    assert published == {"80/udp": "31001", "80/tcp": "31001", "31002/tcp": "31002", "90/tcp": "31003"}
    assert body["HostConfig"]["PortBindings"]["90/tcp"] == [{"HostIp": "127.0.0.2", "HostPort": "31003"}]
    assert set(body["ExposedPorts"]) == set(published)
    assert body["HostConfig"]["NetworkMode"] == "bridge"


def test_container_networks() -> None:
    networks = [{"mode": "container", "name": "one"}, {"mode": "container", "name": "two"}]
    mappings = [{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]
    body = request(networks=networks, container={"portMappings": mappings})
    assert body["HostConfig"]["NetworkMode"] == "one"
    assert set(body["HostConfig"]["PortBindings"]) == {"81/tcp"}
    assert further_networks({"networks": networks}) == ["two"]


def test_volumes() -> None:
    volumes = [{"containerPath": "/data", "hostPath": "/srv", "mode": "RO"}, {"containerPath": "/log", "hostPath": "/var", "mode": "RW"}]
    body = request(container={"volumes": volumes}, volumes=({"containerPath": "state", "path": "/agents/v1"},))
    assert body["HostConfig"]["Binds"] == ["/box:/mnt/mesos/sandbox", "/srv:/data:ro", "/var:/log", "/agents/v1:/mnt/mesos/sandbox/state"]


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"cpus": 0.5, "mem": 64}, {"CpuShares": 512, "Memory": 64 * 2**20}),
        ({"cpus": 0.0001, "mem": 0}, {"CpuShares": 2, "Memory": 0}),
        (
            {"cpus": 1, "mem": 64, "resourceLimits": {"cpus": 2.5, "mem": 128}},
            {"CpuQuota": 250_000, "Memory": 2**27, "MemoryReservation": 2**26},
        ),
        ({"cpus": 1, "mem": 64, "resourceLimits": {"cpus": "unlimited", "mem": "unlimited"}}, {"Memory": 0, "MemoryReservation": 2**26}),
        ({"gpus": 2}, {"DeviceRequests": [{"Count": 2, "Capabilities": [["gpu"]]}]}),
    ],
)
def test_resources(definition: Json, expected: Json) -> None:
    host = request(cmd="x", **definition)["HostConfig"]
    assert {key: host[key] for key in expected} == expected
    assert ("CpuQuota" in host) == ("CpuQuota" in expected)


@pytest.mark.parametrize(
    ("key", "value", "place", "expected"),
    [
        ("e", "B=2", "Env", ["A=1", "MESOS_SANDBOX=/mnt/mesos/sandbox", "B=2"]),
        ("label", "a=b", "Labels", {LABEL: "t", "a": "b"}),
        ("hostname", "h", "Hostname", "h"),
        ("workdir", "/w", "WorkingDir", "/w"),
        ("interactive", "true", "OpenStdin", True),
        ("v", "/a:/b:ro", "HostConfig.Binds", ["/box:/mnt/mesos/sandbox", "/a:/b:ro"]),
        ("cap-add", "NET_ADMIN", "HostConfig.CapAdd", ["NET_ADMIN"]),
        ("log-driver", "json-file", "HostConfig.LogConfig", {"Type": "json-file"}),
        ("log-opt", "max-size=1m", "HostConfig.LogConfig", {"Config": {"max-size": "1m"}}),
        ("memory-swap", "1g", "HostConfig.MemorySwap", 2**30),
        ("shm-size", "64", "HostConfig.ShmSize", 64),
        ("read-only", "false", "HostConfig.ReadonlyRootfs", False),
        ("ulimit", "nofile=100:200", "HostConfig.Ulimits", [{"Name": "nofile", "Soft": 100, "Hard": 200}]),
        ("ulimit", "nofile=100", "HostConfig.Ulimits", [{"Name": "nofile", "Soft": 100, "Hard": 100}]),
        ("device", "/dev/k:/d", "HostConfig.Devices", [{"PathOnHost": "/dev/k", "PathInContainer": "/d", "CgroupPermissions": "rwm"}]),
        ("tmpfs", "/run:size=1m", "HostConfig.Tmpfs", {"/run": "size=1m"}),
        ("sysctl", "net.core.somaxconn=1024", "HostConfig.Sysctls", {"net.core.somaxconn": "1024"}),
        ("cpus", "1.5", "HostConfig.NanoCpus", 1_500_000_000),
        ("net", "mine", "HostConfig.NetworkMode", "mine"),
    ],
)  # fmt: skip
def test_parameters(key: str, value: str, place: str, expected: Any) -> None:
    found: Any = with_parameter(key, value)
    for part in place.split("."):
        found = found[part]
    assert found == expected


@pytest.mark.parametrize(("key", "value", "word"), [("nope", "1", "is not known here"), ("memory", "lots", "'lots' is no good value")])
def test_parameters_that_cannot_be_passed_on(key: str, value: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        with_parameter(key, value)


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("nginx", ("nginx", "latest")),
        ("nginx:1.25", ("nginx", "1.25")),
        ("reg:5000/team/web", ("reg:5000/team/web", "latest")),
        ("reg:5000/team/web:v1", ("reg:5000/team/web", "v1")),
        ("web@sha256:abc", ("web", "sha256:abc")),
    ],
)
def test_images(image: str, parts: tuple[str, str]) -> None:
    assert split_image(image) == parts


def test_addresses() -> None:
    assert container_address({"NetworkSettings": {"IPAddress": "1.2.3.4"}}) == "1.2.3.4"
    assert container_address({"NetworkSettings": {"IPAddress": "", "Networks": {"a": {"IPAddress": "5.6.7.8"}}}}) == "5.6.7.8"
    assert container_address({"NetworkSettings": {"Networks": {"host": {"IPAddress": ""}}}}) is None
    assert container_address({}) is None
