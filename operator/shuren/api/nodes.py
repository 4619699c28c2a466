"""What every model of a custom resource is made of.

A rule of a resource has to be told twice: as CEL to the API server, which refuses a bad resource at `kubectl apply`, and as a function to
the models, which judge what never met that API server (a file given to the command line, an object stored under an older schema). `Rule`
keeps both sides and their one message together, so that they cannot drift apart unnoticed. What a schema cannot say at all (values of open
nodes) has the function only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, ValidationError, core_schema

INT32_MAX = 2**31 - 1
OPEN: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
"""Schema of a node that takes more than one type; the models say which (structural schemas know no unions)."""


class Reason(StrEnum):
    """How the API server files a refusal (`reason` of a CEL rule). Not FieldValueDuplicate: it swallows the message (seen on 1.37)."""

    INVALID = "FieldValueInvalid"
    FORBIDDEN = "FieldValueForbidden"
    REQUIRED = "FieldValueRequired"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule over several fields of a node.

    `cel` is evaluated by the API server with `self` = the node ("" = cannot be said in CEL: only the models check it). `holds` gets the
    validated model; None marks a transition rule (`oldSelf`), which nobody but the API server can judge. `at` is the dotted path of the
    field to blame.
    """

    cel: str
    holds: Callable[[Any], bool] | None
    message: str
    at: str = ""
    reason: Reason = Reason.INVALID

    def schema(self) -> dict[str, str]:
        """Give the entry of `x-kubernetes-validations`."""
        where = {"fieldPath": f".{self.at}"} if self.at else {}
        return {"rule": self.cel, "message": self.message, "reason": self.reason.value, **where}


class Node(BaseModel):
    """Base of all models: camelCase outside, nothing coerced, unknown fields ignored (the API server prunes them)."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    judged: ClassVar[tuple[Rule, ...]] = ()
    """Those of `all_rules` that a model can judge; set for each class as it is made."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Every validation goes through the rules: which these are is found out once."""
        cls.judged = tuple(rule for rule in cls.all_rules() if rule.holds is not None)

    @classmethod
    def all_rules(cls) -> tuple[Rule, ...]:
        """Give the rules of this model and of those it extends, base first."""
        return tuple(rule for base in reversed(cls.__mro__) for rule in base.__dict__.get("rules", ()))

    @model_validator(mode="after")
    def _obey(self) -> Self:
        if not self.judged:
            return self
        broken = [rule for rule in self.judged if rule.holds is not None and not rule.holds(self)]
        if broken:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("rule", "{message}", {"message": rule.message}),
                        loc=tuple(rule.at.split(".")) if rule.at else (),
                        input=None,
                    )
                    for rule in broken
                ],
            )
        return self


class Caseless:
    """Annotation of an enum field whose words Marathon takes in any case (seen on 1.11: `killSelection: oldest_first`).

    An OpenAPI `enum` is case-sensitive, so the schema says it in CEL; the model's value is the enum member.
    """

    def __init__(self, words: type[StrEnum]) -> None:
        self._members = {member.value.lower(): member for member in words}
        self.message = "must be " + " or ".join(member.value for member in words) + " (any case)"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._parse)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        words = ", ".join(f"'{word}'" for word in self._members)
        return {
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{"rule": f"self.lowerAscii() in [{words}]", "message": self.message}],
        }

    def _parse(self, value: object) -> StrEnum:
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "must be a string")
        member = self._members.get(value.lower())
        if member is None:
            raise PydanticCustomError("words", "{message}", {"message": self.message})
        return member


@dataclass(frozen=True)
class Matches:
    """Annotation of a string that must match a regular expression, refused with a sentence instead of the expression.

    OpenAPI's `pattern` can only show the expression; so the schema says it in CEL. The expression must mean the same to Python and to RE2
    and match the whole text; give the field a max_length, which bounds the cost of the rule.
    """

    regex: str
    message: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        compiled = re.compile(self.regex)

        def check(value: str) -> str:
            if compiled.fullmatch(value) is None:
                raise PydanticCustomError("matches", "{message}", {"message": self.message})
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        quoted = self.regex.replace("\\", "\\\\").replace("'", "\\'")
        inner = handler(schema)
        rule = {"rule": f"self.matches('^({quoted})$')", "message": self.message}
        return {**inner, "x-kubernetes-validations": [*inner.get("x-kubernetes-validations", []), rule]}


def kubernetes(**extra: Any) -> dict[str, Any]:
    """Give `json_schema_extra` for Kubernetes' schema extensions: `kubernetes(list_type="map", list_map_keys=["name"])`."""
    return {f"x-kubernetes-{key.replace('_', '-')}": value for key, value in extra.items()}


@dataclass(frozen=True)
class Immutable:
    """Annotation of a field that cannot change once set; only the API server, which knows the old value, can judge it."""

    message: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(schema)
        rule = {"rule": "self == oldSelf", "message": self.message, "reason": Reason.FORBIDDEN.value}
        return {**inner, "x-kubernetes-validations": [*inner.get("x-kubernetes-validations", []), rule]}


def without_nulls(value: Any) -> Any:
    """Give the value without the nulls of its objects: null means absent, to Marathon and to the API server, which drops them."""
    match value:
        case dict():
            return {key: without_nulls(child) for key, child in value.items() if child is not None}
        case list():
            return [without_nulls(child) for child in value]
        case _:
            return value


def unique(values: list[str | None]) -> bool:
    """Tell whether no value (None aside) comes twice."""
    named = [value for value in values if value is not None]
    return len(named) == len(set(named))


Int = Annotated[int, Field(le=INT32_MAX)]
"""A 32-bit number, as everywhere in Marathon."""
Natural = Annotated[int, Field(ge=0, le=INT32_MAX)]
Port = Annotated[int, Field(ge=0, le=65535)]
Share = Annotated[float, Field(ge=0, le=1)]
Labels = Annotated[dict[str, str], Field(max_length=1024)]
Anything = Annotated[Any, WithJsonSchema(OPEN)]
