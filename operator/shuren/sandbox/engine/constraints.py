"""Marathon's placement constraints: whether an agent may take one more instance, and which instances to give up first. Pure.

Fields are `hostname`/`@hostname`, `@region`, `@zone` or an attribute. An agent without the attribute passes `UNLIKE` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shuren.sandbox.agents.attributes import Attribute, wanted
from shuren.sandbox.definition.patterns import java_pattern

if TYPE_CHECKING:
    from shuren.sandbox.agents.agent import Agent

FieldOf = Callable[[str], str | None]


def field_value(agent: Agent, field: str) -> str | None:
    """The agent's value of a constraint's field, None when it has none."""
    match field:
        case "hostname" | "@hostname":
            return agent.hostname
        case "@region":
            return agent.spec.region
        case "@zone":
            return agent.spec.zone
        case _:
            text = agent.spec.attributes.get(field)
            return None if text is None else Attribute.parse(text).shown()


class Placement:
    """The constraints of one app with the spread of its instances so far: kept up to date as instances are placed, so that a match costs
    the number of constraints and not of instances.
    """

    def __init__(self, constraints: Sequence[Sequence[str]], placed: Sequence[Agent]) -> None:
        self._rules = [(c[0], c[1], c[2] if len(c) > 2 else None) for c in constraints]  # noqa: PLR2004 - field, operator, value
        self._spread: dict[str, Counter[str | None]] = {field: Counter() for field, _, _ in self._rules}
        """Instances by value of the field; None for those on hosts without it."""
        for agent in placed:
            self.add(agent)

    def add(self, agent: Agent) -> None:
        """Notes one more instance on that agent."""
        for field, counter in self._spread.items():
            counter[field_value(agent, field)] += 1

    def allows(self, agent: Agent) -> bool:
        return all(self._meets(agent, *rule) for rule in self._rules)

    def _meets(self, agent: Agent, field: str, operator: str, value: str | None) -> bool:
        here = field_value(agent, field)
        if here is None:
            return operator == "UNLIKE"
        spread = self._spread[field]
        match operator:
            case "UNIQUE":
                return spread[here] == 0
            case "CLUSTER":
                if value:
                    return here == value
                return all(other == here for other, n in spread.items() if n)
            case "GROUP_BY":
                return _group_by(spread, here, int(value or 0))
            case "MAX_PER":
                return spread[here] < int(value or 0)
            case "LIKE":
                return bool(value) and java_pattern(value or "").fullmatch(here) is not None
            case "UNLIKE":
                return bool(value) and java_pattern(value or "").fullmatch(here) is None
            case "IS":
                return here == wanted(value or "")
            case _:
                return False


def _group_by(spread: Counter[str | None], here: str, minimum: int) -> bool:
    """A value not seen yet is always good; a seen one only once enough groups exist and it is among the smallest."""
    groups = {value: n for value, n in spread.items() if n}
    if here not in groups:
        return True
    return len(groups) >= minimum and groups[here] == min(groups.values())


def overfull(constraints: Sequence[Sequence[str]], values: Sequence[FieldOf]) -> list[int]:
    """Order in which to give up instances so that GROUP_BY stays balanced: indexes into `values`, members of the fullest groups first.
    Empty without a GROUP_BY constraint.
    """
    fields = [c[0] for c in constraints if c[1] == "GROUP_BY"]
    if not fields:
        return []
    left = list(range(len(values)))
    order: list[int] = []
    while left:
        weights = dict.fromkeys(left, 0)
        for field in fields:
            groups = Counter(values[i](field) for i in left)
            for i in left:
                weights[i] += groups[values[i](field)]
        worst = max(left, key=lambda i: weights[i])
        order.append(worst)
        left.remove(worst)
    return order
