"""Object metadata, as far as anybody here looks at it, and reading a status that may be another version's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError, WrapValidator
from pydantic.functional_validators import ModelWrapValidatorHandler

from shuren.api.nodes import Node


class OwnerReference(Node):
    """Who owns the object."""

    uid: str
    """Owner's uid."""
    kind: str
    """Owner's kind."""
    name: str
    """Owner's name."""


class ObjectMeta(Node):
    """metadata of an object. Fields that the API server sets are empty in a file that was never applied."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name."""
    namespace: str = ""
    """Namespace; empty for cluster-scoped kinds."""
    uid: str = ""
    """Set by the API server."""
    generation: int = 0
    """Set by the API server; rises with every change of spec."""
    resource_version: str = ""
    """Set by the API server; changes with every write."""
    creation_timestamp: str | None = None
    """Set by the API server (RFC 3339)."""
    deletion_timestamp: str | None = None
    """Set once deletion was asked for (RFC 3339)."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations."""
    finalizers: list[str] = Field(default_factory=list)
    """Finalizers."""
    owner_references: list[OwnerReference] = Field(default_factory=list)
    """Owners."""


def lenient_status(model: type[Node]) -> WrapValidator:
    """Give a validator that reads a status which does not fit `model` as None: the next pass writes it anew."""

    def validate(value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            return None

    validate.__doc__ = f"Read {model.__name__}, or None."
    return WrapValidator(validate)
