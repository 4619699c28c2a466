"""What name servers are told of every app's running tasks and of Mesos itself, for names of single tasks in Mesos-DNS's scheme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shuren.domain.marathon.state import ActualApp, TaskState
from shuren.domain.service.observe import Agent, address_of, declared_ports, is_ip, mode
from shuren.domain.service.values import MesosNames, TaskAddress, TaskNames

FRAMEWORK = "marathon"
"""Under which Mesos-DNS has Marathon's tasks, by Marathon's usual framework name."""


def task_names(app: ActualApp, agents: Mapping[str, Agent]) -> TaskNames | None:
    """The running tasks of an app; None when none runs."""
    ports = declared_ports(app)
    own = mode(app) == "container"
    tasks: list[TaskAddress] = []
    for task in sorted(app.tasks, key=lambda t: t.id):
        if task.state is not TaskState.RUNNING:
            continue
        agent = agents.get(task.agent_id, Agent())
        numbered = []
        for port in ports:
            on_agent = task.ports[port.host] if port.host is not None and port.host < len(task.ports) else None
            number = port.container if own and port.container else on_agent
            if number is not None:
                numbered.append((number, port))
        tasks.append(
            TaskAddress(
                task=task.id,
                agent_id=task.agent_id,
                agent_address=address_of(task.host, agent),
                addresses=task.ip_addresses,
                ports=tuple(number for number, _ in numbered),
                port_names=tuple(port.name for _, port in numbered),
                protocols=tuple(",".join(port.protocols) for _, port in numbered),
            )
        )
    return TaskNames(app=app.id, framework=FRAMEWORK, tasks=tuple(tasks)) if tasks else None


def mesos_names(*, leader: str, masters: Iterable[str], agents: Iterable[Agent]) -> MesosNames:
    """`leader` and `masters` as `host:port`; only what is an IP address is told, since names cannot be answered with names here."""
    return MesosNames(
        leader=_host(leader),
        masters=tuple(sorted({host for master in masters if (host := _host(master))})),
        agents=tuple(sorted({agent.address for agent in agents if is_ip(agent.address)})),
    )


def _host(address: str) -> str:
    """The host of `host:port` if it is an IP address, else empty."""
    host = address.rpartition(":")[0].strip("[]")
    return host if is_ip(host) else ""
