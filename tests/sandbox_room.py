"""The engine's live room without HTTP and without waiting: a virtual clock, simulated tasks, and a record of all events."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from shuren.sandbox.agents.agent import AgentSpec
from shuren.sandbox.agents.registry import numbered
from shuren.sandbox.contract import Settings, Started
from shuren.sandbox.definition import apps, changes
from shuren.sandbox.engine.clock import VirtualClock
from shuren.sandbox.engine.events import EventBus
from shuren.sandbox.engine.leading import Leading
from shuren.sandbox.engine.model import Instance
from shuren.sandbox.runners.port import Runner
from shuren.sandbox.runners.simulated import SimulatedRunner

Json = dict[str, Any]


class Room:
    """One leader on a directory. `restart` is a change of leader."""

    def __init__(
        self,
        directory: Path,
        *,
        agents: Iterable[AgentSpec] | None = None,
        settings: Settings | None = None,
        charge: bool = False,
        runner: Callable[[VirtualClock], Runner] = SimulatedRunner,
    ) -> None:
        self.directory = directory
        self.settings = settings or Settings()
        self.agents = list(numbered(2) if agents is None else agents)
        self.clock = VirtualClock()
        self.bus = EventBus(self.clock, max_outstanding=10**9)
        self._charge, self._make_runner = charge, runner
        self._stream = self.bus.subscribe(None, "test")
        self._open()

    def _open(self) -> None:
        self.runner = self._make_runner(self.clock)
        self.leading = Leading(
            clock=self.clock,
            bus=self.bus,
            runner=self.runner,
            directory=self.directory,
            settings=self.settings,
            specs=self.agents,
            charge=self._charge,
        )
        self.leading.start()

    async def restart(self) -> None:
        """The next leader takes over what this one leaves on disk."""
        await self.leading.close(kill=False)
        self.clock._heap = type(self.clock._heap)()
        self._open()

    async def close(self) -> None:
        await self.leading.close(kill=True)

    # ---------------------------------------------------------------- writes
    async def put(self, app_id: str, *, force: bool = False, **fields: Any) -> Started:
        """PUT of a whole app; cpus, mem and cmd are given when they are not named."""
        whole = {"cmd": "sleep 1000", "cpus": 0.1, "mem": 32, **fields}
        change = changes.replace_app(app_id, apps.replacement(whole, app_id), self.settings)
        return await self.leading.update(change, force=force, group_id="/" + app_id.strip("/").rpartition("/")[0])

    async def delete(self, app_id: str, *, force: bool = True) -> Started:
        return await self.leading.update(changes.delete_app(app_id, self.settings), force=force)

    async def restart_app(self, app_id: str, *, force: bool = False) -> Started:
        return await self.leading.update(changes.restart_app(app_id, self.settings), force=force)

    async def kill_and_scale(self, app_id: str, tasks: Collection[str]) -> Started:
        change = changes.scale_down({app_id: len(tasks)}, self.settings)
        return await self.leading.update(change, kill={app_id: tasks})

    async def settled(self, app_id: str, *, seconds: float = 60.0, **fields: Any) -> None:
        """PUT, and let time pass until no deployment runs."""
        await self.put(app_id, **fields)
        self.until(lambda: not len(self.leading.deployments), seconds=seconds)

    # ---------------------------------------------------------------- time
    def advance(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)

    def until(self, question: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Lets time pass, timer by timer, until the answer is yes."""
        end = self.clock.now() + seconds
        while not question():
            due = self.clock.next_time()
            if due is None or due > end:
                raise AssertionError(f"did not happen within {seconds} s: {self.leading.deployments.json()}")
            self.clock.advance(max(0.0, due - self.clock.now()))

    # ---------------------------------------------------------------- looks
    def instances(self, app_id: str) -> list[Instance]:
        return self.leading.world.instances.of(app_id)

    def tasks(self, app_id: str) -> list[Json]:
        return [i.json() for i in self.instances(app_id) if i.attempt]

    def running(self, app_id: str) -> int:
        return self.leading.world.instances.counts(app_id)[1]

    def queue(self) -> list[Json]:
        return self.leading.lifecycle.scheduler.items(last_unused_offers=True)

    def deployments(self) -> list[Json]:
        return self.leading.deployments.json()

    def events(self) -> list[Json]:
        """All events since the last call."""
        found = [json.loads(text) for _, text in self._stream._waiting]
        self._stream._waiting.clear()
        return found

    def event_names(self) -> list[str]:
        return [e["eventType"] for e in self.events()]


def agent(hostname: str, **fields: Any) -> AgentSpec:
    return AgentSpec.parse({"hostname": hostname, **fields})


def labels(**values: object) -> Mapping[str, str]:
    """Labels that tell the simulated runner how to behave: `start=1` becomes SIM_START."""
    return {f"SIM_{name.upper()}": str(value) for name, value in values.items()}
