"""The live state that all parts of the engine share, and the hooks between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shuren.sandbox.contract import Group, Json, Settings
from shuren.sandbox.engine.backoff import Backoff
from shuren.sandbox.engine.completed import Completed
from shuren.sandbox.engine.plan import find
from shuren.sandbox.engine.tracker import Instances

if TYPE_CHECKING:
    from shuren.sandbox.agents.registry import Agents
    from shuren.sandbox.engine.clock import Clock
    from shuren.sandbox.engine.events import EventBus
    from shuren.sandbox.engine.model import Instance
    from shuren.sandbox.runners.port import Runner


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Delays of the pretended cluster, in seconds. The defaults look like a small real one."""

    offer: float = 0.15
    """From a demand to the first offer."""
    resync: float = 5.0
    """Between a scaling deployment's recounts (the first comes after 1 s)."""
    kill_retry: float = 30.0
    scale_check: float = 300.0
    expunge_first: float = 300.0
    expunge_interval: float = 30.0
    """When a leader looks for unreachable instances to forget: first that long after it began, then every so often
    (`--task_lost_expunge_initial_delay`, `--task_lost_expunge_interval`)."""
    offer_refresh: float = 5.0
    """Offers that were declined come again after this long, for as long as something waits."""


@dataclass(kw_only=True)
class World:
    """One leader's memory. Everything runs on one event loop and never awaits between reading and writing it."""

    clock: Clock
    settings: Settings
    timing: Timing
    bus: EventBus
    agents: Agents
    runner: Runner
    directory: Path
    framework_id: str
    root: Group
    completed: Completed = field(default_factory=Completed)
    since: float = field(init=False)
    """When this leader began."""
    instances: Instances = field(init=False)
    backoff: Backoff = field(init=False)
    failures: dict[str, Json] = field(default_factory=dict)
    dirty_failures: set[str] = field(default_factory=set)
    flush: Callable[[], None] = lambda: None
    """Writes what is not on disk yet: called before tasks start, so that none can run unknown to a successor."""
    health_changed: list[Callable[[Instance], None]] = field(default_factory=list)
    launched: int = 0
    task_updates: dict[str, int] = field(default_factory=dict)
    offers_used: int = 0
    offers_declined: int = 0

    def __post_init__(self) -> None:
        self.since = self.clock.now()
        self.instances = Instances(self.clock, self.bus)
        self.backoff = Backoff(self.clock)

    def definition(self, app_id: str) -> Json | None:
        """The present definition of an app or pod."""
        return find(self.root, app_id)

    def enforces_role(self, app_id: str) -> bool:
        """Whether the top-level group of an app enforces its role."""
        group = self.root.groups.get("/" + app_id.strip("/").split("/", 1)[0])
        return bool(group is not None and group.enforce_role)

    def sandbox_of(self, agent_id: str, instance_id: str, task_id: str) -> Path:
        """Where a task of an instance lives on an agent, laid out as Mesos lays it out."""
        _, container, attempt = task_id.rsplit(".", 2)
        # One text, one Path: this runs for each launch of a large simulation.
        below = f"agents/{agent_id}/frameworks/{self.framework_id}/executors/{instance_id}/runs/{container}/{attempt}"
        return self.directory / below
