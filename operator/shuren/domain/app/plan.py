"""What is to be done, as values: the operator applies exactly these, and `shuren plan` prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from shuren.domain.app.snapshot import Memory, RevisionState
from shuren.domain.conditions import Condition
from shuren.domain.json import Document, JsonValue
from shuren.domain.marathon.diff import FieldChange


@dataclass(frozen=True, kw_only=True)
class AddFinalizer:
    """Before anything outside is touched."""

    def __str__(self) -> str:
        return "add the finalizer"


@dataclass(frozen=True, kw_only=True)
class RemoveFinalizer:
    """Last of all."""

    def __str__(self) -> str:
        return "remove the finalizer"


@dataclass(frozen=True, kw_only=True)
class ClaimId:
    """Claim the app id in ZooKeeper by compare-and-set. `replaces` is the uid of a holder that no longer exists, else empty."""

    app_id: str
    replaces: str = ""

    def __str__(self) -> str:
        return f"claim {self.app_id}" + (" from a resource that is gone" if self.replaces else "")


@dataclass(frozen=True, kw_only=True)
class ReleaseClaim:
    """Give an app id back. `best_effort`: a person has let go, so a ZooKeeper that is away must not hold anything up."""

    app_id: str
    cluster: str
    best_effort: bool = False

    def __str__(self) -> str:
        return f"release the claim on {self.app_id} in {self.cluster}"


@dataclass(frozen=True, kw_only=True)
class RecordRevision:
    """Write down a revision before it is tried, or that one that exists is tried again. `adopted`: it runs already, and so is good; with
    `created`, since we have made it.

    `beside` is the id of the app that serves while this one is tried under `app_id`; empty: it takes that app's place.
    """

    revision: str
    number: int
    app_id: str
    adopted: str = ""
    beside: str = ""
    created: bool = False

    def __str__(self) -> str:
        known = " (it runs)" if self.created else " (adopted)"
        where = known if self.adopted else f", to be tried beside {self.beside}" if self.beside else ""
        return f"record revision {self.revision} as number {self.number}{where}"


@dataclass(frozen=True, kw_only=True)
class MarkRevision:
    """A revision has turned out good (then `marathon_version` is given) or failed (then `failure` is; `aborted`: traffic goes back)."""

    name: str
    revision: str
    state: RevisionState
    marathon_version: str = ""
    failure: str = ""
    aborted: bool = False

    def __str__(self) -> str:
        return f"mark revision {self.revision} {self.state.value.lower()}"


@dataclass(frozen=True, kw_only=True)
class PruneRevision:
    """Forget an old revision."""

    name: str
    revision: str

    def __str__(self) -> str:
        return f"forget revision {self.revision}"


_SHOWN = 5
"""Paths that are enough to recognise a change."""


class WriteKind(Enum):
    """What a full write does in Marathon, by which writes may share a deployment."""

    CREATE = "create"
    CONFIG = "config"


@dataclass(frozen=True, kw_only=True)
class PutApp:
    """Write the complete definition. `changes` says what differs (secrets hidden); `force` replaces the running deployment of the app.

    `asked` and `over` are what is remembered once Marathon has taken it: a digest of what was asked for, and the version that was there.
    """

    app_id: str
    definition: Document = field(repr=False)
    kind: WriteKind
    asked: str = ""
    over: str = ""
    changes: tuple[FieldChange, ...] = ()
    corrects_drift: bool = False
    force: bool = False

    def __str__(self) -> str:
        if self.kind is WriteKind.CREATE:
            return f"create {self.app_id}"
        what = "correct" if self.corrects_drift else "update"
        paths = ", ".join(c.path for c in self.changes[:_SHOWN]) + (", …" if len(self.changes) > _SHOWN else "")
        return f"{what} {self.app_id} ({paths}){_forced(self.force)}"


@dataclass(frozen=True, kw_only=True)
class ScaleApp:
    """Change only the number of instances, upwards or by instances that have no task yet."""

    app_id: str
    instances: int
    before: int
    force: bool = False

    def __str__(self) -> str:
        return f"scale {self.app_id} from {self.before} to {self.instances}{_forced(self.force)}"


@dataclass(frozen=True, kw_only=True)
class KillTasks:
    """Remove exactly these tasks and lower `instances` by as many."""

    app_id: str
    task_ids: tuple[str, ...]
    force: bool = False

    def __str__(self) -> str:
        return f"remove {len(self.task_ids)} tasks of {self.app_id}: {', '.join(self.task_ids)}{_forced(self.force)}"


@dataclass(frozen=True, kw_only=True)
class Drain:
    """Let exactly these tasks of the app finish what they have and take nothing new; others that were asked before go on as usual."""

    app_id: str
    task_ids: tuple[str, ...]

    def __str__(self) -> str:
        if not self.task_ids:
            return f"drain no task of {self.app_id} any more"
        return f"drain {len(self.task_ids)} tasks of {self.app_id}: {', '.join(self.task_ids)}"


@dataclass(frozen=True, kw_only=True)
class RestartApp:
    """Replace all tasks with the definition unchanged: a person asks for it (`asked` is the value of the annotation), or a roll-out whose
    deployment was cancelled is finished (`asked` is empty).
    """

    app_id: str
    asked: str = ""

    def __str__(self) -> str:
        return f"restart {self.app_id}, as asked for" if self.asked else f"restart {self.app_id}, whose roll-out was broken off"


@dataclass(frozen=True, kw_only=True)
class RestoreVersion:
    """Back to a revision that was good, by Marathon's own copy of it, with `instances`; rendered anew when that copy is gone."""

    app_id: str
    marathon_version: str
    revision: str
    instances: int

    def __str__(self) -> str:
        return f"roll {self.app_id} back to revision {self.revision}"


@dataclass(frozen=True, kw_only=True)
class CancelDeployment:
    """Stop a deployment and leave the app as it is."""

    app_id: str
    deployment_id: str

    def __str__(self) -> str:
        return f"cancel deployment {self.deployment_id} of {self.app_id}"


@dataclass(frozen=True, kw_only=True)
class DeleteApp:
    """Delete an app that our claim covers, in the cluster named. `force` ends a deployment of this app alone.

    `emptied`: it has no instances any more, and another one serves in its place; the guard on deletions has nothing to guard there.
    """

    app_id: str
    cluster: str
    force: bool = False
    emptied: bool = False

    def __str__(self) -> str:
        return f"delete {self.app_id} in {self.cluster}{_forced(self.force)}"


def _forced(force: bool) -> str:  # noqa: FBT001 - a formatter's only argument
    return ", replacing its running deployment" if force else ""


Action: TypeAlias = (
    AddFinalizer
    | RemoveFinalizer
    | ClaimId
    | ReleaseClaim
    | RecordRevision
    | MarkRevision
    | PruneRevision
    | PutApp
    | ScaleApp
    | KillTasks
    | Drain
    | RestartApp
    | RestoreVersion
    | CancelDeployment
    | DeleteApp
)

OUTSIDE = (PutApp, ScaleApp, KillTasks, Drain, RestartApp, RestoreVersion, CancelDeployment, DeleteApp, ClaimId, ReleaseClaim)
"""Actions that change something outside Kubernetes."""


@dataclass(frozen=True, kw_only=True)
class AppPlan:
    """The decision of one pass.

    `actions` are carried out in order until one fails. `conditions` None leaves the status alone (nothing is known better than before);
    `facts` are the other fields of the status. `requeue_after` in seconds. `overtaken`: once all actions have gone well, another pass
    follows at once and has more to say, so that this one leaves the status to it.
    """

    actions: tuple[Action, ...] = ()
    conditions: tuple[Condition, ...] | None = None
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    requeue_after: float | None = None
    memory: Memory = field(default_factory=Memory)
    overtaken: bool = False

    def __str__(self) -> str:
        return summary(self.actions) or "nothing to do"


def summary(actions: Sequence[Action]) -> str:
    """The actions as one line for people."""
    return "; ".join(str(action) for action in actions)
