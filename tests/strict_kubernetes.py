"""The API server in memory, which takes no status that the real one would refuse: each is held against the schema of its CRD."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.ports.kubernetes import Object, Resource

_CRDS = Path(__file__).parents[1] / "crds"


class StrictKubernetes(FakeKubernetes):
    """See the module."""

    async def apply_status(self, resource: Resource, namespace: str, name: str, status: Object, *, manager: str, uid: str = "") -> Object:
        """As the fake, after the check; what tests put there as somebody else may be anything."""
        if manager.startswith("shuren"):
            wrong = refusals(resource.plural, json.dumps(status, allow_nan=False))
            assert not wrong, f"the API server would refuse this status of {name}: {wrong}"
        return await super().apply_status(resource, namespace, name, status, manager=manager, uid=uid)


@functools.lru_cache(maxsize=10_000)
def refusals(plural: str, status: str) -> tuple[str, ...]:
    """What is wrong with a status, given as JSON: a story that is told again with a crash in it writes the same ones."""
    return tuple(f"{error.json_path}: {error.message}" for error in status_validator(plural).iter_errors(json.loads(status)))


@functools.cache
def status_validator(plural: str) -> Draft202012Validator:
    """What a status of this kind must look like; fields that the schema does not name are an error, for they would be dropped."""
    crd = yaml.safe_load((_CRDS / f"paas.shurenyun.com_{plural}.yaml").read_text())
    return Draft202012Validator(_closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]))


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    free = closed.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in closed
    if isinstance(closed.get("properties"), dict) and closed.get("type") == "object" and not free:
        closed["additionalProperties"] = False
    return closed
