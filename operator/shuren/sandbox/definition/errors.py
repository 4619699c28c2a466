"""The one exception of the definition and HTTP rooms: an answer that is not a success, in Marathon's own words.

Bodies follow Marathon 1.11's exception mapper: a dict becomes JSON, a str is sent as it stands (HTML of the servlet container).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class ApiError(Exception):
    """An error answer: HTTP status, body (a dict is sent as JSON, a str as text) and extra headers."""

    def __init__(self, status: int, body: Any, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})

    @property
    def reason(self) -> str:
        """What went wrong, in one line."""
        if not isinstance(self.body, dict):
            return str(self.body)
        if not self.body.get("details"):
            return str(self.body.get("message", ""))
        return "Validation failed: " + "; ".join(f"{entry['path']}: {', '.join(entry['errors'])}" for entry in self.body["details"])


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One broken rule: where (`/constraints(0)`, `/` for the whole object) and Marathon's words for it."""

    path: str
    message: str


def _details(violations: Iterable[Violation]) -> list[dict[str, Any]]:
    grouped: dict[str, list[str]] = {}
    for violation in violations:
        errors = grouped.setdefault(violation.path, [])
        if violation.message not in errors:
            errors.append(violation.message)
    return [{"path": path, "errors": errors} for path, errors in grouped.items()]


def bad_shape(violations: Iterable[Violation]) -> ApiError:
    """422 for JSON of the wrong shape (type, missing field, limit of the interface description)."""
    return ApiError(422, {"message": "Invalid JSON", "details": _details(violations)})


def not_valid(violations: Iterable[Violation]) -> ApiError:
    """422 for a definition that breaks a semantic rule."""
    return ApiError(422, {"message": "Object is not valid", "details": _details(violations)})


def refused(status: int, message: str, *, details: bool = False) -> ApiError:
    """An error with a message only. Not-found answers of reads carry an empty `details` list, those of writes do not."""
    body: dict[str, Any] = {"message": message}
    if details:
        body["details"] = []
    return ApiError(status, body)
