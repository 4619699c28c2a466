"""What is generated from the models: up to date, structural, described, merging as meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from shuren.api import crdgen, docgen
from shuren.api.kinds import KINDS, Kind
from shuren.api.nodes import Node
from shuren.api.schema import NotStructuralError, structural
from shuren.api.v1alpha1.marathon.app import App

Schema = dict[str, Any]
LIST_MAPS = {
    "conditions": ["type"],
    "envRefs": ["name"],
    "filesFrom": ["path"],
    "dependsOn": ["name"],
    "backends": ["name"],
    "listeners": ["name"],
    "loadBalancers": ["id"],
    "partitionings": ["name"],
    "static": ["id"],
    "weights": ["id"],
}


def root(kind: Kind) -> Schema:
    schema: Schema = crdgen.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def walk(name: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield name, schema
    for child, inner in schema.get("properties", {}).items():
        yield from walk(child, inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from walk(f"{name}[]", schema[key])


def nodes(kind: Kind) -> list[tuple[str, Schema]]:
    """All fields of a kind's spec and status with the name of each; items of lists and maps end in []."""
    return [found for part in ("spec", "status") for found in walk(part, root(kind)["properties"][part])]


each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def test_files_in_the_repository_are_what_the_models_say() -> None:
    content = {**crdgen.files(), **docgen.files()}

    assert [path.name for path, text in content.items() if path.read_text(encoding="utf-8") != text] == []


def test_there_is_nothing_else_in_crds() -> None:
    assert set((crdgen.ROOT / "crds").iterdir()) == set(crdgen.files())


@each_kind
def test_each_field_is_structural(kind: Kind) -> None:
    for name, node in nodes(kind):
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields") is True, name
        assert not {"$ref", "anyOf", "oneOf", "const", "title", "nullable", "uniqueItems"} & node.keys(), name
        assert not ({"properties", "additionalProperties"} <= node.keys()), name


@each_kind
def test_each_field_is_described(kind: Kind) -> None:
    assert [name for name, node in nodes(kind) if not name.endswith("[]") and len(node.get("description", "")) < 3] == []


def defaults(schema: Schema) -> Iterator[tuple[str, Any]]:
    return ((name, node["default"]) for name, node in walk("spec", schema["properties"]["spec"]) if "default" in node)


def test_marathons_part_has_no_default_but_instances() -> None:
    of_marathon = structural(App)
    found = [(name, node["default"]) for name, node in walk("app", of_marathon) if "default" in node]
    assert found == [("instances", 1)]


@each_kind
def test_defaults_are_scalars_and_never_inside_lists(kind: Kind) -> None:
    """A value that the API server fills into an item of a list is an eternal difference to GitOps tools that compare lists as a whole."""
    assert all(isinstance(default, str | bool | int | float) for _, default in defaults(root(kind)))
    items = [node["items"] for _, node in nodes(kind) if node.get("type") == "array"]
    assert [name for item in items for name, node in walk("item", item) if "default" in node] == []


@each_kind
def test_a_status_has_no_defaults(kind: Kind) -> None:
    assert [name for name, node in walk("status", root(kind)["properties"]["status"]) if "default" in node] == []


@each_kind
def test_each_list_says_how_it_merges_and_is_bounded(kind: Kind) -> None:
    for name, node in nodes(kind):
        if node.get("type") == "array":
            kind_of_list = node["x-kubernetes-list-type"]
            assert kind_of_list == ("map" if name in LIST_MAPS else "atomic"), name
            assert node.get("x-kubernetes-list-map-keys") == LIST_MAPS.get(name), name
            assert node["maxItems"] > 0, name


@each_kind
def test_definitions_fit_a_client_side_apply(kind: Kind) -> None:
    """`kubectl apply` keeps a copy in an annotation, which may hold 256 KiB."""
    assert len(crdgen.rendered(kind).encode()) < 200_000


@each_kind
def test_names_and_subresources(kind: Kind) -> None:
    spec = crdgen.definition(kind)["spec"]

    assert spec["names"]["categories"] == ["shuren", "paas"]
    assert spec["names"]["singular"] == kind.name.lower()
    assert "status" in spec["versions"][0]["subresources"]
    assert ("scale" in spec["versions"][0]["subresources"]) == (kind.name == "PaasApp")


def test_check_tells_a_stale_file_and_leaves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh, stale = crdgen.ROOT / "crds" / "kustomization.yaml", crdgen.ROOT / "crds" / "no-such-file.yaml"
    text = fresh.read_text(encoding="utf-8")

    assert crdgen.write({fresh: text, stale: "x"}, check=True) == 1
    assert not stale.exists()
    assert "no-such-file.yaml: out of date" in capsys.readouterr().err


@pytest.mark.parametrize("program", [crdgen, docgen])
def test_programs_succeed_when_nothing_is_stale(program: Any) -> None:
    assert program.main(["--check"]) == 0


class Union(Node):
    """A model with a union."""

    either: int | str


class Bounds(Node):
    """A model with exclusive bounds."""

    small: Annotated[float, Field(gt=0, lt=1)]
    """Small."""


def test_a_union_is_refused_with_its_place() -> None:
    with pytest.raises(NotStructuralError, match=r"Union\.either: a union of 2 types"):
        structural(Union)


def test_exclusive_bounds_are_written_as_openapi_3_0_does() -> None:
    assert structural(Bounds)["properties"]["small"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "exclusiveMinimum": True,
        "exclusiveMaximum": True,
        "description": "Small.",
    }


def test_the_kustomization_names_every_definition() -> None:
    index = yaml.safe_load((crdgen.ROOT / "crds" / "kustomization.yaml").read_text(encoding="utf-8"))

    assert index["resources"] == sorted(crdgen.file_name(kind) for kind in KINDS)
