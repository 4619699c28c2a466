"""Environment variables and secrets of a Marathon app."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from shuren.api.nodes import OPEN, Node


class SecretSource(Node):
    """Where a secret of Marathon's own secret store lies."""

    source: Annotated[str, Field(min_length=1, max_length=1024)]
    """Path in the secret store."""


class SecretEnv(Node):
    """An environment variable from Marathon's own secret store."""

    secret: Annotated[str, Field(min_length=1, max_length=253)]
    """Key under `secrets`."""


def _env_value(value: object) -> str | SecretEnv:
    match value:
        case str():
            return value
        case {"secret": str(name)} if name:
            return SecretEnv(secret=name)
        case SecretEnv():
            return value
        case bool() | int() | float():
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            raise PydanticCustomError("open_node", 'must be a string: write "{shown}" in quotes', {"shown": shown})
        case _:
            raise PydanticCustomError("open_node", 'must be a string or an object {"secret": name under spec.secrets}')


EnvValue = Annotated[str | SecretEnv, PlainValidator(_env_value), WithJsonSchema(OPEN)]
EnvName = Annotated[str, Field(min_length=1)]
