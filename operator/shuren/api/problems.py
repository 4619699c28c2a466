"""Turns what the models refuse into sentences for people: where (a field path as kubectl writes it) and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a resource."""

    path: str
    """Field path, e.g. spec.healthChecks[0].port; empty for the whole object."""
    message: str
    """What is wrong and what would be right."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def problems(error: ValidationError) -> tuple[Problem, ...]:
    """Give what is wrong, in the order of the fields. Values are never quoted: some are secret."""
    return tuple(
        Problem(path=_path(detail["loc"]), message=_message(detail)) for detail in error.errors(include_url=False, include_input=False)
    )


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        match part:
            case int():
                path += f"[{part}]"
            case "[key]":  # pydantic's mark for "the key itself"
                pass
            case str() if part.replace("_", "a").replace("-", "a").isalnum():
                path += f".{part}" if path else part
            case _:
                path += f"[{part}]"
    return path


_SENTENCES = {
    "missing": "is required",
    "string_type": "must be a string; write numbers and true/false in quotes",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "string_pattern_mismatch": "must match {pattern}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}
"""Kinds of pydantic's errors in our words; any other keeps its own."""


def _message(detail: ErrorDetails) -> str:
    limits = detail.get("ctx", {})
    if limits.get("min_length") == 1:
        return "must not be empty"
    sentence = _SENTENCES.get(detail["type"])
    if sentence is None:
        return detail["msg"]
    return sentence.format(**{name: f"{value:g}" if isinstance(value, float) else value for name, value in limits.items()})
