"""References to other objects of the API server, as our resources spell them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Matches, Node, Rule

Name = Annotated[str, Field(min_length=1, max_length=253)]
Key = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches("[-._a-zA-Z0-9]+", 'a key of a Secret or ConfigMap has letters, digits, "-", "_" and "." only'),
]


class NameRef(Node):
    """Names one object."""

    name: Name
    """Name of the object."""


class KeyRef(Node):
    """Names one key of a Secret or ConfigMap in the namespace of the resource."""

    name: Name
    """Name of the Secret or ConfigMap."""
    key: Key
    """Key under `data` (or `stringData`, `binaryData`)."""
    optional: bool = False
    """Whether to go on without it when the object or the key is missing; otherwise the resource waits and says which is missing."""


class SecretRef(Node):
    """Names a Secret by namespace and name, for cluster-scoped resources."""

    namespace: Annotated[str, Field(min_length=1, max_length=63)]
    """Namespace of the Secret."""
    name: Name
    """Name of the Secret."""


class SelectorOperator(StrEnum):
    """How a label selector compares."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class SelectorRequirement(Node):
    """One requirement of a label selector."""

    rules = (
        Rule(
            cel="(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
            holds=lambda r: (r.operator in (SelectorOperator.IN, SelectorOperator.NOT_IN)) == bool(r.values),
            message="In and NotIn need values; Exists and DoesNotExist take none",
        ),
    )

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """Label key."""
    operator: Annotated[SelectorOperator, Field(strict=False)]
    """How to compare."""
    values: Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=64)] | None = None
    """Values for In and NotIn."""


class LabelSelector(Node):
    """Selects objects by their labels; an empty selector selects all."""

    match_labels: Annotated[dict[str, str], Field(max_length=64)] | None = None
    """Labels that must all be there with exactly these values."""
    match_expressions: Annotated[list[SelectorRequirement], Field(max_length=64)] | None = None
    """Requirements that must all hold."""
