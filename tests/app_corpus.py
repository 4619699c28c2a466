"""The corpus of app definitions in tests/golden/marathon-apps: good ones as they are pasted, bad ones with what must be said about them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden" / "marathon-apps"


class RefusedBy(StrEnum):
    """What in the API server refuses a bad definition; the models refuse all of them."""

    SCHEMA = "schema"
    POLICY = "policy"


@dataclass(frozen=True, kw_only=True)
class Bad:
    name: str
    spec: dict[str, Any]
    refused_by: RefusedBy
    problems: tuple[tuple[str, str], ...]


def good() -> dict[str, dict[str, Any]]:
    """Name → app definition."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "good").glob("*.json"))}


def bad() -> dict[str, Bad]:
    found: dict[str, Bad] = {}
    for path in sorted((FOLDER / "bad").glob("*.json")):
        text = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = Bad(
            name=path.stem,
            spec=text["spec"],
            refused_by=RefusedBy(text["refusedBy"]),
            problems=tuple((problem["path"], problem["message"]) for problem in text["problems"]),
        )
    return found


def paas_app(name: str, spec: dict[str, Any], *, namespace: str = "default") -> dict[str, Any]:
    """Paste an app definition under `spec` of a PaasApp."""
    return {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasApp",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterRef": {"name": "bj1"}, **spec},
    }
