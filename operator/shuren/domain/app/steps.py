"""The steps of a gated roll-out: which there are, and how many instances each needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shuren.domain.app.snapshot import Step

_ALL = 100


def effective(given: Sequence[Step]) -> tuple[Step, ...]:
    """The steps as they are taken: the last one always brings all traffic. Without any this is blue-green."""
    return tuple(given) if given and given[-1].weight == _ALL else (*given, Step(weight=_ALL))


def size(steps: Sequence[Step], index: int, instances: int) -> int:
    """Instances of the new version at a step, of so many that are asked for.

    Its scale rounded up, one at least, and never fewer than at a step before.
    """
    if not instances:
        return 0
    percent = max(step.weight if step.scale is None else step.scale for step in steps[: index + 1])
    if steps[index].weight == _ALL:
        percent = _ALL
    return max(1, math.ceil(instances * percent / _ALL))
