"""Which instances a scale-down kills: the chosen ones first, then what constraints want gone, then by condition, then by age."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuren.sandbox.engine.constraints import field_value, overfull
from shuren.sandbox.engine.model import Condition, Instance

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.constraints import FieldOf
    from shuren.sandbox.engine.world import World

_ORDER = {
    Condition.SCHEDULED: 0,
    Condition.UNREACHABLE: 1,
    Condition.UNREACHABLE_INACTIVE: 1,
    Condition.PROVISIONED: 2,
    Condition.STAGING: 2,
    Condition.STARTING: 3,
    Condition.RUNNING: 4,
}


def choose_victims(
    world: World, definition: Json, candidates: Sequence[Instance], count: int, *, chosen: Collection[str] = ()
) -> list[Instance]:
    """`count` of the candidates. `chosen` are task ids that go first."""
    first = [i for i in candidates if any(t in chosen for t in i.task_ids())]
    victims = first[:count]
    rest = [i for i in candidates if i not in victims]
    missing = count - len(victims)
    if missing <= 0:
        return victims
    oldest_first = definition.get("killSelection", "YOUNGEST_FIRST") == "OLDEST_FIRST"

    def age(instance: Instance) -> float:
        since = instance.started_at or instance.staged_at or instance.since
        return since if oldest_first else -since

    def waiting_first(instance: Instance) -> tuple[int, float]:
        return (_ORDER.get(instance.condition, 0), age(instance))

    rest.sort(key=waiting_first)
    balanced = overfull(definition.get("constraints", ()), [_fields(world, i) for i in rest])
    if balanced and all(i.condition is Condition.RUNNING for i in rest):
        rest = [rest[i] for i in balanced]
    return victims + rest[:missing]


def _fields(world: World, instance: Instance) -> FieldOf:
    agent = world.agents.get(instance.agent_id)
    return lambda field: None if agent is None else field_value(agent, field)
