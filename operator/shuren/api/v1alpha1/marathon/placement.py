"""Where tasks of a Marathon app run, how they are replaced, and what happens to lost ones."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from shuren.api.nodes import OPEN, Caseless, Natural, Node, Reason, Rule, Share

MAX_CONSTRAINTS = 64


class ConstraintOperator(StrEnum):
    """How a constraint places tasks (upper case only: Marathon answers 500 to lower case)."""

    UNIQUE = "UNIQUE"
    CLUSTER = "CLUSTER"
    GROUP_BY = "GROUP_BY"
    LIKE = "LIKE"
    UNLIKE = "UNLIKE"
    MAX_PER = "MAX_PER"
    IS = "IS"


ConstraintItem = Annotated[list[Annotated[str, Field(max_length=1024)]], Field(min_length=2, max_length=3)]
"""[field, operator] or [field, operator, value]."""

_INT = re.compile(r"^-?[0-9]{1,9}$")
_IS = re.compile(r"^[a-zA-Z0-9_/.-]*$")


def operators_known(constraints: list[list[str]] | None) -> bool:
    """Tell whether each constraint has one of Marathon's operators, in upper case."""
    return all(item[1] in ConstraintOperator.__members__ for item in constraints or [])


def arguments_fit(constraints: list[list[str]] | None) -> bool:
    """Tell whether each constraint has the kind of value that its operator takes."""
    return all(_argument_fits(item[1], item[2] if len(item) > 2 else None) for item in constraints or [])  # noqa: PLR2004 - a triple


def _argument_fits(operator: str, value: str | None) -> bool:
    match operator:
        case "UNIQUE":
            return value is None
        case "LIKE" | "UNLIKE":
            return value is not None
        case "MAX_PER":
            return value is not None and _INT.match(value) is not None
        case "GROUP_BY":
            return value is None or _INT.match(value) is not None
        case "IS":
            return value is not None and _IS.match(value) is not None
        case _:
            return True


CONSTRAINT_RULES = (
    Rule(
        cel="!has(self.constraints) || self.constraints.all(c,"
        " c[1] in ['UNIQUE', 'CLUSTER', 'GROUP_BY', 'LIKE', 'UNLIKE', 'MAX_PER', 'IS'])",
        holds=lambda app: operators_known(app.constraints),
        message="operator (second item) must be one of UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS, in upper case",
        at="constraints",
    ),
    Rule(
        cel="!has(self.constraints) || self.constraints.all(c, "
        "c[1] == 'UNIQUE' ? c.size() == 2 : "
        "c[1] in ['LIKE', 'UNLIKE'] ? c.size() == 3 : "
        "c[1] == 'MAX_PER' ? c.size() == 3 && c[2].matches('^-?[0-9]{1,9}$') : "
        "c[1] == 'GROUP_BY' ? c.size() == 2 || c[2].matches('^-?[0-9]{1,9}$') : "
        "c[1] == 'IS' ? c.size() == 3 && c[2].matches('^[a-zA-Z0-9_/.-]*$') : true)",
        holds=lambda app: arguments_fit(app.constraints),
        message="third item: UNIQUE takes none; LIKE and UNLIKE need a regular expression; MAX_PER needs a number in quotes;"
        " GROUP_BY takes a number in quotes or none; IS needs text of letters, digits and _ / . -",
        at="constraints",
    ),
)


class KillSelection(StrEnum):
    """Which tasks go first."""

    YOUNGEST_FIRST = "YOUNGEST_FIRST"
    OLDEST_FIRST = "OLDEST_FIRST"


class UpgradeStrategy(Node):
    """How many instances a roll-out may take away and add. Both fields are required once the object is given."""

    minimum_health_capacity: Share
    """Share of `instances` that stays healthy, 0 to 1 (rounded up). Marathon's default without upgradeStrategy: 1; with persistent or
    external volumes 0.5; the label MARATHON_SINGLE_INSTANCE_APP needs 0."""
    maximum_over_capacity: Share
    """Share of `instances` that may run in addition, 0 to 1 (rounded down). Marathon's default without upgradeStrategy: 1; with persistent
    or external volumes 0."""


class UnreachableStrategy(Node):
    """What happens to instances on an agent that Mesos has lost."""

    rules = (
        Rule(
            cel="",
            holds=lambda s: (s.inactive_after_seconds or 0) <= (s.expunge_after_seconds or 0),
            message="inactiveAfterSeconds (default 0) must not be greater than expungeAfterSeconds (default 0)",
            at="inactiveAfterSeconds",
        ),
    )

    inactive_after_seconds: Natural | None = None
    """Seconds until a replacement is started. Marathon's default: 0."""
    expunge_after_seconds: Natural | None = None
    """Seconds until the lost instance is forgotten. Marathon's default: 0."""


def _unreachable(value: object) -> str | UnreachableStrategy:
    match value:
        case str():
            return value
        case dict():
            return UnreachableStrategy.model_validate(value)
        case UnreachableStrategy():
            return value
        case _:
            raise PydanticCustomError("open_node", 'must be the word "disabled" or an object {inactiveAfterSeconds, expungeAfterSeconds}')


Unreachable = Annotated[str | UnreachableStrategy, PlainValidator(_unreachable), WithJsonSchema(OPEN)]


def _limit(value: object) -> float | str:
    match value:
        case bool():
            pass
        case int() | float() if value >= 0:
            return float(value)
        case "unlimited":
            return value
        case _:
            pass
    raise PydanticCustomError("open_node", 'must be a number that is not negative, or the word "unlimited"')


Limit = Annotated[float | str, PlainValidator(_limit), WithJsonSchema(OPEN)]


class ResourceLimits(Node):
    """Upper limits beyond the request (cgroups); each a number or "unlimited"."""

    cpus: Limit | None = None
    """CPU limit, at least `cpus`. Marathon's default: none."""
    mem: Limit | None = None
    """Memory limit in MiB, at least `mem`. Marathon's default: none."""


class ExecutorResources(Node):
    """What a custom executor needs beside the task."""

    # Not `minimum: 0.1`: the API server (1.37) cuts a fractional bound down when it compares it with an integer, so that 0 would pass.
    rules = (
        Rule(
            cel="!has(self.cpus) || self.cpus >= 0.1",
            holds=lambda r: r.cpus is None or r.cpus >= 0.1,  # noqa: PLR2004 - Marathon's bound
            message="must be at least 0.1",
            at="cpus",
        ),
    )

    cpus: float | None = None
    """CPUs. Marathon's default: 0.1."""
    mem: Annotated[float, Field(ge=32)] | None = None
    """Memory in MiB. Marathon's default: 32."""
    disk: Annotated[float, Field(ge=10)] | None = None
    """Disk in MiB. Marathon's default: 10."""


class TaskLostBehavior(StrEnum):
    """Deprecated, without effect."""

    WAIT_FOREVER = "WAIT_FOREVER"
    RELAUNCH_AFTER_TIMEOUT = "RELAUNCH_AFTER_TIMEOUT"


class Residency(Node):
    """Deprecated, accepted and without effect since Marathon 1.9."""

    relaunch_escalation_timeout_seconds: Natural | None = None
    """Without effect."""
    task_lost_behavior: Annotated[TaskLostBehavior, Caseless(TaskLostBehavior)] | None = None
    """Without effect."""


def limits_cover_requests(app: Any) -> bool:
    """Tell whether each resource limit is at least the request (Marathon's defaults: 1 CPU, 128 MiB)."""
    limits: ResourceLimits | None = app.resource_limits
    if limits is None:
        return True
    pairs = ((limits.cpus, 1.0 if app.cpus is None else app.cpus), (limits.mem, 128.0 if app.mem is None else app.mem))
    return all(not isinstance(limit, float) or limit >= request for limit, request in pairs)


LIMIT_RULES = (
    Rule(
        cel="",
        holds=limits_cover_requests,
        message="a limit must not be less than the request (cpus, default 1; mem, default 128)",
        at="resourceLimits",
        reason=Reason.INVALID,
    ),
)
