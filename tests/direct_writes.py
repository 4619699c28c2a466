"""Writes to one Marathon without a committer between: what the PaasApp controller does is seen one request at a time."""

from __future__ import annotations

from collections.abc import Callable

from shuren.domain.json import Document
from shuren.domain.marathon.state import DeploymentRef
from shuren.ports.leadership import Leadership
from shuren.ports.marathon import Marathon


class DirectWrites:
    """Each write on its own, as soon as it is asked for. `written` hears of each that was sent, also when its answer was lost."""

    def __init__(self, *, marathon: Marathon, leadership: Leadership, written: Callable[[str], None]) -> None:
        self._marathon = marathon
        self._leadership = leadership
        self._written = written

    async def create(self, definition: Document) -> DeploymentRef:
        """Write a complete definition that Marathon does not have yet."""
        return await self.change(definition, force=False)

    async def change(self, definition: Document, *, force: bool) -> DeploymentRef:
        """Write a complete definition over the one that Marathon has."""
        self._leadership.check()
        try:
            return await self._marathon.put_apps([definition], force=force)
        finally:
            self._written(str(definition["id"]))

    async def scale(self, app_id: str, body: Document, *, force: bool) -> DeploymentRef:
        """Change the number of instances."""
        self._leadership.check()
        try:
            return await self._marathon.patch_app(app_id, body, force=force)
        finally:
            self._written(app_id)

    async def kill(self, app_id: str, task_ids: tuple[str, ...], *, force: bool) -> DeploymentRef | None:
        """Remove exactly these tasks and lower the number of instances by as many."""
        self._leadership.check()
        try:
            return await self._marathon.kill_tasks(task_ids, scale=True, force=force)
        finally:
            self._written(app_id)

    async def restart(self, app_id: str) -> DeploymentRef:
        """Replace all tasks."""
        self._leadership.check()
        try:
            return await self._marathon.restart(app_id, force=False)
        finally:
            self._written(app_id)

    async def restore(self, app_id: str, version: str) -> DeploymentRef:
        """Back to a version that Marathon keeps, in place of a running deployment."""
        self._leadership.check()
        try:
            return await self._marathon.restore(app_id, version, force=True)
        finally:
            self._written(app_id)

    async def definition_at(self, app_id: str, version: str) -> Document | None:
        """A definition that Marathon keeps; a read."""
        return await self._marathon.app_at(app_id, version)

    async def cancel(self, deployment_id: str) -> None:
        """End a deployment and leave things as they are."""
        self._leadership.check()
        await self._marathon.cancel_deployment(deployment_id, force=True)

    async def delete(self, app_id: str, *, force: bool) -> DeploymentRef | None:
        """Delete an app; None when there is none."""
        self._leadership.check()
        try:
            return await self._marathon.delete_app(app_id, force=force)
        finally:
            self._written(app_id)
