"""The one exception tree.

    ShurenError
    ├── Transient            try again later, nobody needs to do anything
    │   ├── Unreachable      the target did not answer (refused, timed out, 5xx, no leader)
    │   ├── Throttled        the target asked for less (429, Marathon's 403 "max running deployments", 503 too many requests)
    │   └── UnknownOutcome   a write was sent and its answer lost: it may or may not have happened; read before writing again
    ├── Invalid              the user must change the spec; carries the field path and the target's own words
    ├── Conflict             somebody else changed it or holds it; look again, then decide
    │   ├── Locked           a Marathon deployment holds the app; carries the deployment ids
    │   ├── Exists           creation of something that is already there
    │   └── Gone             change of something that is no longer there
    ├── NotOurs              it belongs to somebody else; never touch it
    ├── Denied               credentials or permissions are missing (401, 403)
    │   └── Unauthenticated  the API server takes our token for none (401): the next one is in its file soon
    └── Fenced               this process is no longer the leader; stop writing at once

Clients map foreign errors into this tree at their boundary with `raise … from`. Retrying is the queue's work, never a loop's.
"""

from __future__ import annotations

from dataclasses import dataclass


class ShurenError(Exception):
    """Base of everything this product raises on purpose."""


class Transient(ShurenError):
    """Will pass by itself. `retry_after` is in seconds, None leaves the choice to the queue's back-off."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(Transient):
    """The target did not answer, or answered that it cannot now."""


class Throttled(Transient):
    """The target asked for fewer or later requests."""


class UnknownOutcome(Transient):
    """A write was sent and its answer was lost. Read back before writing again."""


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One thing wrong in a document: `path` as the target or schema names it (`/upgradeStrategy/minimumHealthCapacity`), and why."""

    path: str
    message: str


class Invalid(ShurenError):
    """The input cannot be accepted until somebody changes it. `errors` may be empty when the target named no field."""

    def __init__(self, message: str, *, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class Conflict(ShurenError):
    """The world is not as the writer believed. `index` names the operation of a multi or the member of an array, when known."""

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class Locked(Conflict):
    """A running Marathon deployment holds the app."""

    def __init__(self, message: str, *, deployments: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.deployments = deployments


class Exists(Conflict):
    """What was to be created is already there."""


class Gone(Conflict):
    """What was to be changed is no longer there."""


class NotOurs(ShurenError):
    """It belongs to somebody else."""


class Denied(ShurenError):
    """The target refused our credentials or rights."""


class Unauthenticated(Denied):
    """The API server does not know who we are. A token that ended is followed by another in its file: nobody has to grant anything."""


class Fenced(ShurenError):
    """This process is no longer the leader."""
