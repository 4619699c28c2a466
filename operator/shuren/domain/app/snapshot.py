"""Everything that a decision about one PaasApp needs, as values. `controllers.paasapp.gather` fills it; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property

from shuren.domain.app.secrecy import Veil, values_in_environment
from shuren.domain.cluster import Amounts
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.json import Document, JsonValue
from shuren.domain.marathon.state import ActualApp, Deployment, MarathonInfo, QueueItem

FINALIZER = "paas.shurenyun.com/marathon-app"
FORCE_ORPHAN = "paas.shurenyun.com/force-orphan"
RESTART = "paas.shurenyun.com/restart"
"""Annotation that asks for all tasks to be replaced once: those of a configuration older than this moment (RFC 3339).

Marathon's own version of the app, out of the status, is the safest value, since then one clock alone counts.
"""
OWNER_LABEL = "paas.shurenyun.com/app-uid"
"""Label of what a PaasApp owns in Kubernetes; its value is the uid, since names may be longer than a label's value."""


PENDING = "Pending"
"""Reason while something has not been read yet: neither good nor bad news."""


class Policy(Enum):
    """What the operator may do in Marathon."""

    FULL = "Full"
    OBSERVE_ONLY = "ObserveOnly"
    NO_DELETE = "NoDelete"


class Adoption(Enum):
    """What to do with an unclaimed app of the same id."""

    REFUSE = "Refuse"
    ADOPT_IF_IDENTICAL = "AdoptIfIdentical"
    ADOPT = "Adopt"


class Deletion(Enum):
    """What happens in Marathon when the resource goes."""

    DELETE = "Delete"
    ORPHAN = "Orphan"


class DriftPolicy(Enum):
    """What to do about changes that somebody else made."""

    CORRECT = "Correct"
    WARN = "Warn"
    IGNORE = "Ignore"


class OnFailure(Enum):
    """What follows a failed roll-out."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"
    IGNORE = "Ignore"


@dataclass(frozen=True, kw_only=True)
class Management:
    """`spec.management`, with defaults."""

    policy: Policy = Policy.FULL
    adoption: Adoption = Adoption.REFUSE
    deletion: Deletion = Deletion.DELETE
    drift: DriftPolicy = DriftPolicy.CORRECT
    ignore_paths: tuple[str, ...] = ()
    suspend: bool = False


class Strategy(Enum):
    """ROLLING: Marathon replaces the tasks of the app. GATED: a second app beside it, and traffic moves by steps."""

    ROLLING = "Rolling"
    GATED = "Gated"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One of `spec.rollout.steps`. `weight` and `scale` are percent, of traffic and of the instances asked for (None: as the weight).

    The step is passed after `duration` seconds, and with `pause` only when a person says so. Limits: None means none is set. They are
    judged by at least `min_requests` requests to the new version.
    """

    weight: int
    scale: int | None = None
    pause: bool = False
    duration: float = 0.0
    max_error_rate: float | None = None
    max_latency: int | None = None
    min_requests: int = 20

    @property
    def limited(self) -> bool:
        """Whether traffic is judged."""
        return self.max_error_rate is not None or self.max_latency is not None


@dataclass(frozen=True, kw_only=True)
class RolloutPolicy:
    """`spec.rollout`, with defaults. Seconds."""

    deadline: float = 600.0
    drain: float = 60.0
    on_failure: OnFailure = OnFailure.ROLLBACK
    max_unhealthy: float | None = None
    strategy: Strategy = Strategy.ROLLING
    steps: tuple[Step, ...] = ()
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that stops a pass, as a condition's reason and message."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Resource:
    """The PaasApp itself. `instances` is what its spec says, whether or not the rest can be read."""

    key: ObjectKey
    uid: str
    generation: int
    instances: int = 1
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Desired:
    """What the spec asks for. `definition` is the complete Marathon app, patches and secret values included; it is never shown.

    `revision` names the spec and the digests of what it refers to, without `instances`: scaling makes no revision. `secret_paths` are JSON
    pointers whose values must not be shown, `secrets` values that must not be shown wherever they stand. `advice` are findings about known
    traps, `warnings` sentences about what was ignored.
    """

    app_id: str
    definition: Document = field(repr=False)
    revision: str
    secret_paths: tuple[str, ...] = ()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    advice: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def instances(self) -> int:
        """How many instances are asked for."""
        value = self.definition.get("instances", 1)
        return value if isinstance(value, int) else 1


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """A PaasApp named in `dependsOn`, and whether it is Ready."""

    name: str
    exists: bool
    ready: bool


class RevisionState(Enum):
    """TRYING: its roll-out has begun. GOOD: it ended well. FAILED: it did not, and is not tried again.

    WITHDRAWN: a person has taken it back (`shuren rollback`), however well it ran; neither is it tried again.
    """

    TRYING = "Trying"
    GOOD = "Good"
    FAILED = "Failed"
    WITHDRAWN = "Withdrawn"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One ControllerRevision of ours.

    `app_id` is the id under which it ran: what is good under one id cannot be restored under another. `marathon_version` is Marathon's own
    name for it once it was good, else empty. `failure` says in a sentence why it failed, else empty. `beside` is the id of the app beside
    which a gated roll-out has tried it, empty once it has turned out good; `aborted`: that roll-out goes back.
    """

    name: str
    hash: str
    number: int
    state: RevisionState
    app_id: str = ""
    marathon_version: str = ""
    failure: str = ""
    beside: str = ""
    aborted: bool = False

    @property
    def why_not(self) -> str:
        """Why it is not tried again, as the beginning of a sentence."""
        verb = "was taken back" if self.state is RevisionState.WITHDRAWN else "failed"
        return f"revision {self.hash} {verb}: {self.failure}"


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """An app id that this resource has claimed besides the desired one: under an older id, or in the cluster it has left.

    `locked_by_others`: a deployment that touches other apps too holds it, so that deleting it by force would hurt them. With `reachable`
    False nothing is known of it, maybe not even the id (then empty).
    """

    cluster: str
    app_id: str
    app: ActualApp | None
    reachable: bool = True
    locked_by_others: bool = False
    deletion_wait: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ClusterView:
    """The MesosCluster that the resource names. `unreachable_for` is in seconds, None while Marathon and ZooKeeper answer.

    `silence` says which of them does not, without details that change with every attempt. `synced`: a whole picture of Marathon and of the
    claims has been read in this session, and it is newer than our own last write to this app. `agents`, and what they
    have in all, are None when Mesos is not read.
    """

    name: str
    exists: bool = True
    connected: bool = True
    problem: Problem | None = None
    synced: bool = True
    unreachable_for: float | None = None
    silence: str = "Marathon does not answer"
    grace: float = 60.0
    info: MarathonInfo = field(default_factory=lambda: MarathonInfo(version="", framework_id=None, leader=None))
    agents: int | None = None
    total: Amounts | None = None


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Marathon refused to take `body` (a digest of what was sent) at `at` (monotonic seconds): its words, with field paths."""

    body: str
    message: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A complete definition that Marathon has taken: a digest of what was asked for, the app's version before, and the one it became.

    The app keeps the version before when Marathon finds that nothing changes.
    """

    asked: str
    over: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a load balancer has counted of one app since it began: requests, those that failed, and the mean latency of late (ms)."""

    requests: int = 0
    errors: int = 0
    latency: int = 0


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One step of a roll-out under watch. `at` is when it began to hold (monotonic seconds), `counts` what had been counted by then, by
    service and load balancer.
    """

    step: str
    at: float
    counts: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the controller remembers from pass to pass. Losing it costs a longer wait, never a wrong step.

    `revision` is the one that is watched, `measure` the furthest that its roll-out has come, `progress_at` when (monotonic seconds), and
    `deadline` the moment for people (RFC 3339) at which it fails without further progress. `unhealthy_since` is when a new instance was
    first seen unhealthy in a row. `deployments` are ids that our own writes got, newest last. `taken` is what Marathon last took from us.
    `watch` is the step of a gated roll-out that holds.
    """

    revision: str = ""
    measure: tuple[int, ...] = ()
    progress_at: float | None = None
    deadline: str = ""
    unhealthy_since: float | None = None
    deployments: tuple[str, ...] = ()
    refusal: Refusal | None = None
    taken: Taken | None = None
    restarted: str = ""
    """The value of the annotation `RESTART` that was followed last."""
    watch: Watch | None = None


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What must have happened before a task of the app may go (`domain.app.victims`).

    `closed` False: nothing, the app is behind no load balancer. `draining` are tasks that have been asked to let go of their traffic,
    `released` those of them that have; `why` says what holds up the others. `left` is in how many seconds the first of these goes anyhow.

    `at_once`: so many tasks may restart at the same time, since they hold shards; None: as many as the app's own upgradeStrategy lets.
    `unsettled` says what has to end before a restart of tasks may begin.
    """

    closed: bool = False
    draining: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()
    why: Mapping[str, str] = field(default_factory=dict)
    left: float | None = None
    at_once: int | None = None
    unsettled: str = ""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The other of the two ids of a resource (`domain.app.pair`), and what is there.

    That is the new version while a gated roll-out is under way, and what is left of it, or of the former version, after. `problem`: the id
    may not be used. `holder_gone` as in the snapshot.
    """

    app_id: str
    claim: Claim | None = None
    holder_gone: bool = False
    app: ActualApp | None = None
    deployment: Deployment | None = None
    queue: QueueItem | None = None
    gates: Gates = field(default_factory=Gates)
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """A service behind load balancers that carries the app.

    `share` is the percent of traffic that it publishes for the app beside, None when it publishes none. `behind`: why what it publishes has
    not been brought about by every live load balancer, else empty. `ready` are the instances of the app beside that it publishes as ready,
    `unproven` says which load balancer's own check has yet to pass for some of them, else empty. `counts` are of the app beside, by load
    balancer.
    """

    service: str
    share: int | None = None
    behind: str = ""
    ready: int = 0
    unproven: str = ""
    counts: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One look at the world. `now` is aware UTC time for people, `monotonic` seconds for intervals.

    `desired` is None exactly when `problem` (the user must act: Stalled) or `waiting` (it will pass: e.g. a Secret is missing) says why.
    `namespace_going`: the resource's namespace is being deleted. `hurried`: the app is new, and many like it wait: it is created first and
    told of after. `holder_gone`: the claim belongs to a resource that does not exist any
    more. `deletion_wait` is how many seconds the guard on deletions asks to wait. `beside` is given for apps that are rolled out gated, or
    that have something left of it; `carriers` are the services whose load balancers move its traffic.
    """

    resource: Resource
    management: Management
    rollout: RolloutPolicy
    cluster: ClusterView
    desired: Desired | None = None
    problem: Problem | None = None
    waiting: Problem | None = None
    dependencies: tuple[Dependency, ...] = ()
    claim: Claim | None = None
    holder_gone: bool = False
    app: ActualApp | None = None
    deployment: Deployment | None = None
    queue: QueueItem | None = None
    revisions: tuple[Revision, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    deletion_wait: float = 0.0
    namespace_going: bool = False
    hurried: bool = False
    gates: Gates = field(default_factory=Gates)
    beside: Beside | None = None
    carriers: tuple[Carrier, ...] = ()
    memory: Memory = field(default_factory=Memory)
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    monotonic: float = 0.0

    @cached_property
    def veil(self) -> Veil:
        """Hides what must not be shown: the values of Secrets, present and former ones.

        While the spec cannot be rendered nobody knows which variables in Marathon are secret: then all of them are.
        """
        held = self.app.definition if self.app is not None else {}
        if self.desired is None:
            return Veil(values_in_environment(held))
        return Veil(self.desired.secrets | values_in_environment(held, only=self.desired.secret_paths))

    @property
    def owned(self) -> bool:
        """Whether the claim on the desired id is ours."""
        return self.claim is not None and self.claim.uid == self.resource.uid

    @property
    def owns_beside(self) -> bool:
        """Whether the claim on the id beside is ours."""
        return self.beside is not None and self.beside.claim is not None and self.beside.claim.uid == self.resource.uid

    @property
    def wanted_instances(self) -> int:
        """How many instances there should be: what the spec says, or what is found when the number belongs to somebody else or the spec
        cannot be followed.
        """
        if self.app is not None and (self.desired is None or "/instances" in self.management.ignore_paths):
            return self.app.instances
        return self.desired.instances if self.desired is not None else self.resource.instances
