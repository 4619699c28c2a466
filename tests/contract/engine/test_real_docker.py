"""`--runner docker` on a real Docker Engine: images, ports, environment, limits, checks, logs, failures, and a runner that is killed."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docker_daemon import IMAGE, Daemon, daemon, missing
from engine_program import Program
from waiting import eventually

pytestmark = [pytest.mark.contract, pytest.mark.skipif(missing() is not None, reason=f"no Docker Engine to start: {missing()}")]

Json = dict[str, Any]
WEB = "env > /www/env; echo up; echo oops >&2; exec httpd -f -p 80 -h /www"
BRIDGED = {
    "type": "DOCKER",
    "docker": {"image": IMAGE},
    "portMappings": [{"containerPort": 80, "hostPort": 0, "name": "web"}],
}


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("docker")) as found:
        yield found


@contextlib.contextmanager
def program(directory: Path, docker: Daemon, *flags: str) -> Iterator[Program]:
    running = Program(directory, "--runner", "docker", "--docker-socket", str(docker.socket), *flags)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
        running.process.wait(30)
        assert running.process.stdout is not None
        running.process.stdout.close()


def app_of(running: Program, app_id: str) -> Json:
    status, body = running.call("GET", f"/v2/apps{app_id}")
    assert status == 200
    found: Json = body["app"]
    return found


def fetched(url: str) -> str:
    host, _, path = url.partition("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request("GET", "/" + path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_a_container_has_ports_environment_limits_checks_and_logs_and_outlives_the_engine(tmp_path: Path, docker: Daemon) -> None:
    check = {
        "protocol": "COMMAND",
        "command": {"value": "test -e /www/env"},
        "gracePeriodSeconds": 5,
        "intervalSeconds": 1,
        "delaySeconds": 0,
    }
    body = {
        "cmd": WEB, "cpus": 0.25, "mem": 64, "env": {"GREETING": "你好"}, "container": BRIDGED, "healthChecks": [check],
        "networks": [{"mode": "container/bridge"}], "labels": {"tier": "front"},
    }  # fmt: skip
    with program(tmp_path, docker) as first:
        assert first.call("PUT", "/v2/apps/shop/web", body)[0] == 201
        eventually(lambda: app_of(first, "/shop/web")["tasksHealthy"] == 1, seconds=60)
        (task,) = app_of(first, "/shop/web")["tasks"]
        (port,) = task["ports"]
        environment = dict(line.split("=", 1) for line in fetched(f"{task['host']}:{port}/env").splitlines() if "=" in line)
        assert environment["GREETING"] == "你好"
        assert (environment["PORT0"], environment["PORT_80"], environment["PORT_WEB"]) == (str(port), str(port), str(port))
        assert (environment["MARATHON_APP_ID"], environment["MESOS_TASK_ID"], environment["HOST"]) == (
            "/shop/web",
            task["id"],
            task["host"],
        )
        assert (environment["MARATHON_APP_DOCKER_IMAGE"], environment["MARATHON_APP_LABEL_TIER"]) == (IMAGE, "front")
        (container,) = docker.containers()
        told = docker.inspect(container["Id"])
        assert (told["HostConfig"]["Memory"], told["HostConfig"]["CpuShares"]) == (64 * 2**20, 256)
        assert told["Config"]["Labels"]["MESOS_TASK_ID"] == task["id"]
        (inside,) = [address["ipAddress"] for address in task["ipAddresses"]]
        assert inside == told["NetworkSettings"]["IPAddress"]
        sandbox = Path(first.call("GET", f"/sandbox/tasks/{task['id']}/directory")[1]["directory"])
        eventually(lambda: ((sandbox / "stdout").read_text(), (sandbox / "stderr").read_text()) == ("up\n", "oops\n"))
        os.kill(first.process.pid, signal.SIGKILL)
    with program(tmp_path, docker, "--kill-tasks-on-exit") as second:
        eventually(lambda: app_of(second, "/shop/web")["tasksHealthy"] == 1, seconds=60)
        assert [t["id"] for t in app_of(second, "/shop/web")["tasks"]] == [task["id"]]
        assert [(c["Id"], docker.inspect(c["Id"])["RestartCount"]) for c in docker.containers()] == [(container["Id"], 0)]
        assert second.call("DELETE", "/v2/apps/shop/web")[0] == 200
        eventually(lambda: docker.containers() == [], seconds=60)


def test_what_a_container_says_at_its_end_is_the_tasks_failure(tmp_path: Path, docker: Daemon) -> None:
    host = {"type": "DOCKER", "docker": {"image": IMAGE}}
    patient = {"backoffSeconds": 3600, "maxLaunchDelaySeconds": 3600, "cpus": 0.1, "mem": 32}
    with program(tmp_path, docker, "--kill-tasks-on-exit") as running:
        assert running.call("PUT", "/v2/apps/ends", {"cmd": "exit 7", "container": host, **patient})[0] == 201
        assert running.call("PUT", "/v2/apps/absent", {"container": {"docker": {"image": "tests/nosuch:1"}}, **patient})[0] == 201

        def failure(app_id: str) -> tuple[str, str]:
            found = app_of(running, app_id).get("lastTaskFailure", {})
            return found.get("state", ""), found.get("message", "")

        eventually(lambda: failure("/ends") == ("TASK_FAILED", "Container exited with status 7"), seconds=60)
        eventually(lambda: failure("/absent")[0] == "TASK_FAILED", seconds=120)
        assert failure("/absent")[1].startswith("Failed to launch container: ")
        assert "nosuch" in failure("/absent")[1] or "lookup" in failure("/absent")[1] or "registry" in failure("/absent")[1]
        eventually(lambda: docker.containers() == [], seconds=30)
