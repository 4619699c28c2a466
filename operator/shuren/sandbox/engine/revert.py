"""What undoes a deployment (Marathon's DeploymentPlanReverter), pure: the plan's own changes backwards, laid over the root as it is now.

Apps and pods were locked by the deployment, so their old definitions are simply put back. Groups are not locked: what others have done to
them meanwhile stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shuren.sandbox.definition import paths, tree
from shuren.sandbox.engine.model import is_pod

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shuren.sandbox.contract import Group, Json
    from shuren.sandbox.engine.plan import GroupChange, Plan


def revert(root: Group, plan: Plan, now: str) -> Group:
    """The root without what the plan changed."""
    for spec_id, before in plan.before.items():
        root = _restored(root, spec_id, before, plan.after.get(spec_id), now)
    for group_id in sorted(plan.groups, key=paths.segments, reverse=True):  # inner groups first
        root = _group_reverted(root, group_id, plan.groups[group_id], now)
    return root


def _restored(root: Group, spec_id: str, before: Json | None, after: Json | None, now: str) -> Group:
    pod = is_pod(before or after or {})
    if before is None:
        return tree.remove_pod(root, spec_id, now) if pod else tree.remove_app(root, spec_id, now)
    return tree.put_pod(root, before, now) if pod else tree.put_app(root, before, now)


def _group_reverted(root: Group, group_id: str, change: GroupChange, now: str) -> Group:
    group = tree.find(root, group_id)
    if change.before is not None:
        kept = group or tree.new_group(group_id, now)
        left = [d for d in kept.dependencies if d in change.before or d not in (change.after or ())]
        return tree.put_group(root, replace(kept, dependencies=_all([*left, *change.before])), now)
    if group is None:
        return root
    if not group.apps and not group.pods and not group.groups and group.dependencies == change.after:
        return tree.remove_group(root, group_id, now)
    return tree.put_group(root, replace(group, dependencies=_all(d for d in group.dependencies if d not in (change.after or ()))), now)


def _all(dependencies: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(dependencies))
