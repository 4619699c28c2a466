"""What values of a chart are alike in: parts of Kubernetes' own objects, names, addresses. `@schema {"like": …}` takes one from here.

They are no stricter than the API server, which judges the objects that the templates make, but they name the key of the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LABEL = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_LABEL_VALUE = {"type": "string", "maxLength": 63, "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"}
_OURS = r"^(app\.kubernetes\.io/(name|instance|component|managed-by|version)|helm\.sh/chart)$"
_OBJECT_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_NAMESPACE = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_NAMED = {"type": "string", "pattern": f"^{_OBJECT_NAME}$", "maxLength": 253}
_HOST = r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?"


def _closed(required: tuple[str, ...] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return found | ({"required": list(required)} if required else {})


def _listed(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"items": dict(item)}


_TEXT: Mapping[str, Any] = {"type": "string"}
_ANY: Mapping[str, Any] = {"type": "object"}
_AMOUNTS: Mapping[str, Any] = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}

LIKE: Mapping[str, Mapping[str, Any]] = {
    # a second one of ours would leave selectors without their pods
    "labels": {"additionalProperties": False, "patternProperties": {_LABEL: _LABEL_VALUE, _OURS: {"not": {}}}},
    "texts": {"additionalProperties": _TEXT},
    "name": {"pattern": f"^({_OBJECT_NAME})?$", "maxLength": 253},
    "names": _listed(_NAMED),
    "namespaces": {"uniqueItems": True, **_listed(_NAMESPACE)},
    "resources": _closed(requests=_AMOUNTS, limits=_AMOUNTS, claims={"type": "array", "items": _ANY}),
    "tolerations": _listed(
        _closed(
            key=_TEXT,
            operator={"enum": ["Exists", "Equal", "Lt", "Gt"]},
            value=_TEXT,
            effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            tolerationSeconds={"type": "integer"},
        )
    ),
    "affinity": _closed(nodeAffinity=_ANY, podAffinity=_ANY, podAntiAffinity=_ANY),
    "spread": _listed({"type": "object", "required": ["maxSkew", "topologyKey", "whenUnsatisfiable"]}),
    "env": _listed(_closed(("name",), name={"type": "string", "minLength": 1}, value=_TEXT, valueFrom=_ANY)),
    "envFrom": _listed(_closed(prefix=_TEXT, configMapRef=_ANY, secretRef=_ANY)),
    "volumes": _listed({"type": "object", "required": ["name"], "properties": {"name": _NAMESPACE}, "minProperties": 2}),
    "mounts": _listed(
        _closed(
            ("name", "mountPath"),
            name=_TEXT,
            mountPath={"type": "string", "minLength": 1},
            mountPropagation=_TEXT,
            readOnly={"type": "boolean"},
            recursiveReadOnly=_TEXT,
            subPath=_TEXT,
            subPathExpr=_TEXT,
        )
    ),
    "peers": _listed(_closed(ipBlock=_ANY, namespaceSelector=_ANY, podSelector=_ANY)),
    "egress": _listed(_closed(ports={"type": "array", "items": _ANY}, to={"type": "array", "items": _ANY})),
    "cidrs": _listed({"type": "string", "pattern": r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$"}),
    "ports": {"minItems": 1, **_listed({"type": "integer", "minimum": 1, "maximum": 65535})},
    "address": {"pattern": r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)?$"},
    "hosts": _listed({"type": "string", "pattern": rf"^{_HOST}\.?$"}),
    "zone": {"pattern": rf"^({_HOST}\.?)?$"},
    "servers": {"pattern": r"^([^\s,/]+(,[^\s,/]+)*)?$"},
    "ranges": {"pattern": r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"},
}
