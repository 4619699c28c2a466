"""All agents of the sandbox: from a file or a count, changed at run time, kept across restarts."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from shuren.sandbox.agents.agent import Agent, AgentSpec, AgentState, Resources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEFAULT = Resources(cpus=16.0, mem=16_384.0, disk=200_000.0)
"""Of each agent made by `--agents N`: generous, since they share one machine and nothing is enforced."""


def numbered(count: int) -> list[AgentSpec]:
    """`--agents N`: 127.0.0.1, 127.0.0.2, … with a rack attribute that alternates and one zone per two agents."""
    specs = []
    for i in range(count):
        high, low = divmod(i + 1, 250)
        specs.append(
            AgentSpec(hostname=f"127.0.{high}.{low or 250}", resources=DEFAULT, attributes={"rack": f"r{i % 2 + 1}", "number": str(i + 1)})
        )
    return specs


def read_file(path: Path) -> list[AgentSpec]:
    """Reads an agents file (YAML or JSON): `{agents: [{hostname, cpus, mem, …}]}` or the list alone. ValueError says where it is wrong."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    entries = raw.get("agents") if isinstance(raw, dict) else raw
    if not isinstance(entries, list):
        raise ValueError(f"{path}: agents: a list is wanted")  # noqa: TRY004 - wrong input, no wrong argument
    specs: list[AgentSpec] = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"{path}: agents[{i}]: an object is wanted")  # noqa: TRY004 - wrong input, no wrong argument
        try:
            specs.append(AgentSpec.parse(entry))
        except ValueError as error:
            raise ValueError(f"{path}: agents[{i}].{error}") from None
    return specs


class Agents:
    """The registry. Ids are `<prefix>-S<n>`; `version` moves whenever an offer could have become better."""

    def __init__(self, *, prefix: str | None = None) -> None:
        self.prefix = prefix or str(uuid.uuid4())
        self._agents: dict[str, Agent] = {}
        self._next = 0
        self.version = 0
        self.changed = False
        """Registered, removed or changed in state since it was last written."""
        self._cursor = 0

    def __iter__(self) -> Iterator[Agent]:
        return iter(tuple(self._agents.values()))

    def __len__(self) -> int:
        return len(self._agents)

    def get(self, agent_id: str | None) -> Agent | None:
        """By id, or by host name when there is only one of that name."""
        if agent_id is None:
            return None
        if agent_id in self._agents:
            return self._agents[agent_id]
        named = [a for a in self._agents.values() if a.hostname == agent_id]
        return named[0] if len(named) == 1 else None

    def add(self, spec: AgentSpec, *, now: float) -> Agent:
        """Registers an agent. A given id is kept (an agent that was there before a restart)."""
        agent_id = spec.id or f"{self.prefix}-S{self._next}"
        if agent_id in self._agents:
            raise ValueError(f"id: agent {agent_id} is already registered")
        number = agent_id.rsplit("-S", 1)[-1]
        index = int(number) if number.isdigit() else self._next  # never given twice: paths of the Mesos API go by it
        self._next = max(self._next, index + 1)
        agent = Agent(agent_id, spec, index=index, registered_at=now)
        self._agents[agent_id] = agent
        self.moved()
        return agent

    def remove(self, agent_id: str) -> Agent | None:
        agent = self._agents.pop(agent_id, None)
        self.moved()
        return agent

    def moved(self) -> None:
        """An agent came, went or changed: other offers are possible, and it must be written."""
        self.version += 1
        self.changed = True

    def offers(self) -> list[Agent]:
        """Agents whose resources can be offered, beginning with another one each time, so that tasks spread."""
        active = [a for a in self._agents.values() if a.state is AgentState.ACTIVE]
        if not active:
            return []
        self._cursor = (self._cursor + 1) % len(active)
        return active[self._cursor :] + active[: self._cursor]

    def release(self, agent_id: str | None, instance_id: str) -> None:
        """Gives back what an instance held on an agent."""
        agent = self._agents.get(agent_id or "")
        if agent is not None and agent.release(instance_id):
            self.version += 1

    def dump(self) -> str:
        """For storage: ids, specs, states, who is in maintenance and what has been forgotten."""
        entries = [
            {**a.spec.dump(), "id": a.id, "state": a.state.value, "maintenance": a.maintenance, "forgotten": sorted(a.forgotten)}
            for a in self._agents.values()
        ]
        return json.dumps({"prefix": self.prefix, "next": self._next, "agents": entries})

    @classmethod
    def load(cls, text: str, *, now: float) -> Agents:
        saved: dict[str, Any] = json.loads(text)
        agents = cls(prefix=saved["prefix"])
        for entry in saved["agents"]:
            state, maintenance = AgentState(entry.pop("state")), bool(entry.pop("maintenance", False))
            forgotten = entry.pop("forgotten", [])
            agent = agents.add(AgentSpec.parse(entry), now=now)
            agent.state, agent.maintenance, agent.forgotten = state, maintenance, set(forgotten)
        agents._next = saved["next"]
        return agents


def wanted_specs(*, count: int | None, file: Path | None) -> Iterable[AgentSpec]:
    """What the command line asks for."""
    return read_file(file) if file is not None else numbered(2 if count is None else count)
