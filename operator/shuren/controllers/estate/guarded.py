"""A Marathon behind the limits of its cluster: what `runtime.limits` knows of targets, put around every request.

Reads wait for a place and a token. Writes wait for neither here: the committer sends one at a time, has taken the token, and has checked
leadership right before, so that nothing may come in between. Both are refused at once while the breaker is open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from shuren.domain.json import Document
from shuren.domain.marathon.state import ActualApp, Deployment, DeploymentRef, MarathonEvent, MarathonInfo, QueueItem
from shuren.ports.clock import Clock
from shuren.ports.marathon import Faulted, Marathon
from shuren.runtime.limits import BreakerRule, Target, no_answer

_READS = 16
"""Reads at the same time."""
_RULE = BreakerRule(failures=5, pause=1.0, longest_pause=5.0)
"""A fail-over takes seconds: whoever waits for longer between probes finds a new leader late."""


def target(*, clock: Clock, name: str, requests_per_second: float) -> Target:
    """The limits of one Marathon. An answer that it stumbled over one request (500 with words of its own) is no sign of death."""
    return Target(
        clock=clock,
        name=f"Marathon of {name}",
        rate=requests_per_second,
        burst=requests_per_second,
        concurrency=_READS,
        rule=_RULE,
        silent=lambda error: no_answer(error) and not isinstance(error, Faulted),
    )


class GuardedMarathon:
    """The `Marathon` port; see the module. The event stream is let through: it is one request that lasts, with a pause of its own."""

    def __init__(self, marathon: Marathon, limits: Target) -> None:
        self._marathon = marathon
        self._limits = limits

    # ------------------------------------------------------------------------------------------------ reads

    async def info(self) -> MarathonInfo:
        """See the port."""
        async with self._limits.request():
            return await self._marathon.info()

    async def apps(self) -> tuple[ActualApp, ...]:
        """See the port."""
        async with self._limits.request():
            return await self._marathon.apps()

    async def app(self, app_id: str) -> ActualApp | None:
        """See the port."""
        async with self._limits.request():
            return await self._marathon.app(app_id)

    async def deployments(self) -> tuple[Deployment, ...]:
        """See the port."""
        async with self._limits.request():
            return await self._marathon.deployments()

    async def queue(self) -> tuple[QueueItem, ...]:
        """See the port."""
        async with self._limits.request():
            return await self._marathon.queue()

    async def app_at(self, app_id: str, version: str) -> Document | None:
        """See the port."""
        async with self._limits.request():
            return await self._marathon.app_at(app_id, version)

    def events(self) -> AsyncIterator[MarathonEvent]:
        """See the port."""
        return self._marathon.events()

    # ------------------------------------------------------------------------------------------------ writes

    async def put_apps(self, definitions: Sequence[Document], *, force: bool = False) -> DeploymentRef:
        """See the port."""
        async with self._limits.attempt():
            return await self._marathon.put_apps(definitions, force=force)

    async def patch_apps(self, members: Sequence[Document], *, force: bool = False) -> DeploymentRef:
        """See the port."""
        async with self._limits.attempt():
            return await self._marathon.patch_apps(members, force=force)

    async def patch_app(self, app_id: str, fields: Document, *, force: bool = False) -> DeploymentRef:
        """See the port."""
        async with self._limits.attempt():
            return await self._marathon.patch_app(app_id, fields, force=force)

    async def restore(self, app_id: str, version: str, *, force: bool = False) -> DeploymentRef:
        """See the port."""
        async with self._limits.attempt():
            return await self._marathon.restore(app_id, version, force=force)

    async def restart(self, app_id: str, *, force: bool = False) -> DeploymentRef:
        """See the port."""
        async with self._limits.attempt():
            return await self._marathon.restart(app_id, force=force)

    async def delete_app(self, app_id: str, *, force: bool = False) -> DeploymentRef | None:
        """See the port."""
        async with self._limits.attempt():
            return await self._marathon.delete_app(app_id, force=force)

    async def kill_tasks(self, task_ids: Sequence[str], *, scale: bool = False, force: bool = False) -> DeploymentRef | None:
        """See the port."""
        async with self._limits.attempt():
            return await self._marathon.kill_tasks(task_ids, scale=scale, force=force)

    async def cancel_deployment(self, deployment_id: str, *, force: bool) -> DeploymentRef | None:
        """See the port."""
        async with self._limits.attempt():
            return await self._marathon.cancel_deployment(deployment_id, force=force)
