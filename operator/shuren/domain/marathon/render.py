"""Request bodies for Marathon from definitions."""

from __future__ import annotations

from typing import Any

from shuren.domain.json import Document
from shuren.domain.marathon.normalise import READ_ONLY

_DROPPED_BY_PARTIAL = ("resourceLimits", "executorResources")


def full_body(definition: Document, *, instances: int | None = None, role: str | None = None) -> dict[str, Any]:
    """A complete definition for `PUT ?partialUpdate=false`, which resets whatever it leaves out.

    `instances` overrides the definition's own; `role` is given when the definition names none and the app lives with another than the
    default (a full PUT without role would reset it, which restarts all tasks).
    """
    body = {key: value for key, value in definition.items() if key not in READ_ONLY and value is not None}
    if instances is not None:
        body["instances"] = instances
    body.setdefault("instances", 1)
    if role is not None:
        body.setdefault("role", role)
    return body


def scale_body(actual: Document, instances: int) -> dict[str, Any]:
    """A partial PUT that changes only the number of instances.

    Marathon clears `resourceLimits` and `executorResources` with every partial update that does not repeat them, which would turn a scale
    into a restart of everything: so they are repeated.
    """
    return {"instances": instances} | {key: actual[key] for key in _DROPPED_BY_PARTIAL if key in actual}
