"""What name servers are told of tasks and of Mesos."""

from __future__ import annotations

from typing import Any

from shuren.domain.marathon.state import ActualApp, Task, TaskState
from shuren.domain.service.directory import mesos_names, task_names
from shuren.domain.service.observe import Agent
from shuren.domain.service.values import MesosNames, TaskAddress

AT = "2026-01-01T00:00:00.000Z"


def app(definition: dict[str, Any], *tasks: Task) -> ActualApp:
    return ActualApp(
        id="/shop/web",
        definition=definition,
        version=AT,
        last_config_change_at=AT,
        last_scaling_at=AT,
        instances=len(tasks),
        tasks=tasks,
    )


def task(state: TaskState = TaskState.RUNNING, **fields: Any) -> Task:
    given: dict[str, Any] = {"id": "web.1", "app_id": "/shop/web", "state": state, "host": "agent-1", "agent_id": "S1"}
    return Task(**(given | fields))


def test_a_task_on_its_agents_network() -> None:
    given = app(
        {"networks": [{"mode": "host"}], "portDefinitions": [{"name": "http"}, {"protocol": "udp,tcp"}]}, task(ports=(31000, 31001))
    )
    names = task_names(given, {"S1": Agent(address="10.0.0.1")})
    assert names is not None
    assert names.tasks == (
        TaskAddress(
            task="web.1",
            agent_id="S1",
            agent_address="10.0.0.1",
            ports=(31000, 31001),
            port_names=("http", ""),
            protocols=("tcp", "tcp,udp"),
        ),
    )


def test_a_task_with_an_address_of_its_own() -> None:
    mappings = [{"containerPort": 80, "name": "http"}, {"containerPort": 0}]
    definition = {"networks": [{"mode": "container", "name": "n"}], "container": {"portMappings": mappings}}
    names = task_names(app(definition, task(ip_addresses=("172.16.0.9",))), {})
    assert names is not None
    assert (names.tasks[0].addresses, names.tasks[0].ports, names.tasks[0].agent_address) == (("172.16.0.9",), (80,), "agent-1")


def test_only_running_tasks_are_told() -> None:
    assert task_names(app({}, task(TaskState.STAGING), task(TaskState.FAILED)), {}) is None


def test_only_addresses_of_mesos_are_told() -> None:
    given = mesos_names(
        leader="10.0.0.1:5050", masters=["10.0.0.1:5050", "mesos-2:5050", "[::1]:5050"], agents=[Agent(address="10.0.0.9"), Agent()]
    )
    assert given == MesosNames(leader="10.0.0.1", masters=("10.0.0.1", "::1"), agents=("10.0.0.9",))
