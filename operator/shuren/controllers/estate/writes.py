"""Writes to a cluster that is not connected (those of one that is go through `estate.committer`)."""

from __future__ import annotations

from dataclasses import dataclass

from shuren.domain.errors import Unreachable
from shuren.domain.json import Document
from shuren.domain.marathon.state import DeploymentRef


@dataclass(frozen=True, kw_only=True)
class Unwritable:
    """Of a cluster that is not connected."""

    name: str

    def _refuse(self) -> Unreachable:
        return Unreachable(f"MesosCluster {self.name} is not connected yet")

    async def create(self, definition: Document) -> DeploymentRef:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()

    async def change(self, definition: Document, *, force: bool) -> DeploymentRef:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()

    async def scale(self, app_id: str, body: Document, *, force: bool) -> DeploymentRef:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()

    async def kill(self, app_id: str, task_ids: tuple[str, ...], *, force: bool) -> DeploymentRef | None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()

    async def restart(self, app_id: str) -> DeploymentRef:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()

    async def restore(self, app_id: str, version: str) -> DeploymentRef:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()

    async def definition_at(self, app_id: str, version: str) -> Document | None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()

    async def cancel(self, deployment_id: str) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()

    async def delete(self, app_id: str, *, force: bool) -> DeploymentRef | None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise self._refuse()
