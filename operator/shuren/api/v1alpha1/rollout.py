"""`spec.rollout` of a PaasApp: how a new version takes the place of the old one, and what counts as failed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Int, Natural, Node, Rule, Share

MAX_STEPS = 32


class OnFailure(StrEnum):
    """What follows a failed roll-out."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"
    IGNORE = "Ignore"


class RolloutStrategy(StrEnum):
    """Who replaces the instances."""

    ROLLING = "Rolling"
    GATED = "Gated"


Percent = Annotated[int, Field(ge=0, le=100)]


class RolloutStep(Node):
    """One step of a gated roll-out: so much traffic for so long, within these limits.

    Limits are judged by what the load balancers count of the new version since the step began; they report every 10 s.
    """

    rules = (
        Rule(
            cel="!has(self.minRequests) || has(self.maxErrorRate) || has(self.maxLatencyMillis)",
            holds=lambda s: s.min_requests is None or s.max_error_rate is not None or s.max_latency_millis is not None,
            message="minRequests belongs to a limit: give maxErrorRate or maxLatencyMillis",
            at="minRequests",
        ),
    )

    weight: Percent
    """Percent of the traffic that goes to the new version."""
    scale: Percent | None = None
    """Percent of spec.instances that run of the new version, rounded up, one at least. Default: as weight. All of them before the last
    step."""
    pause: bool = False
    """Whether to stay here until the annotation paas.shurenyun.com/rollout-promote lets it pass."""
    duration_seconds: Natural = 0
    """Seconds for which the step lasts at least, from when every load balancer has the weight."""
    max_error_rate: Share | None = None
    """Share of requests to the new version, 0 to 1, that may fail (5xx, failed connections, broken answers); above it the roll-out has
    failed."""
    max_latency_millis: Annotated[Int, Field(ge=1)] | None = None
    """Mean time of requests to the new version above which the roll-out has failed, in milliseconds."""
    min_requests: Natural | None = None
    """Requests to the new version without which the limits are not judged and the step is not passed. Default: 20; with 0 it is
    passed without any."""


class Rollout(Node):
    """How a new revision takes over, how it is judged, and what follows when it fails. Marathon itself would wait for ever."""

    rules = (
        Rule(
            cel="!has(self.steps) || self.steps.size() == 0 || self.strategy == 'Gated'",
            holds=lambda r: not r.steps or r.strategy is RolloutStrategy.GATED,
            message="steps belong to strategy Gated",
            at="steps",
        ),
        Rule(
            cel="!self.paused || self.strategy == 'Gated'",
            holds=lambda r: not r.paused or r.strategy is RolloutStrategy.GATED,
            message="paused belongs to strategy Gated",
            at="paused",
        ),
    )

    deadline_seconds: Annotated[Int, Field(ge=1)] = 600
    """Seconds without progress after which the roll-out has failed. Progress is a new instance that runs, becomes healthy or ready, or an
    old one that goes."""
    on_failure: Annotated[OnFailure, Field(strict=False)] = OnFailure.ROLLBACK
    """Rollback: back to the last good revision. Pause: leave it as it is and stop the roll-out. Ignore: only say so."""
    max_unhealthy_seconds: Annotated[Int, Field(ge=1)] | None = None
    """Seconds for which an instance of the new revision may be unhealthy after its grace period before the roll-out has failed. Default: no
    limit but deadlineSeconds."""
    drain_seconds: Annotated[Int, Field(ge=0)] = 60
    """Seconds for which an instance that is to be removed may take to let go of its traffic, when a PaasService with a load balancer names
    the app: it goes as soon as every load balancer of the group says that it has no session left, and after this time in any case."""
    strategy: Annotated[RolloutStrategy, Field(strict=False)] = RolloutStrategy.ROLLING
    """Rolling: Marathon's own restart within upgradeStrategy. Gated: the new version runs as a second Marathon app beside the old one,
    traffic moves to it by steps that every load balancer has acknowledged, and only drained instances are stopped. See
    docs/rollouts.md."""
    steps: Annotated[list[RolloutStep], Field(max_length=MAX_STEPS)] | None = None
    """Steps of a gated roll-out; all traffic follows after the last. Default: one step of weight 100 (blue-green)."""
    paused: bool = False
    """Whether a gated roll-out stays at the step that it has come to."""
