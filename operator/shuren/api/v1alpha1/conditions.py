"""Conditions, as every kind's status carries them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Node, kubernetes


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Node):
    """One observation about the resource, in the form of metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What is observed: Ready (summary), Reconciling and Stalled (there only while true), InSync, Advice, …"""
    status: Annotated[ConditionStatus, Field(strict=False)]
    """Whether it holds."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """`metadata.generation` that this was concluded from."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When `status` last changed (RFC 3339, UTC)."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Stable CamelCase word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """For people: what is the matter and what to do."""


Conditions = Annotated[
    list[Condition],
    Field(max_length=32, json_schema_extra=kubernetes(list_type="map", list_map_keys=["type"])),
]
