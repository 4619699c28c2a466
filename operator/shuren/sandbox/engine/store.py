"""What survives the engine: the group tree with its history, instances, deployments and last failures, in one SQLite file.

Root updates are on disk before they are answered. Instances are written behind, a batch at a time, but always before a task is started, so
that no task can run that a successor does not know of. SQLite's write-ahead log outlives a kill of the engine; only a crash of the machine
could cost the last moments, and the tasks with them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from shuren.sandbox.contract import Group, Json
from shuren.sandbox.engine.ids import parent
from shuren.sandbox.engine.model import Instance, is_pod
from shuren.sandbox.engine.plan import Difference, Plan, all_specs

if TYPE_CHECKING:
    from pathlib import Path

FIRST_VERSION = "1970-01-01T00:00:00.000Z"
_SCHEMA = """
create table if not exists meta (key text primary key, value text not null);
create table if not exists groups (id text primary key, dependencies text not null, enforce_role integer);
create table if not exists specs (id text primary key, version text not null, place integer);
create table if not exists definitions (id text not null, version text not null, body text not null, primary key (id, version));
create table if not exists roots (number integer primary key autoincrement, version text not null, undo text not null);
create table if not exists instances (id text primary key, body text not null);
create table if not exists deployments (id text primary key, number integer, body text not null);
create table if not exists failures (id text primary key, body text not null);
"""


class Store:
    """One open database. Only the leader has one."""

    def __init__(self, path: Path, *, max_versions: int = 50) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=off")
        self._db.executescript(_SCHEMA)
        self._max_versions = max_versions
        self.definitions: dict[str, dict[str, Json]] = {}
        self.roots: list[tuple[str, Json]] = []
        """(version, what to put back to get to the root before), oldest first."""
        self._load_history()

    def close(self) -> None:
        self._db.close()

    # ---------------------------------------------------------------- loading
    def _load_history(self) -> None:
        for spec_id, version, body in self._db.execute("select id, version, body from definitions order by rowid"):
            self.definitions.setdefault(spec_id, {})[version] = json.loads(body)
        self.roots = [(v, json.loads(u)) for v, u in self._db.execute("select version, undo from roots order by number")]

    def get(self, key: str) -> str | None:
        row = self._db.execute("select value from meta where key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, value: str) -> None:
        self._db.execute("insert into meta values (?, ?) on conflict (key) do update set value = excluded.value", (key, value))

    def load_root(self) -> Group:
        """The current tree; an empty one for a new directory."""
        groups: dict[str, Json] = {
            i: {"dependencies": json.loads(d), "enforce_role": e}
            for i, d, e in self._db.execute("select id, dependencies, enforce_role from groups order by rowid")
        }
        specs = {i: self.definitions[i][v] for i, v in self._db.execute("select id, version from specs order by place")}
        return build(self.get("root") or FIRST_VERSION, groups, specs)

    def load_instances(self) -> list[Instance]:
        """All instances. One whose definition is not known any more cannot be: definitions in use are not pruned."""
        found = []
        for (body,) in self._db.execute("select body from instances order by rowid"):
            saved = json.loads(body)
            definition = self.definitions.get(saved["app"], {}).get(saved["version"])
            if definition is not None:
                found.append(Instance.load(saved, definition))
        return found

    def load_deployments(self) -> list[Plan]:
        return [Plan.load(json.loads(body)) for (body,) in self._db.execute("select body from deployments order by number")]

    def load_failures(self) -> dict[str, Json]:
        return {i: json.loads(body) for i, body in self._db.execute("select id, body from failures")}

    # ---------------------------------------------------------------- writing
    def write_root(self, old: Group, new: Group, change: Difference, plans: Mapping[str, Plan | None], keep: Iterable[str] = ()) -> None:
        """One root update with the deployments that begin and end by it, in one transaction. `keep`: versions in use, not to be pruned."""
        undo: Json = {"version": old.version, "specs": {}, "groups": {}}
        db = self._db
        db.execute("begin")
        try:
            for group_id, (before, after) in change.groups.items():
                if before is not None and after is not None and _meta(before) == _meta(after):
                    continue
                undo["groups"][group_id] = None if before is None else _meta(before)
                if after is None:
                    db.execute("delete from groups where id = ?", (group_id,))
                else:
                    meta = _meta(after)
                    db.execute(
                        "insert into groups values (?, ?, ?) on conflict (id) do update set "
                        "dependencies = excluded.dependencies, enforce_role = excluded.enforce_role",
                        (group_id, json.dumps(meta["dependencies"]), meta["enforce_role"]),
                    )
            for spec_id, (old_spec, new_spec) in change.specs.items():
                undo["specs"][spec_id] = None if old_spec is None else old_spec["version"]
                if new_spec is None:
                    db.execute("delete from specs where id = ?", (spec_id,))
                    continue
                db.execute(
                    "insert into specs values (?, ?, (select coalesce(max(place), 0) + 1 from specs)) "
                    "on conflict (id) do update set version = excluded.version",
                    (spec_id, new_spec["version"]),
                )
                self._remember(new_spec, keep)
            db.execute("insert into roots (version, undo) values (?, ?)", (new.version, json.dumps(undo)))
            self.roots.append((new.version, undo))
            if len(self.roots) > self._max_versions:
                del self.roots[: -self._max_versions]
                db.execute("delete from roots where number <= (select max(number) from roots) - ?", (self._max_versions,))
            self.put("root", new.version)
            self._write_plans(plans)
            db.execute("commit")
        except BaseException:
            db.execute("rollback")
            raise

    def remember(self, definitions: Iterable[Json], keep: Iterable[str]) -> None:
        """Stores versions of definitions without making them current."""
        for definition in definitions:
            self._remember(definition, keep)

    def _remember(self, definition: Json, keep: Iterable[str]) -> None:
        spec_id, version = definition["id"], definition["version"]
        history = self.definitions.setdefault(spec_id, {})
        history[version] = definition
        self._db.execute("insert or replace into definitions values (?, ?, ?)", (spec_id, version, json.dumps(definition)))
        if len(history) > self._max_versions:
            used = {version, *keep}
            for stale in [v for v in sorted(history)[: len(history) - self._max_versions] if v not in used]:
                del history[stale]
                self._db.execute("delete from definitions where id = ? and version = ?", (spec_id, stale))

    def _write_plans(self, plans: Mapping[str, Plan | None]) -> None:
        for plan_id, plan in plans.items():
            if plan is None:
                self._db.execute("delete from deployments where id = ?", (plan_id,))
            else:
                self._db.execute(
                    "insert or replace into deployments values (?, (select coalesce(max(number), 0) + 1 from deployments), ?)",
                    (plan_id, json.dumps(plan.dump())),
                )

    def write_live(
        self, instances: Mapping[str, Instance | None], plans: Mapping[str, Plan | None], failures: Mapping[str, Json | None]
    ) -> None:
        """What changed among instances, deployments and failures since the last time."""
        if not (instances or plans or failures):
            return
        db = self._db
        db.execute("begin")
        rows = [(i, json.dumps(v.dump())) for i, v in instances.items() if v is not None]
        db.executemany("insert into instances values (?, ?) on conflict (id) do update set body = excluded.body", rows)
        db.executemany("delete from instances where id = ?", [(i,) for i, v in instances.items() if v is None])
        self._write_plans(plans)
        db.executemany("insert or replace into failures values (?, ?)", [(i, json.dumps(v)) for i, v in failures.items() if v is not None])
        db.executemany("delete from failures where id = ?", [(i,) for i, v in failures.items() if v is None])
        db.execute("commit")

    # ---------------------------------------------------------------- history
    def group_versions(self, group_id: str, *, there: bool) -> list[str]:
        """Versions of the root in which a group was there, oldest first. `there`: whether it is now."""
        found: list[str] = []
        for version, undo in reversed(self.roots):
            if there:
                found.append(version)
            if group_id in undo["groups"]:
                there = undo["groups"][group_id] is not None
        return found[::-1]

    def root_at(self, version: str, current: Group) -> Group | None:
        """The whole tree as it was at a version, by undoing what came later."""
        if version == current.version:
            return current
        specs = {str(s["id"]): s for s in all_specs(current)}
        groups = {g.id: _meta(g) for g in _all_groups(current)}
        for later, undo in reversed(self.roots):
            del later
            for spec_id, old in undo["specs"].items():
                if old is None:
                    specs.pop(spec_id, None)
                elif (definition := self.definitions.get(spec_id, {}).get(old)) is not None:
                    specs[spec_id] = definition
            for group_id, meta in undo["groups"].items():
                if meta is None:
                    groups.pop(group_id, None)
                else:
                    groups[group_id] = meta
            if undo["version"] == version:
                return build(version, groups, specs)
        return None


def _meta(group: Group) -> Json:
    return {"dependencies": list(group.dependencies), "enforce_role": None if group.enforce_role is None else int(group.enforce_role)}


def _all_groups(root: Group) -> list[Group]:
    found, stack = [], [root]
    while stack:
        group = stack.pop()
        found.append(group)
        stack += reversed(list(group.groups.values()))
    return found


def build(version: str, groups: Mapping[str, Json], specs: Mapping[str, Json]) -> Group:
    """A tree from its parts. All groups carry the root's version, as every root update stamps them."""
    apps: dict[str, dict[str, Json]] = {}
    pods: dict[str, dict[str, Json]] = {}
    for spec_id, definition in specs.items():
        (pods if is_pod(definition) else apps).setdefault(parent(spec_id), {})[spec_id] = definition
    ids = dict.fromkeys(["/", *groups])
    for spec_id in specs:
        place = parent(spec_id)
        while place not in ids:
            ids[place] = None
            place = parent(place)
    children: dict[str, list[str]] = {}
    for group_id in ids:
        if group_id != "/":
            children.setdefault(parent(group_id), []).append(group_id)
    built: dict[str, Group] = {}
    for group_id in sorted(ids, key=lambda i: i.count("/") if i != "/" else 0, reverse=True):
        meta = groups.get(group_id) or {"dependencies": [], "enforce_role": None}
        role = meta["enforce_role"]
        built[group_id] = Group(
            id=group_id,
            version=version,
            apps=apps.get(group_id, {}),
            pods=pods.get(group_id, {}),
            groups={c: built[c] for c in children.get(group_id, ())},
            dependencies=tuple(meta["dependencies"]),
            enforce_role=None if role is None else bool(role),
        )
    return built["/"]


def at_version(root: Group, version: str) -> Group:
    """The same root under another version."""
    return replace(root, version=version)
