"""What this controller needs of the outside besides Kubernetes objects: clusters with their picture, claims and writes; referenced values.

The estate (`controllers.estate`) fulfils these; tests fulfil them with less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shuren.domain.app.snapshot import Carrier, ClusterView, Gates
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.json import Document
from shuren.domain.marathon.state import ActualApp, Deployment, DeploymentRef, QueueItem
from shuren.domain.tenancy import Tenancy
from shuren.ports.kubernetes import Object


class Writes(Protocol):
    """Writes to one Marathon; every one checks leadership right before it is sent. Raises what `ports.marathon` says."""

    async def create(self, definition: Document) -> DeploymentRef:
        """Write a complete definition that Marathon does not have yet."""

    async def change(self, definition: Document, *, force: bool) -> DeploymentRef:
        """Write a complete definition over the one that Marathon has."""

    async def scale(self, app_id: str, body: Document, *, force: bool) -> DeploymentRef:
        """Change the number of instances; `body` as from `domain.marathon.render.scale_body`."""

    async def kill(self, app_id: str, task_ids: tuple[str, ...], *, force: bool) -> DeploymentRef | None:
        """Remove exactly these tasks and lower the number of instances by as many."""

    async def restart(self, app_id: str) -> DeploymentRef:
        """Replace all tasks."""

    async def restore(self, app_id: str, version: str) -> DeploymentRef:
        """Back to a version that Marathon keeps; replaces a running deployment. Gone when Marathon has forgotten it."""

    async def definition_at(self, app_id: str, version: str) -> Document | None:
        """A definition that Marathon keeps (a read); None when it has forgotten it."""

    async def cancel(self, deployment_id: str) -> None:
        """End a deployment and leave things as they are."""

    async def delete(self, app_id: str, *, force: bool) -> DeploymentRef | None:
        """None when there was no such app."""


class Cluster(Protocol):
    """One MesosCluster as this kind sees it, connected or not yet."""

    @property
    def view(self) -> ClusterView:
        """What decisions need to know of it."""

    @property
    def tenancy(self) -> Tenancy:
        """Who may claim which ids."""

    @property
    def deletion_wait(self) -> float:
        """Seconds that the guard on deletions makes the next one wait; 0 when it may go."""

    async def permit_deletion(self) -> None:
        """Count a deletion that is about to be sent. Throttled while the guard makes it wait."""

    @property
    def writes(self) -> Writes:
        """The way to change it."""

    def app(self, app_id: str) -> ActualApp | None:
        """The app in the picture."""

    def deployment(self, app_id: str) -> Deployment | None:
        """The running deployment that touches the app."""

    def queue_item(self, app_id: str) -> QueueItem | None:
        """What waits to be launched, its delay counted from now."""

    def shows(self, app_id: str, since: float) -> bool:
        """Whether the picture of the app is newer than this moment (monotonic seconds)."""

    def look_at(self, app_id: str) -> None:
        """Something was written, or could not be seen: read it again soon, or when the cluster is back, and call for a new pass."""

    def claim(self, app_id: str) -> Claim | None:
        """Who owns the id, as last read or written."""

    def claims_of(self, uid: str) -> tuple[Claim, ...]:
        """All claims of a resource."""

    async def take(self, app_id: str, *, uid: str, key: ObjectKey, replaces: str) -> None:
        """Claim the id by compare-and-set, in place of the holder `replaces` if given. NotOurs when somebody else holds it."""

    async def release(self, app_id: str, *, uid: str) -> None:
        """Give an id back; nothing happens when it is not held by this resource."""


class GateKeeper(Protocol):
    """What other kinds ask for before a task may go, and who lets tasks know that they are to drain."""

    def look(self, cluster: str, app_id: str, owner: ObjectKey, *, limit: float) -> Gates:
        """The gates of an app. `limit` is after how many seconds a draining task goes in any case."""

    def drain(self, cluster: str, app_id: str, task_ids: frozenset[str]) -> None:
        """Exactly these tasks of the app are to drain from now on."""

    def passed(self, cluster: str, app_id: str) -> None:
        """A pass over the app has ended: whoever is not draining by now serves."""


class NoGates:
    """Nothing holds up the removal of tasks."""

    def look(self, cluster: str, app_id: str, owner: ObjectKey, *, limit: float) -> Gates:  # noqa: ARG002 - the port's
        """Open."""
        return Gates()

    def drain(self, cluster: str, app_id: str, task_ids: frozenset[str]) -> None:
        """Nobody listens."""

    def passed(self, cluster: str, app_id: str) -> None:
        """Nobody listens."""


class Traffic(Protocol):
    """Who splits the traffic of a resource between two versions, by what its status says (`domain.app.progress`)."""

    def carriers(self, cluster: str, app_ids: tuple[str, str], owner: ObjectKey) -> tuple[Carrier, ...]:
        """Services whose load balancers carry any of these apps of a resource, and how far they are with the split of its traffic: the
        second app is the one beside. From now on, until `settled`, the resource gets a pass when one of them says something new.
        """

    def split(self, owner: ObjectKey) -> None:
        """The split of the resource's traffic has changed in its status: services are to follow."""

    def settled(self, owner: ObjectKey) -> None:
        """Nothing is beside the resource's app any more."""


class NoTraffic:
    """No service carries anything."""

    def carriers(self, cluster: str, app_ids: tuple[str, str], owner: ObjectKey) -> tuple[Carrier, ...]:  # noqa: ARG002 - the port's
        """None."""
        return ()

    def split(self, owner: ObjectKey) -> None:
        """Nobody listens."""

    def settled(self, owner: ObjectKey) -> None:
        """Nobody listens."""


class Clusters(Protocol):
    """All clusters that are declared."""

    def get(self, name: str) -> Cluster | None:
        """The cluster of a MesosCluster; None when there is no such resource."""

    def names(self) -> tuple[str, ...]:
        """All of them."""


class References(Protocol):
    """Secrets and ConfigMaps that resources refer to; watched only while somebody does."""

    def require(self, owner: ObjectKey, wanted: frozenset[ObjectKey]) -> Mapping[ObjectKey, Object | None] | None:
        """Their present state (None: there is no such object); None while any of them has not been read yet. Denied when one may not be.

        From now on, until the next call for the same owner, `owner` gets a pass when one of them changes. An empty set ends it.
        """
