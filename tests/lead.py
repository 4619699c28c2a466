"""Who leads, in the hand of a test."""

from __future__ import annotations

from shuren.domain.errors import Fenced


class Lead:
    """Leadership that a test gives and takes."""

    def __init__(self) -> None:
        self.leads = True
        self.left = 15.0

    def held(self) -> bool:
        return self.leads

    def check(self) -> None:
        if not self.leads:
            raise Fenced("not the leader any more")

    def remaining(self) -> float:
        return self.left if self.leads else 0.0
