"""Names of things: keys of Kubernetes objects, claims on Marathon app ids."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class ObjectKey:
    """One Kubernetes object. `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Who owns a Marathon app id, as written under `owners/` in ZooKeeper. `epoch` is the fencing epoch of the leader that wrote it.

    `installation` tells two Shuren installations apart; `uid` tells a re-created resource of the same name apart.
    """

    app_id: str
    uid: str
    namespace: str
    name: str
    epoch: int
