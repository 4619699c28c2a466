"""What Marathon 1.11 checks about the whole tree after a change: names that clash, groups in the wrong place, cycles of dependencies,
volumes that several apps want for themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from shuren.sandbox.contract import Group

from . import app_rules, paths, pods, tree, volume_rules
from .errors import Violation, not_valid


def check(old: Group, root: Group) -> None:
    """Raises a 422 that names every broken rule: first of the tree, then, if that is in order, of the way to it from the old one."""
    violations = [*_cycles(root), *_stored(old, root), *_clashes(root), *volume_rules.conflicts(root)] or [*_updates(old, root)]
    if violations:
        raise not_valid(violations)


def _stored(old: Group, root: Group) -> Iterator[Violation]:
    """What is wrong with an app by itself has the app's id for its place, and no more."""
    for _, app in tree.changed(old, root, tree.Kind.APPS):
        yield from (Violation(path=f"/apps/{app['id']}", message=message) for message in app_rules.stored(app))


def _updates(old: Group, root: Group) -> Iterator[Violation]:
    """What may not become of what is there; members of the deployment are counted."""
    for kind, name, rules in ((tree.Kind.APPS, "app", app_rules.resident_update), (tree.Kind.PODS, "pod", pods.resident_update)):
        deployed = [
            (before, spec) for before, spec in tree.changed(old, root, kind) if before is None or before["version"] != spec["version"]
        ]
        for index, (before, spec) in enumerate(deployed):
            if before is not None:
                yield from (Violation(path=f"/{name}({index}){found.path}", message=found.message) for found in rules(before, spec))


def _clashes(root: Group) -> Iterator[Violation]:
    members = [("/", root)]
    members += [(f"/groups({index})", group) for index, group in enumerate(tree.descendants(root))]
    homes = [group.id for _, group in members if any(pod_id in group.apps for pod_id in group.pods)]
    clashing = {group_id for home in homes for group_id in (home, *paths.ancestors(home))}
    for path, group in members:
        if group.id in clashing:  # here or anywhere below
            yield Violation(path=path, message="Applications and Pods may not share the same id")
        if any(child in group.apps for child in group.groups):
            yield Violation(path=path, message="Groups and Applications may not have the same identifier.")
        if any(child in group.pods for child in group.groups):
            yield Violation(path=path, message="Groups and Pods may not have the same identifier.")
        if path != "/":
            home = tree.find(root, paths.parent(group.id))
            if home is None or group.id not in home.groups:
                yield Violation(path=path, message="Group has to be child of groups with parent id")


def dependencies(root: Group) -> dict[str, set[str]]:
    """For each app that has some, the ids of the apps it depends on, through groups too. What does not exist does not count."""
    result: dict[str, set[str]] = {}
    for group in tree.walk(root):
        targets = {app_id for group_id in group.dependencies for app_id in _apps_of_group(root, group_id)}
        if targets:
            for app_id in tree.all_apps(group):
                result.setdefault(app_id, set()).update(targets)
        for app_id, app in group.apps.items():
            for dependency in app.get("dependencies", ()):
                found = {dependency} if tree.app(root, dependency) is not None else _apps_of_group(root, dependency)
                if found:
                    result.setdefault(app_id, set()).update(found)
    return result


def _apps_of_group(root: Group, group_id: str) -> set[str]:
    group = tree.find(root, group_id)
    return set() if group is None else set(tree.all_apps(group))


def _cycles(root: Group) -> Iterator[Violation]:
    graph = dependencies(root)
    done: set[str] = set()
    for start in graph:
        if _in_cycle(start, graph, done):
            yield Violation(path="/", message="Dependency graph has cyclic dependencies.")
            return


def _in_cycle(start: str, graph: dict[str, set[str]], done: set[str]) -> bool:
    """Depth first with an own stack, since chains of dependencies may be long."""
    stack = [(start, iter(graph.get(start, ())))]
    on_path = {start}
    while stack:
        node, rest = stack[-1]
        for target in rest:
            if target in on_path:
                return True
            if target not in done and target in graph:
                stack.append((target, iter(graph[target])))
                on_path.add(target)
                break
        else:
            done.add(node)
            on_path.discard(node)
            stack.pop()
    return False
