"""All release gates of an app as one: services let traffic go, shard maps let shards go, and a task goes when both have."""

from __future__ import annotations

from shuren.controllers.paasapp.world import GateKeeper
from shuren.domain.app.snapshot import Gates
from shuren.domain.identity import ObjectKey

_OPEN = Gates()


class AllGates:
    """Fulfils `controllers.paasapp.world.GateKeeper` with several others."""

    def __init__(self, *keepers: GateKeeper) -> None:
        self._keepers = keepers

    def look(self, cluster: str, app_id: str, owner: ObjectKey, *, limit: float) -> Gates:
        """Closed when any is; a task is released when every closed one has released it."""
        found = [keeper.look(cluster, app_id, owner, limit=limit) for keeper in self._keepers]
        if not any(gates.closed or gates.draining or gates.at_once is not None or gates.unsettled for gates in found):
            return _OPEN  # most apps
        closed = [gates for gates in found if gates.closed]
        draining = frozenset[str]().union(*(gates.draining for gates in found))
        released = draining.intersection(*(gates.released for gates in closed)) if closed else frozenset[str]()
        why = {task: reason for gates in reversed(closed) for task, reason in gates.why.items()}
        left = [gates.left for gates in closed if gates.left is not None]
        at_once = [gates.at_once for gates in found if gates.at_once is not None]
        return Gates(
            closed=bool(closed),
            draining=draining,
            released=released,
            why=why,
            left=min(left, default=None),
            at_once=min(at_once, default=None),
            unsettled=next((gates.unsettled for gates in found if gates.unsettled), ""),
        )

    def drain(self, cluster: str, app_id: str, task_ids: frozenset[str]) -> None:
        """Told to all."""
        for keeper in self._keepers:
            keeper.drain(cluster, app_id, task_ids)

    def passed(self, cluster: str, app_id: str) -> None:
        """Told to all."""
        for keeper in self._keepers:
            keeper.passed(cluster, app_id)
