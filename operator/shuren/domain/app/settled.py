"""Whether a look at an app would find that everything is as its status says.

A new leader looks at every app once, and nearly all of them are at rest. Reading the whole spec, rendering it and comparing it with what
Marathon has costs four times what it takes to see that nothing can have changed: the same spec was found good before, Marathon has changed
nothing since, and the tasks are as they were counted. This is only for resources that ask for nothing special; whatever is not plainly at
rest is looked at in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shuren.domain.app import revisions, status
from shuren.domain.app.rollout import standing
from shuren.domain.app.snapshot import FINALIZER, ClusterView, Gates, Revision, RevisionState
from shuren.domain.conditions import ConditionType
from shuren.domain.identity import Claim
from shuren.domain.marathon.state import ActualApp

_SPECIAL = frozenset({"management", "rollout", "dependsOn", "envRefs", "filesFrom", "patches"})
"""What makes a resource depend on more than its own spec and Marathon's app."""
_TOLD = frozenset({"drift", "rollout", "warnings", "waiting", "lastTaskFailure"})
"""What a status of an app at rest does not have."""
_OURS = "paas.shurenyun.com/"


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What there is of one resource. `claims` are all that its uid holds, by cluster; `waits` whether something waits to be launched."""

    item: Mapping[str, Any]
    app_id: str
    cluster: ClusterView
    claims: Sequence[tuple[str, Claim]]
    app: ActualApp | None
    waits: bool
    revisions: Sequence[Revision]
    gates: Gates


def settled(s: Sight) -> bool:
    """See the module. True means: no action, and the very status that is there. Never raises, whatever the status holds.

    Marathon's definition itself is not looked at: under the same version it is the same.
    """
    spec, told = s.item.get("spec") or {}, s.item.get("status") or {}
    return (
        _plain(s.item["metadata"], spec)
        and _usable(s.cluster)
        and [(cluster, claim.app_id) for cluster, claim in s.claims] == [(s.cluster.name, s.app_id)]
        and not (s.gates.draining or s.gates.unsettled or s.gates.at_once is not None)
        and s.app is not None
        and not s.waits
        and _as_told(s.item["metadata"], told, s.app, s.cluster.name)
        and spec.get("instances", 1) == s.app.instances
        and _is_the_good_one(s, spec, told, s.app)
    )


def _plain(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether it asks for nothing special, and is not going."""
    return (
        not _SPECIAL & spec.keys()
        and "deletionTimestamp" not in metadata
        and FINALIZER in (metadata.get("finalizers") or ())
        and not any(name.startswith(_OURS) for name in metadata.get("annotations") or ())
    )


def _usable(cluster: ClusterView) -> bool:
    return cluster.exists and cluster.connected and cluster.synced and cluster.problem is None and cluster.unreachable_for is None


def _as_told(metadata: Mapping[str, Any], told: Mapping[str, Any], app: ActualApp, cluster: str) -> bool:
    """Whether the status speaks of this generation, is Ready, and tells what Marathon has and how its tasks are."""
    now = standing(app, desired=app.instances)
    given = told.get("conditions")
    said = [c for c in given if isinstance(c, Mapping)] if isinstance(given, list) else []
    conditions = {c.get("type"): (c.get("status"), c.get("reason")) for c in said}
    return (
        told.get("observedGeneration") == metadata.get("generation")
        and told.get("cluster") == cluster
        and conditions == {ConditionType.READY.value: ("True", "Ready"), ConditionType.IN_SYNC.value: ("True", "InSync")}
        and told.get("marathon") == {"id": app.id, "version": app.version}
        and not app.deployments
        and now.complete
        and now.desired > 0
        and told.get("counts") == status.counts(now)
        and told.get("ready") == f"{now.ready}/{now.desired}"
        and told.get("instances") == app.instances
        and not _TOLD & told.keys()
        and status.present_failure(app) is None
    )


def _is_the_good_one(s: Sight, spec: Mapping[str, Any], told: Mapping[str, Any], app: ActualApp) -> bool:
    """Whether what is asked for is the revision that turned out good, and Marathon's app is that one and no later change."""
    newest = revisions.newest(s.revisions)
    return (
        newest is not None
        and newest.state is RevisionState.GOOD
        and newest.app_id == s.app_id
        and not newest.beside
        and len(s.revisions) <= revisions.KEPT
        and app.last_config_change_at <= newest.marathon_version <= app.version
        and newest.hash == revisions.revision_hash(spec, {})
        and told.get("revision") == {"current": newest.hash, "target": newest.hash, "lastGood": newest.hash}
    )
