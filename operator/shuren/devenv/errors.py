"""What goes wrong while the local parts are found, built, started or stopped.

One class: whoever catches it can only show it. The message says what happened, where, and what to do; `tail` holds the end of the log
that explains it.
"""

from __future__ import annotations

from pathlib import Path


class DevenvError(Exception):
    """A local part could not be had, started or stopped."""

    def __init__(self, message: str, *, tail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.tail = tail

    def __str__(self) -> str:
        return f"{self.message}\n{self.tail}" if self.tail else self.message


def log_tail(path: Path, *, lines: int = 25, limit: int = 16_384) -> str:
    """The last `lines` lines of a log (reading at most `limit` bytes), indented, with its path; empty when there is nothing."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - limit))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    kept = text.rstrip().splitlines()[-lines:]
    return "\n".join([f"  --- end of {path}", *(f"  | {line}" for line in kept)]) if kept else ""
