"""One link of the way from a resource to an answer, and how a whole way is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """HOLDS: this link is as it should be. BROKEN: it is not. UNKNOWN: it could not be looked at."""

    HOLDS = "ok"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Link:
    """`evidence` is what was seen, `advice` what to do about it; empty while the link holds."""

    name: str
    verdict: Verdict
    evidence: str
    advice: str = ""


def holds(name: str, evidence: str) -> Link:
    """A good link."""
    return Link(name=name, verdict=Verdict.HOLDS, evidence=evidence)


def broken(name: str, evidence: str, advice: str) -> Link:
    """A bad link."""
    return Link(name=name, verdict=Verdict.BROKEN, evidence=evidence, advice=advice)


def unknown(name: str, evidence: str, advice: str = "") -> Link:
    """A link that could not be looked at."""
    return Link(name=name, verdict=Verdict.UNKNOWN, evidence=evidence, advice=advice)


def first_broken(links: Iterable[Link]) -> Link | None:
    """The link to begin with: what is wrong behind it may be its consequence."""
    return next((link for link in links if link.verdict is Verdict.BROKEN), None)
