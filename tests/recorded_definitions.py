"""Definitions that a real Marathon was given, each with what its GET then answered, out of the recorded exchanges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_TRANSCRIPTS = Path(__file__).parent / "contract" / "engine" / "transcripts"
_FILES = ("validation", "validation_put", "ids", "partial_iso", "lifecycle", "backoff", "groups")
_PART_OF_A_GET_ONLY = ("tasks", "deployments", "lastTaskFailure", "readinessCheckResults")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """`given` is the whole definition in force (for a partial update: merged by Marathon's rules), `answered` the GET without tasks."""

    label: str
    given: dict[str, Any]
    answered: dict[str, Any]


def recorded() -> list[Recorded]:
    """All accepted definitions that were read back."""
    return [pair for name in _FILES for pair in _pairs(_TRANSCRIPTS / f"{name}.jsonl", name)]


def _pairs(path: Path, name: str) -> Iterator[Recorded]:
    held: dict[str, dict[str, Any]] = {}
    pending: dict[str, str] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        request, response = row["request"], row.get("response", {})
        status = response.get("status")
        url = urlsplit(request["path"])
        body = _body(request.get("body"))
        app_id = _app_id(url.path)
        match request["method"]:
            case "POST" if url.path == "/v2/apps" and isinstance(body, dict) and status in (201, None):
                app_id = "/" + str(body["id"]).strip("/")
                held[app_id], pending[app_id] = {**body, "id": app_id}, row.get("label", "make")
            case "PUT" if app_id and isinstance(body, dict) and status in (200, 201):
                if "version" in body:
                    held.pop(app_id, None)
                    continue
                before = held.get(app_id) if status == 200 else {}
                if before is None:
                    continue
                held[app_id], pending[app_id] = {**_merged(before, body, url.query), "id": app_id}, row["label"]
            case "DELETE" if app_id:
                held.pop(app_id, None)
            case "GET" if app_id and status == 200:
                app = (response.get("json") or {}).get("app")
                if app is not None and app_id in pending and app_id in held:
                    yield Recorded(label=f"{name}: {pending.pop(app_id)}", given=held[app_id], answered=_definition(app))


def _body(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _app_id(path: str) -> str:
    head, tail = "/v2/apps/", unquote(path)
    if not tail.startswith(head) or any(part in tail for part in ("/tasks", "/versions", "/restart", "*")):
        return ""
    return "/" + tail.removeprefix(head).strip("/")


def _merged(before: dict[str, Any], body: dict[str, Any], query: str) -> dict[str, Any]:
    """A partial update keeps what it does not name, except `resourceLimits` and `executorResources`; null says nothing."""
    said = {key: value for key, value in body.items() if value is not None}
    if "partialUpdate=false" in query:
        return said
    return {key: value for key, value in before.items() if key not in {"resourceLimits", "executorResources"}} | said


def _definition(app: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in app.items() if key not in _PART_OF_A_GET_ONLY and not key.startswith("tasks")}
