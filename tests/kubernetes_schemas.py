"""Kubernetes' own OpenAPI documents of three versions, cut down to the kinds that we ship: `python tests/kubernetes_schemas.py [VERSION…]`.

The documents come from the Go module k8s.io/kubernetes (api/openapi-spec/swagger.json). What is kept lies in tests/golden/kubernetes,
without descriptions; it is JSON schema in which what Kubernetes does not know is an error, as strict field validation has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema

VERSIONS = ("v1.34.4", "v1.36.3", "v1.37.2")
PLACE = Path(__file__).parent / "golden" / "kubernetes"
KINDS = {
    ("v1", "ConfigMap"),
    ("v1", "Namespace"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("apps/v1", "Deployment"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
}
_NOTES = {"description", "x-kubernetes-group-version-kind", "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy"}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_FREE = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["integer", "string"]},
    _QUANTITY: {"type": ["number", "string"]},
    # recursive, and the CRDs are judged by the real API server
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps": {"type": "object"},
}


def cut(document: dict[str, Any]) -> dict[str, Any]:
    """`{definitions, kinds}` of an OpenAPI document, with what our kinds refer to and no more."""
    every = document["definitions"]
    kinds = {
        f"{'/'.join(filter(None, (one['group'], one['version'])))} {one['kind']}": name
        for name, body in every.items()
        for one in body.get("x-kubernetes-group-version-kind", ())
    }
    wanted = {key: name for key, name in kinds.items() if tuple(key.split()) in KINDS}
    definitions: dict[str, Any] = {}
    waiting = list(wanted.values())
    while waiting:
        name = waiting.pop()
        if name not in definitions:
            definitions[name] = _FREE.get(name) or _strict(every[name])
            waiting += _references(definitions[name])
    return {"kinds": dict(sorted(wanted.items())), "definitions": dict(sorted(definitions.items()))}


def _strict(node: Any, *, names: bool = False) -> Any:
    """A schema without words; `names` says that the keys of this map are names of fields and not words of a schema."""
    if isinstance(node, list):
        return [_strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {
        key: _strict(value, names=key == "properties" and not names)
        for key, value in node.items()
        if names or not (key in _NOTES or key.startswith("x-kubernetes-list"))
    }
    if not names and isinstance(found.get("properties"), dict):
        found["additionalProperties"] = False
    return found


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rsplit("/", 1)[1]] if isinstance(node.get("$ref"), str) else []
        return own + [name for value in node.values() for name in _references(value)]
    return [name for one in node for name in _references(one)] if isinstance(node, list) else []


def problems(version: str, body: dict[str, Any]) -> list[str]:
    """What that version of Kubernetes would say of an object; a kind that it does not have is a problem too."""
    document = json.loads((PLACE / f"{version}.json").read_text(encoding="utf-8"))
    name = document["kinds"].get(f"{body['apiVersion']} {body['kind']}")
    if name is None:
        return [f"Kubernetes {version} has no {body['apiVersion']} {body['kind']}"]
    schema = {"$ref": f"#/definitions/{name}", "definitions": document["definitions"]}
    found = jsonschema.Draft4Validator(schema).iter_errors(body)
    return [f"{body['kind']}/{body['metadata']['name']}: {'.'.join(map(str, one.path))}: {one.message}" for one in found]


def write(version: str) -> None:
    """Fetch a version's document, cut it down, and keep it."""
    asked = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}"]
    answer = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    document = json.loads((Path(answer["Dir"]) / "api" / "openapi-spec" / "swagger.json").read_text(encoding="utf-8"))
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / f"{version}.json").write_text(json.dumps(cut(document), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for one in sys.argv[1:] or VERSIONS:
        write(one)
