"""Status of a PaasApp. Everything that the operator writes must stand here: the API server drops what the schema does not know."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Node
from shuren.api.v1alpha1.conditions import Conditions

Text = Annotated[str, Field(max_length=2048)]
Moment = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0)]


class Counts(Node):
    """Instances by what is known of them."""

    desired: Count
    """Instances asked for."""
    staged: Count
    """Being started."""
    running: Count
    """Running."""
    healthy: Count
    """Known to be healthy."""
    unhealthy: Count
    """Known to be unhealthy."""
    updated: Count
    """Of the target revision and running."""


class DeploymentStatus(Node):
    """A deployment of the app in Marathon."""

    id: Annotated[str, Field(max_length=128)]
    """Id of the deployment."""
    step: Count
    """Step under way, from 1; 0 = before the first."""
    total_steps: Count
    """Number of steps."""
    deadline: Moment | None = None
    """When it counts as failed unless there is progress (RFC 3339)."""


class MarathonStatus(Node):
    """The app as Marathon has it."""

    id: Annotated[str, Field(max_length=1024)] | None = None
    """Path of the app."""
    version: Moment | None = None
    """Marathon's version of the definition."""
    deployment: DeploymentStatus | None = None
    """Deployment under way."""


class Revisions(Node):
    """Revisions by their role; each is the name of a ControllerRevision's hash."""

    current: Annotated[str, Field(max_length=64)] | None = None
    """The one that runs."""
    target: Annotated[str, Field(max_length=64)] | None = None
    """The one that is asked for."""
    last_good: Annotated[str, Field(max_length=64)] | None = None
    """The last whose roll-out ended well."""
    failed: Annotated[str, Field(max_length=64)] | None = None
    """The one that failed and is not tried again until the spec changes."""


class TaskFailure(Node):
    """The last failure of a task."""

    message: Text | None = None
    """What Mesos said."""
    host: Annotated[str, Field(max_length=253)] | None = None
    """Agent."""
    time: Moment | None = None
    """When (RFC 3339)."""
    attempt: Count | None = None
    """Which launch of the instance it was, from 1."""
    task_id: Annotated[str, Field(max_length=1024)] | None = None
    """Task."""
    state: Annotated[str, Field(max_length=64)] | None = None
    """Last state, e.g. TASK_FAILED."""


class Waiting(Node):
    """Why instances do not start."""

    reason: Annotated[str, Field(max_length=64)]
    """Stable word: Backoff, InsufficientCpus, UnfulfilledConstraint, …"""
    message: Text | None = None
    """For people."""
    backoff_until: Moment | None = None
    """When the next launch is tried (RFC 3339)."""


class Difference(Node):
    """One field that differs in Marathon. Values of the environment are never shown."""

    path: Annotated[str, Field(max_length=512)]
    """JSON pointer into the Marathon app."""
    desired: Annotated[str, Field(max_length=256)] | None = None
    """Value asked for, shortened."""
    actual: Annotated[str, Field(max_length=256)] | None = None
    """Value found, shortened."""


class Drift(Node):
    """What somebody else changed in Marathon."""

    detected: bool
    """Whether anything differs."""
    count: Count
    """How many fields differ."""
    sample: Annotated[list[Difference], Field(max_length=5)] | None = None
    """Up to five of them."""


class RolloutStatus(Node):
    """A gated roll-out, and how the last one ended."""

    phase: Annotated[str, Field(max_length=64)]
    """Starting, Scaling, Shifting, Holding, Paused; Retiring (the former version goes), Aborting (the new one does, for it failed),
    Retreating (it does, for the spec changed); Completed, Aborted."""
    revision: Annotated[str, Field(max_length=64)] | None = None
    """The revision that is, or was, rolled out."""
    id: Annotated[str, Field(max_length=1024)] | None = None
    """Marathon id of the app beside the one that the resource lives on (status.marathon.id); absent when nothing is beside."""
    step: Count
    """Step under way, from 0."""
    steps: Count
    """How many there are."""
    weight: Count
    """Percent of the traffic that goes to the app beside."""
    since: Moment | None = None
    """Since when the step holds, before that since when the phase lasts (RFC 3339)."""
    message: Text | None = None
    """What is waited for, or why it failed."""
    deadline: Moment | None = None
    """When it fails unless there is progress (RFC 3339)."""
    deployment: Annotated[str, Field(max_length=128)] | None = None
    """Deployment of the app beside in Marathon."""
    paused: bool | None = None
    """Whether the annotation paas.shurenyun.com/rollout-pause holds it."""
    skip: bool | None = None
    """Whether a person has let the present step pass."""
    handled: Annotated[dict[str, Annotated[str, Field(max_length=128)]], Field(max_length=8)] | None = None
    """Values of the annotations paas.shurenyun.com/rollout-… that have been followed, by command."""


class PaasAppStatus(Node):
    """What the operator found and did. It holds no secret values and no lists of tasks."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """`metadata.generation` that this status speaks of."""
    conditions: Conditions | None = None
    """Ready (summary), Reconciling, Stalled, InSync, Advice, …"""
    instances: Count | None = None
    """Instances that exist in Marathon; what /scale reads."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector for /scale, as text."""
    counts: Counts | None = None
    """Instances by what is known of them."""
    ready: Annotated[str, Field(max_length=32)] | None = None
    """Ready and desired instances as text, for the column: "2/3"."""
    cluster: Annotated[str, Field(max_length=253)] | None = None
    """MesosCluster on which the app was last written."""
    marathon: MarathonStatus | None = None
    """The app as Marathon has it."""
    revision: Revisions | None = None
    """Revisions by their role."""
    rollout: RolloutStatus | None = None
    """A gated roll-out."""
    last_task_failure: TaskFailure | None = None
    """The last failure of a task since the current revision was asked for."""
    waiting: Waiting | None = None
    """Why instances do not start."""
    drift: Drift | None = None
    """What somebody else changed in Marathon."""
    warnings: Annotated[list[Text], Field(max_length=16)] | None = None
    """Advice about the spec, one sentence each; also in the condition Advice."""
