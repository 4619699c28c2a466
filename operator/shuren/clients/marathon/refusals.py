"""What Marathon's error answers mean, in our exception tree.

Two statuses have two meanings each: 409 is a lock only if it carries `deployments`, else the thing exists already; 403 is "too many running
deployments" or a refusal of our rights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from shuren.domain.errors import Denied, Exists, FieldError, Gone, Invalid, Locked, ShurenError, Throttled, Unreachable
from shuren.ports.marathon import Faulted

_LONGEST = 8192
"""Characters of Marathon's words. Whoever shows them shortens them, after having hidden what is secret in them."""


def refuse(status: int, body: bytes, what: str) -> NoReturn:
    """Raise what an answer with an error status means; `what` names the request for people."""
    raise _error(status, _document(body), body, what)


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _error(status: int, document: Mapping[str, Any], body: bytes, what: str) -> ShurenError:  # noqa: C901 - one case per status
    said = str(document.get("message") or "")[:_LONGEST]
    message = f"{what}: {said or _text(body) or f'HTTP {status}'}"
    match status:
        case 400 | 415 | 422 if said:
            return Invalid(_with_details(message, document), errors=_fields(document))
        case 413:
            return Invalid(f"{what}: something before Marathon takes no request of that size (413)")
        case 401:
            return Denied(f"{what}: Marathon refused the credentials (401)")
        case 403 if said.startswith("Max number"):
            return Throttled(message, retry_after=2.0)
        case 403:
            return Denied(message)
        case 404 if _MISSING in said:
            return Gone(message)
        case 404:
            # a proxy without a Marathon behind it, or another server: nothing is known about the app
            return Unreachable(f"{what}: HTTP 404, but not in Marathon's words; is that URL a Marathon?")
        case 409 if isinstance(document.get("deployments"), list):
            ids = tuple(str(d.get("id", "")) for d in document["deployments"] if isinstance(d, Mapping))
            return Locked(f"{what}: the app is locked by deployment {', '.join(ids)}", deployments=ids)
        case 409:
            return Exists(message)
        case 429:
            return Throttled(message)
        case _:
            return _of_server(status, said, message, overloaded=b"Too many concurrent" in body)


def _of_server(status: int, said: str, message: str, *, overloaded: bool) -> ShurenError:
    match status:
        case 503 if overloaded:
            return Throttled(f"{message}: Marathon takes no more requests at the same time")
        case 500 if said and not said.startswith("URI not found"):
            # a definition that Marathon cannot handle: lower-case constraint operators, a COMMAND check without command, …
            return Invalid(message) if _speaks_of_input(said) else Faulted(message)
        case _:
            return Unreachable(message)


_MISSING = "does not exist"
"""How Marathon says that a thing is not there (`App '/x' does not exist`). No other 404 means that."""

_INPUT_WORDS = ("constraint", "requirement failed", "illegal", "must be", "networks", "Normalization", "None.get", "health check", "check")


def _speaks_of_input(said: str) -> bool:
    lowered = said.lower()
    return any(word.lower() in lowered for word in _INPUT_WORDS)


def _fields(document: Mapping[str, Any]) -> tuple[FieldError, ...]:
    details = document.get("details")
    if not isinstance(details, list):
        return ()
    return tuple(
        FieldError(path=str(item.get("path", "/")), message="; ".join(str(e) for e in _listed(item.get("errors"))))
        for item in details
        if isinstance(item, Mapping)
    )


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _with_details(message: str, document: Mapping[str, Any]) -> str:
    details = document.get("details")
    if isinstance(details, str):
        return f"{message} ({details[:_LONGEST]})"
    fields = "; ".join(f"{error.path}: {error.message}" for error in _fields(document))
    return f"{message} ({fields[:_LONGEST]})" if fields else message


def _text(body: bytes) -> str:
    """The first words of a body that is not JSON; Marathon's proxy answers HTML."""
    text = body[:_LONGEST].decode(errors="replace").strip()
    return "" if text.startswith("<") else text
