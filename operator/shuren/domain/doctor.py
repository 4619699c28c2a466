"""What a look at every part found, judged: is it well, and what is to be mended. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from shuren.domain.app.rollout import moment


class Health(Enum):
    """WELL: nothing to do. ADVICE: it works, and could be better. ILL: something does not work, or will not for long."""

    WELL = "ok"
    ADVICE = "advice"
    ILL = "broken"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. `mend` says what to do; empty when all is well."""

    part: str
    health: Health
    found: str
    mend: str = ""


def well(part: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(part=part, health=Health.WELL, found=found)


def advice(part: str, found: str, mend: str) -> Finding:
    """It works, and could be better."""
    return Finding(part=part, health=Health.ADVICE, found=found, mend=mend)


def ill(part: str, found: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(part=part, health=Health.ILL, found=found, mend=mend)


# ---------------------------------------------------------------------------------------------------- clocks

SKEW = 5.0
"""Seconds between two clocks from which on it is told: certificates, leases and `restart` rest on them."""


def clock(part: str, *, theirs: datetime | None, ours: datetime, took: float) -> Finding:
    """`theirs` is what the part said (to the second), `ours` our own time in the middle of the request, which took so many seconds."""
    if theirs is None:
        return advice(part, "it does not tell its time", "compare the clocks yourself")
    off = (theirs - ours).total_seconds()
    if abs(off) <= SKEW + took + 1.0:
        return well(part, "its clock agrees with this machine's")
    word = "ahead of" if off > 0 else "behind"
    return ill(part, f"its clock is {abs(off):.0f} s {word} this machine's", "let both follow the same time server (NTP)")


# ---------------------------------------------------------------------------------------------------- releases

_OLDEST = {"Marathon": (1, 8), "Mesos": (1, 5), "ZooKeeper": (3, 5), "Kubernetes": (1, 29)}
"""Releases that this one was tried with, or that bring what it needs (Kubernetes: CEL and admission policies)."""


def release(part: str, product: str, version: str) -> Finding:
    """Whether a release is new enough."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers is None:
        return advice(part, f"{product} does not tell its release ({version or 'nothing'})", "compare it with docs/setup.md yourself")
    least = _OLDEST[product]
    if (int(numbers[1]), int(numbers[2])) < least:
        return ill(part, f"{product} {version} is too old", f"upgrade to {least[0]}.{least[1]} or newer")
    return well(part, f"{product} {version}")


def operator_release(*, ours: str, theirs: str) -> Finding:
    """The operator's release against this program's. Empty: it does not say, as releases before 0.1 did not."""
    part = "operator"
    if not theirs:
        return ill(part, "its release is not known: it is older than this program, or does not run", "upgrade the operator (helm upgrade)")
    if _numbers(theirs) < _numbers(ours):
        return ill(part, f"release {theirs} is older than this program's {ours}", "upgrade the operator, or use the program of its release")
    if _numbers(theirs) > _numbers(ours):
        return advice(part, f"release {theirs} is newer than this program's {ours}", "upgrade this program")
    return well(part, f"release {theirs}, as this program")


def older_release(*, ours: str, theirs: str) -> Finding | None:
    """The finding when an operator of another minor release leads that is older than this program; None when they belong together.

    Patch releases understand each other.
    """
    if theirs and _numbers(theirs)[:2] >= _numbers(ours)[:2]:
        return None
    return operator_release(ours=ours, theirs=theirs)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])


# ---------------------------------------------------------------------------------------------------- leadership, definitions, rights


def lease(*, holder: str, renewed: str, seconds: int, now: datetime) -> Finding:
    """Who leads, and whether still."""
    part = "operator's lease"
    at = moment(renewed)
    if not holder or at is None:
        return ill(part, "nobody leads", "does an operator run? kubectl get pods -A -l app.kubernetes.io/name=shuren")
    age = (now - at).total_seconds()
    if age > seconds:
        return ill(part, f"{holder} led until {age:.0f} s ago, and nobody has taken over", "see the log of the operator's pods")
    return well(part, f"{holder} leads")


def definition(name: str, *, missing: Sequence[str], established: bool) -> Finding:
    """A CRD against what this program knows of the kind: `missing` are fields that it lacks."""
    part = f"CRD {name}"
    if not established:
        return ill(part, "it is not established", f"kubectl get crd {name} -o yaml shows why")
    if missing:
        some = ", ".join(missing[:4]) + (", …" if len(missing) > 4 else "")  # noqa: PLR2004 - enough to recognise
        return ill(part, f"it is older than this program and lacks {some}", "kubectl apply --server-side -f crds/, or upgrade the chart")
    return well(part, "knows every field that this program does")


@dataclass(frozen=True, kw_only=True, order=True)
class Right:
    """A verb on a resource; `for_what` is the command that needs it."""

    verb: str
    resource: str
    for_what: str


def rights(refused: Iterable[Right], *, asked: int) -> Finding:
    """What the user may do."""
    missing = sorted(refused)
    if not missing:
        return well("your rights", f"all {asked} that these commands need")
    told = "; ".join(f"{r.verb} {r.resource} ({r.for_what})" for r in missing)
    role = "shuren-viewer" if all(r.verb in {"get", "list", "watch"} for r in missing) else "shuren-editor"
    return advice("your rights", f"missing: {told}", f"ask for a rolebinding to the ClusterRole {role}, if you need these commands")


# ---------------------------------------------------------------------------------------------------- limits

_FULL = 0.9
_MANY_APPS = 5000


def room(part: str, *, used: float, total: float, what: str) -> Finding:
    """How full a cluster is."""
    if total <= 0:
        return advice(part, f"no {what} at all", "add agents")
    share = used / total
    words = f"{share:.0%} of {total:g} {what} in use"
    return advice(part, words, "add agents, or scale down: new tasks may find no place") if share >= _FULL else well(part, words)


def size(part: str, *, apps: int, limit: int) -> Finding:
    """How many apps one Marathon carries, and how many deployments are allowed at once."""
    words = f"{apps} {'app' if apps == 1 else 'apps'}, {limit} deployments at once"
    if apps > _MANY_APPS:
        return advice(part, words, "Marathon pays for every write in proportion to its apps: see docs/performance.md")
    return well(part, words)


def worst(findings: Iterable[Finding]) -> Health:
    """Of all."""
    order = (Health.WELL, Health.ADVICE, Health.ILL)
    return max((f.health for f in findings), key=order.index, default=Health.WELL)
