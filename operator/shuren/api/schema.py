"""pydantic models → structural OpenAPI schema, as a CustomResourceDefinition demands it.

Structural schemas know no `$ref`, no unions, no `null` type and no numeric `exclusiveMinimum`, and every list must say how it merges. The
rules of the models become `x-kubernetes-validations`. Defaults: scalars of our own only, and none inside the items of a list, where a value
that the API server fills in is an eternal difference to GitOps tools that take lists as a whole; there the description tells them, as it
does for objects and lists, and the models fill them in.
"""

from __future__ import annotations

from typing import Any, cast

from shuren.api.nodes import Node, Rule

Schema = dict[str, Any]

_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)


class NotStructuralError(TypeError):
    """A model uses something that a structural schema cannot say. The message names the place."""


def structural(model: type[Node], *extras: type[Node]) -> Schema:
    """Give the structural schema of a model; fields of `extras` are accepted beside its own."""
    schema = _convert_model(model)
    for extra in extras:
        schema["properties"] |= _convert_model(extra)["properties"]
    return schema


def _convert_model(model: type[Node]) -> Schema:
    root = model.model_json_schema(by_alias=True, mode="validation", ref_template="{model}")
    models = {found.__name__: found for found in reachable(model)}
    return _Converter(definitions=root.get("$defs", {}), models=models).convert({**root, "title": model.__name__}, at=model.__name__)


def reachable(model: type[Node]) -> list[type[Node]]:
    """Give all models below one (and itself), whose rules the schema carries."""
    found: dict[str, type[Node]] = {}

    def visit(annotation: object) -> None:
        if isinstance(annotation, type) and issubclass(annotation, Node):
            if annotation.__name__ in found:
                return
            found[annotation.__name__] = annotation
            for field in annotation.model_fields.values():
                visit(field.annotation)
        for argument in getattr(annotation, "__args__", ()):
            visit(argument)

    visit(model)
    return list(found.values())


class _Converter:
    """Walks one JSON schema; `at` is the path for error messages."""

    def __init__(self, *, definitions: dict[str, Schema], models: dict[str, type[Node]]) -> None:
        self._definitions = definitions
        self._models = models

    def convert(self, node: Schema, *, at: str, in_list: bool = False) -> Schema:
        node = self._resolve(node, at=at)
        result: Schema = {key: node[key] for key in _KEPT if key in node}
        _numeric_bounds(result)
        if "const" in node:
            result["enum"] = [node["const"]]
        if "description" in result:
            result["description"] = " ".join(str(result["description"]).split())
        default = result.get("default")
        if default is None or isinstance(default, dict | list):
            result.pop("default", None)
        elif in_list:
            result["description"] = _with_default(str(result.get("description", "")), result.pop("default"))
        match result.get("type"):
            case "object":
                self._object(node, result, at=at, in_list=in_list)
            case "array":
                result["items"] = self.convert(node["items"], at=f"{at}[]", in_list=True)
                result["x-kubernetes-list-type"] = "atomic"
            case None if not node.get("x-kubernetes-preserve-unknown-fields"):
                msg = f"{at}: no single type: {sorted(node)}"
                raise NotStructuralError(msg)
            case _:
                pass
        result |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
        return result

    def _object(self, node: Schema, result: Schema, *, at: str, in_list: bool) -> None:
        if "properties" in node:
            properties = cast("dict[str, Schema]", node["properties"])
            result["properties"] = {
                name: self.convert(child, at=f"{at}.{name}", in_list=in_list) for name, child in sorted(properties.items())
            }
            required = sorted(node.get("required", []))
            if required:
                result["required"] = required
        elif isinstance(node.get("additionalProperties"), dict):
            result["additionalProperties"] = self.convert(node["additionalProperties"], at=f"{at}{{}}", in_list=in_list)
        model = self._models.get(node.get("title", ""))
        rules = [rule.schema() for rule in _told_in_cel(model)] if model is not None else []
        if rules:
            result["x-kubernetes-validations"] = rules

    def _resolve(self, node: Schema, *, at: str) -> Schema:
        """Follow references and take the one type that an optional field has beside null. What stands beside the reference wins."""
        beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        if "$ref" in node:
            name = node["$ref"]
            return {**self._resolve(self._definitions[name], at=at), **beside, "title": name}
        if "anyOf" in node:
            choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
            if len(choices) != 1:
                msg = f"{at}: a union of {len(choices)} types"
                raise NotStructuralError(msg)
            inner = self._resolve(choices[0], at=at)
            beside.pop("title", None)
            return {**inner, **beside}
        return node


def _with_default(description: str, default: object) -> str:
    """The description with the default that the model fills in."""
    word = str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else str(default)
    return description if "Default:" in description else f"{description} Default: {word or '(empty)'}.".strip()


def _told_in_cel(model: type[Node]) -> list[Rule]:
    return [rule for rule in model.all_rules() if rule.cel]


def _numeric_bounds(schema: Schema) -> None:
    """Draft 2020 writes `exclusiveMinimum: 0`; OpenAPI 3.0 writes `minimum: 0, exclusiveMinimum: true`."""
    for inclusive, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in schema:
            schema[inclusive] = schema[exclusive]
            schema[exclusive] = True
