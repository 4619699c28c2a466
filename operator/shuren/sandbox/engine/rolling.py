"""The arithmetic of Marathon's rolling restart (TaskReplaceActor), pure.

One quirk of 1.11 is part of it: with checks that Marathon itself performs (HTTP, HTTPS, TCP) the old instances count as not healthy, so
with `maximumOverCapacity: 0` nothing is ever killed and nothing started: the deployment hangs. Seen on the real one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json

MARATHON_CHECKS = frozenset({"HTTP", "HTTPS", "TCP"})


def marathon_checks(definition: Json) -> bool:
    """Whether the app has checks that Marathon performs itself (not Mesos on the agent)."""
    return any(c.get("protocol", "HTTP") in MARATHON_CHECKS for c in definition.get("healthChecks", ()))


@dataclass(frozen=True, kw_only=True)
class Restart:
    """What is decided once, at the start: how many old ones to kill now, and how many may be active at a time."""

    kill_now: int
    max_capacity: int


def begin_restart(
    *, target: int, current: int, healthy: int, minimum_health: float, over_capacity: float, resident: bool = False
) -> Restart:
    """`current`: all instances there are, those on their way out too; `healthy`: those that count as healthy and are meant to run.

    Fractions are doubles as in Marathon, dust and all: 7 % of 100 instances are 8, since 100 * 0.07 is a little more than 7.
    """
    min_healthy = math.ceil(target * minimum_health)
    max_capacity = math.floor(target * (1.0 + over_capacity))
    kill_now = max(0, healthy - min_healthy)
    if min_healthy == max_capacity and max_capacity <= healthy:
        if resident:
            kill_now = healthy - min_healthy + 1
        else:
            max_capacity += 1
    if target < current:
        kill_now = max(current - target, kill_now)
    return Restart(kill_now=kill_now, max_capacity=max_capacity)


def may_start(*, target: int, started: int, old_active: int, max_capacity: int) -> int:
    """How many new instances may be started now."""
    return max(0, min(target - started, max_capacity - old_active - started))
