"""Tasks of the engine: they run on addresses of their own sandbox, outlive the engine, and end with the sandbox."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from real_parts import NewSandbox
from shuren.devenv.background import Sandbox
from shuren.devenv.processes import marked
from shuren.devenv.progress import to_stderr
from waiting import eventually

WEB = {
    "id": "/web",
    "cmd": "sleep 1000 & exec python3 -m http.server $PORT0 --bind $HOST",
    "instances": 2,
    "cpus": 0.1,
    "mem": 32,
    "portDefinitions": [{"port": 0}],
}


@pytest.fixture
def with_engines(kube: Sandbox, new_sandbox: NewSandbox) -> Callable[..., Sandbox]:
    """A sandbox of engines alone: its cluster is that of `kube`."""

    def make(engines: int = 1, *, agents: int = 2) -> Sandbox:
        return new_sandbox(engines=engines, agents=agents, zookeepers=0, kubeconfig=Path(kube.endpoints.kubeconfig))

    return make


def marathon(sandbox: Sandbox, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        sandbox.endpoints.marathon_url + path, data=data, method=method, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def running(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [task for task in marathon(sandbox, "GET", "/v2/apps//web/tasks")["tasks"] if task["state"] == "TASK_RUNNING"]


def answers(task: dict[str, Any]) -> bool:
    try:
        with urllib.request.urlopen(f"http://{task['host']}:{task['ports'][0]}/", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def test_tasks_outlive_the_engine_and_end_with_the_sandbox(with_engines: Callable[..., Sandbox]) -> None:
    sandbox = with_engines()
    marathon(sandbox, "POST", "/v2/apps", WEB)
    eventually(lambda: len(running(sandbox)) == 2)
    tasks = running(sandbox)
    eventually(lambda: all(map(answers, tasks)))
    sandbox.kill("engine")
    assert all(map(answers, tasks))
    sandbox.start("engine")
    eventually(lambda: {task["id"] for task in running(sandbox)} == {task["id"] for task in tasks})
    sandbox.down(to_stderr)
    assert not any(map(answers, tasks))
    assert marked(sandbox.state().id) == []


def test_tasks_of_a_killed_sandbox_are_cleaned_though_nobody_knows_them_any_more(with_engines: Callable[..., Sandbox]) -> None:
    sandbox = with_engines()
    marathon(sandbox, "POST", "/v2/apps", WEB)
    eventually(lambda: len(running(sandbox)) == 2 and all(map(answers, running(sandbox))))
    tasks, state = running(sandbox), sandbox.state()
    sandbox.kill("engine")
    state.supervisor.signal(signal.SIGKILL)
    eventually(lambda: not state.supervisor.alive())
    assert all(map(answers, tasks))
    sandbox.down(to_stderr)
    assert not any(map(answers, tasks))
    assert marked(state.id) == []


def test_agents_of_two_sandboxes_do_not_share_addresses(with_engines: Callable[..., Sandbox]) -> None:
    def hosts(one: Sandbox) -> set[str]:
        with urllib.request.urlopen(one.endpoints.mesos_url + "/slaves", timeout=10) as answer:  # noqa: S310
            return {agent["hostname"] for agent in json.load(answer)["slaves"]}

    first, other = hosts(with_engines(agents=3)), hosts(with_engines(agents=4))
    assert (len(first), len(other)) == (3, 4)
    assert not first & other


def test_the_standby_engine_takes_over(with_engines: Callable[..., Sandbox]) -> None:
    sandbox = with_engines(2)
    first, second = sandbox.endpoints.marathon_urls
    marathon(sandbox, "POST", "/v2/apps", WEB)
    eventually(lambda: len(running(sandbox)) == 2)
    tasks = {task["id"] for task in running(sandbox)}

    def leader(url: str) -> str:
        with urllib.request.urlopen(url + "/v2/leader", timeout=5) as answer:  # noqa: S310
            return f"http://{json.load(answer)['leader']}"

    led_by = leader(first)
    stays = second if led_by == first else first
    sandbox.kill(f"engine={1 if led_by == first else 2}")

    def taken_over() -> bool:
        try:
            with urllib.request.urlopen(stays + "/v2/apps//web/tasks", timeout=5) as answer:  # noqa: S310
                return {task["id"] for task in json.load(answer)["tasks"]} == tasks and leader(stays) == stays
        except OSError:
            return False

    eventually(taken_over)
