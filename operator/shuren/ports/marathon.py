"""Marathon as controllers see it. Reads are bulk; writes are idempotent by intent and raise the errors of `domain.errors`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from shuren.domain.errors import Unreachable
from shuren.domain.json import Document
from shuren.domain.marathon.state import ActualApp, Deployment, DeploymentRef, MarathonEvent, MarathonInfo, QueueItem


class Faulted(Unreachable):
    """Marathon answered 500 with words of its own: it stumbled over this very request, or was too busy for it.

    One member of an array may be the cause for all.
    """


class Marathon(Protocol):
    """One Marathon (a set of URLs of which one leads).

    Every method may raise Unreachable (no answer, 5xx, no leader), Throttled or Denied. A timeout of a write raises UnknownOutcome. Writes
    raise Invalid (422/400 with Marathon's own paths), Locked (409 with deployments), Exists (409 without), Gone (404).
    """

    async def info(self) -> MarathonInfo:
        """Version, leader, framework id, features and defaults."""

    async def apps(self) -> tuple[ActualApp, ...]:
        """All apps with tasks, counts, deployments, last failure and readiness, in one read."""

    async def app(self, app_id: str) -> ActualApp | None:
        """One app, the same shape; None when Marathon has none.

        For reading back after an unknown outcome, not for steady state.
        """

    async def deployments(self) -> tuple[Deployment, ...]:
        """All running deployments."""

    async def queue(self) -> tuple[QueueItem, ...]:
        """What waits to be launched, and why."""

    async def app_at(self, app_id: str, version: str) -> Document | None:
        """The definition that Marathon keeps under an older version; None when it is gone."""

    async def put_apps(self, definitions: Sequence[Document], *, force: bool = False) -> DeploymentRef:
        """Create or replace the given complete definitions (each with `id`) in one root update and one deployment.

        One definition is sent as `PUT /v2/apps/{id}?partialUpdate=false`, several as the array form. Atomic: Invalid carries the index of
        the refused member in each path.
        """

    async def patch_apps(self, members: Sequence[Document], *, force: bool = False) -> DeploymentRef:
        """Partial PUT of several apps (each with `id`), one root update and one deployment; only for `instances`, see `patch_app`."""

    async def patch_app(self, app_id: str, fields: Document, *, force: bool = False) -> DeploymentRef:
        """Partial PUT, only for `instances` (`domain.marathon.render.scale_body` repeats what Marathon would drop)."""

    async def restore(self, app_id: str, version: str, *, force: bool = False) -> DeploymentRef:
        """`PUT {"version": …}`: back to a definition that Marathon keeps. Gone when app or version is unknown."""

    async def restart(self, app_id: str, *, force: bool = False) -> DeploymentRef:
        """Replace all tasks with the definition unchanged."""

    async def delete_app(self, app_id: str, *, force: bool = False) -> DeploymentRef | None:
        """None when there is no such app. `force=False` is always sent in words, since Marathon's default here is true."""

    async def kill_tasks(self, task_ids: Sequence[str], *, scale: bool = False, force: bool = False) -> DeploymentRef | None:
        """Kill exactly these; with `scale` also lower `instances` by as many (then a deployment is returned)."""

    async def cancel_deployment(self, deployment_id: str, *, force: bool) -> DeploymentRef | None:
        """force=True only cancels and leaves things as they are; force=False starts Marathon's own roll-back. None: it was already gone."""

    def events(self) -> AsyncIterator[MarathonEvent]:
        """The event stream, from now on; the first item is `event_stream_attached`. Ends by raising Unreachable."""
