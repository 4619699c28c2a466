"""Order between resources: `dependsOn`, and the circles that it can make."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from shuren.domain.app.snapshot import Dependency


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


def unready(dependencies: Sequence[Dependency]) -> str:
    """For whom a resource waits, as a sentence; empty when for nobody."""
    waited = [d for d in dependencies if not d.ready]
    if not waited:
        return ""
    names = ", ".join(f"{d.name}{'' if d.exists else ' (does not exist)'}" for d in waited)
    return f"waiting until Ready: {names} (spec.dependsOn)"
