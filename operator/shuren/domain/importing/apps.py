"""A Marathon definition, as GET answers it, to the shortest spec that asks for exactly the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shuren.domain.json import Document
from shuren.domain.marathon.diff import difference
from shuren.domain.marathon.normalise import READ_ONLY, normalise, without_nulls
from shuren.domain.marathon.paths import default_id
from shuren.domain.marathon.state import MarathonInfo

Json = dict[str, Any]

_KEPT = frozenset({"id", "instances", "cmd", "args", "container", "cpus", "mem", "networks", "labels", "env"})
"""Stay although they could be left out: a reader looks for them."""
_SECRET = re.compile(r"PASS(WORD|WD|PHRASE)?($|_)|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ImportedApp:
    """`spec` for a PaasApp; `secrets` are variables (name → value) that it refers to in a Secret instead of holding them."""

    spec: Json
    secrets: Mapping[str, str]
    differs: tuple[str, ...] = ()
    """Fields that the spec could not express; empty as it should be."""


def imported(
    definition: Document, *, namespace: str, name: str, cluster: str, info: MarathonInfo, secret: str = "", whole: bool = False
) -> ImportedApp:
    """The spec. `secret` names the Secret for variables whose names look like secrets; empty: they stay where they are.

    `whole` leaves every field in, defaults too.
    """
    app: Json = {k: without_nulls(v) for k, v in definition.items() if k not in READ_ONLY and v is not None}
    found = normalise(definition, info=info)
    kept = app if whole else _shortest(app, found, info)
    differs = tuple(c.path for c in difference(normalise(kept, info=info), found).changes)
    hidden = _hidden(kept.get("env")) if secret else {}
    spec: Json = {"clusterRef": {"name": cluster}, **kept}
    if spec.get("id") == default_id(namespace, name):
        del spec["id"]
    if hidden:
        env = {key: value for key, value in kept["env"].items() if key not in hidden}
        spec.pop("env")
        if env:
            spec["env"] = env
        spec["envRefs"] = [{"name": key, "secretKeyRef": {"name": secret, "key": key}} for key in hidden]
    spec["management"] = {"adoption": "AdoptIfIdentical"}
    return ImportedApp(spec=spec, secrets=hidden, differs=differs)


def _shortest(app: Json, found: Json, info: MarathonInfo) -> Json:
    """Without every field that Marathon would fill in the same way."""
    kept = dict(app)
    for key in sorted(app.keys() - _KEPT):
        without = {k: v for k, v in kept.items() if k != key}
        if normalise(without, info=info) == found:
            kept = without
    for key in ("labels", "env"):
        if not kept.get(key, True):
            del kept[key]
    return kept


def _hidden(env: object) -> dict[str, str]:
    """Variables that had better not stand in a file: by their names, since nobody knows better."""
    if not isinstance(env, Mapping):
        return {}
    return {str(k): v for k, v in sorted(env.items()) if isinstance(v, str) and v and _SECRET.search(str(k))}
