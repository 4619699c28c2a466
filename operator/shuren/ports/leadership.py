"""Whether this process may write."""

from __future__ import annotations

from typing import Protocol

LEASE_NAME = "shuren-operator"
"""Of the Lease that whoever leads holds, in the operator's namespace."""
VERSION_ANNOTATION = "paas.shurenyun.com/version"
"""Annotation of the Lease: the release of whoever leads, or led last."""


class Leadership(Protocol):
    """Held while the Lease is, judged by local monotonic time."""

    def held(self) -> bool:
        """True while this process leads and its lease cannot have run out."""

    def check(self) -> None:
        """Raise Fenced unless held; called right before each external write."""

    def remaining(self) -> float:
        """Seconds until another may lead: for so long a request that is sent now may be under way. 0 when this process does not lead."""
