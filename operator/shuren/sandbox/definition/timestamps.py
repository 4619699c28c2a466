"""Marathon's timestamps: UTC, three digits of a second."""

from __future__ import annotations

from datetime import UTC, datetime

from .errors import refused


def show(moment: datetime) -> str:
    """A moment in Marathon's form."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parse(text: str) -> str:
    """A timestamp of a request in Marathon's form. Raises a 422 for what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise refused(422, f"Invalid timestamp provided '{text}'. Expecting ISO-8601 datetime string.") from None
    return show(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
