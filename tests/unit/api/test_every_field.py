"""Every field that Marathon 1.11 reads in an app, at any depth, is in the schema of PaasApp and may be left out where Marathon lets it.

What Marathon reads is told by the engine's interface description, which knows nothing of the schema. A field that the schema lacks would be
refused by a strict client and dropped without a word for all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from shuren.api import crdgen
from shuren.sandbox.definition import app_shape
from shuren.sandbox.definition.shape import AnyOf, Field, Items, Lenient, MapOf, Obj, Shape, optional

REFUSED = {
    ".container.docker.credential": "Marathon 1.11 reads it in order to refuse it",
}
STRICTER = {
    ".container.volumes[].external.provider": "Marathon refuses an external volume without one, in other words",
}


def _open(schema: dict[str, Any]) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields"))


def _differences(shape: Shape, schema: dict[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    """Path and kind of each field that the schema lacks, or demands though Marathon does not."""
    if _open(schema) or _open(schema.get("additionalProperties") or {}):
        return
    match shape:
        case AnyOf(shapes=shapes):
            for one in shapes:
                yield from _differences(one, schema, at)
        case Lenient(of=inner):
            yield from _differences(inner, schema, at)
        case Items(of=inner):
            yield from _differences(inner, schema["items"], f"{at}[]")
        case MapOf(of=inner):
            yield from _differences(inner, schema["additionalProperties"], f"{at}{{}}")
        case Obj(fields=fields):
            yield from _fields(fields, schema, at)
        case _:
            return


def _fields(fields: Sequence[Field], schema: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    for field in fields:
        path = f"{at}.{field.name}"
        if field.name not in schema["properties"]:
            yield path, "lacking"
            continue
        if field.name in schema.get("required", ()) and not field.required:
            yield path, "demanded"
        yield from _differences(field.shape, schema["properties"][field.name], path)


def test_the_schema_has_every_field_that_marathon_reads_and_demands_none_that_marathon_does_not() -> None:
    definition = yaml.safe_load(Path(crdgen.ROOT / "crds" / "paas.shurenyun.com_paasapps.yaml").read_text(encoding="utf-8"))
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    found = set(_differences(app_shape.APP, spec))

    assert found == {(path, "lacking") for path in REFUSED} | {(path, "demanded") for path in STRICTER}


def test_the_comparison_sees_what_is_missing_at_any_depth() -> None:
    spec: dict[str, Any] = {
        "properties": {"ports": {"items": {"properties": {"name": {"type": "string"}}, "required": ["name"]}}},
    }
    shape = Obj(app_shape.APP.fields[:1])
    nested = Obj((optional("ports", Items(of=app_shape.PORT_DEFINITION)),))

    assert set(_differences(shape, spec)) == {(".id", "lacking")}
    assert set(_differences(nested, spec)) == {
        (".ports[].name", "demanded"),
        *((f".ports[].{name}", "lacking") for name in ("port", "labels", "protocol")),
    }
