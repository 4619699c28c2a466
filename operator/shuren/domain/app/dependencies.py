"""Order between resources: `dependsOn`, and the circles that it can make."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence


def circle(start: str, depends_on: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    """The names on a shortest circle that leads back to `start`, with `start` at both ends; empty when there is none."""
    came_from: dict[str, str] = {}
    ahead = deque([start])
    while ahead:
        name = ahead.popleft()
        for other in depends_on(name):
            if other == start:
                back = [start]
                while name != start:
                    back.append(name)
                    name = came_from[name]
                return (start, *reversed(back))
            if other not in came_from:
                came_from[other] = name
                ahead.append(other)
    return ()
