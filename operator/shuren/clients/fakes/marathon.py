"""A Marathon in memory: `MarathonWorld` is the cluster, each `FakeMarathon` a client of it with the faults of its own connection.

Faults: `down` and `reads_down` (every call, every read raises), `fail_next`, `thin` (lists are answered shortened), and the hook that is
called around every write: raise UnknownOutcome in its AFTER to lose an answer, `Crash` to end the process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from shuren.clients.fakes.crash import Moment, WriteHook
from shuren.clients.fakes.marathon_tasks import Json
from shuren.clients.fakes.marathon_world import Call, MarathonWorld
from shuren.domain.errors import Gone, ShurenError, Unreachable
from shuren.domain.json import Document
from shuren.domain.marathon.paths import absolute
from shuren.domain.marathon.state import ActualApp, Deployment, DeploymentRef, MarathonEvent, MarathonInfo, QueueItem

_Answer = TypeVar("_Answer")


class FakeMarathon:
    """The `Marathon` port on a world. Without `world` it makes its own."""

    def __init__(self, world: MarathonWorld | None = None, *, hook: WriteHook | None = None) -> None:
        self.world = world or MarathonWorld()
        self.hook = hook
        self.down: ShurenError | None = None
        self.reads_down: ShurenError | None = None
        self.thin: Callable[[tuple[ActualApp, ...]], tuple[ActualApp, ...]] = lambda apps: apps
        self._faults: list[tuple[str, ShurenError]] = []

    def fail_next(self, error: ShurenError, *, name: str = "", times: int = 1) -> None:
        """The next calls (of the method `name`, if given) raise this and do nothing."""
        self._faults += [(name, error)] * times

    @property
    def writes(self) -> list[Call]:
        """The writes that this world has accepted, from all its clients."""
        return [call for call in self.world.calls if call.error is None]

    # ------------------------------------------------------------------------------------------------ reads

    async def info(self) -> MarathonInfo:
        """See the port."""
        self._read("info")
        return self.world.info

    async def apps(self) -> tuple[ActualApp, ...]:
        """See the port."""
        self._read("apps")
        return self.thin(tuple(app for app in map(self.world.actual, list(self.world.definitions)) if app is not None))

    async def app(self, app_id: str) -> ActualApp | None:
        """See the port."""
        self._read("app")
        return self.world.actual(absolute(app_id))

    async def deployments(self) -> tuple[Deployment, ...]:
        """See the port."""
        self._read("deployments")
        return tuple(plan.view() for plan in self.world.plans.values())

    async def queue(self) -> tuple[QueueItem, ...]:
        """See the port."""
        self._read("queue")
        return self.world.waiting()

    async def app_at(self, app_id: str, version: str) -> Document | None:
        """See the port."""
        self._read("app_at")
        return self.world.version_of(app_id, version)

    # ------------------------------------------------------------------------------------------------ writes

    async def put_apps(self, definitions: Sequence[Document], *, force: bool = False) -> DeploymentRef:
        """See the port."""
        ids = tuple(absolute(str(definition["id"])) for definition in definitions)
        return self._write("put_apps", ids, force=force, act=lambda: self.world.update(definitions, force=force))

    async def patch_apps(self, members: Sequence[Document], *, force: bool = False) -> DeploymentRef:
        """See the port."""
        ids = tuple(absolute(str(member["id"])) for member in members)

        def act() -> DeploymentRef:
            for app_id in ids:
                self._known(app_id)
            return self.world.update([_merged(self.world.definitions[i], m) for i, m in zip(ids, members, strict=True)], force=force)

        return self._write("patch_apps", ids, force=force, act=act)

    async def patch_app(self, app_id: str, fields: Document, *, force: bool = False) -> DeploymentRef:
        """See the port."""
        return await self.patch_apps([{**fields, "id": app_id}], force=force)

    async def restore(self, app_id: str, version: str, *, force: bool = False) -> DeploymentRef:
        """See the port."""

        def act() -> DeploymentRef:
            self._known(app_id)
            found = self.world.version_of(app_id, version)
            if found is None:
                raise Gone(f"App '{app_id}' does not exist in version {version}")
            return self.world.update([found], force=force)

        return self._write("restore", (app_id,), force=force, act=act)

    async def restart(self, app_id: str, *, force: bool = False) -> DeploymentRef:
        """See the port."""

        def act() -> DeploymentRef:
            self._known(app_id)
            return self.world.update([], restarts=[app_id], force=force)

        return self._write("restart", (app_id,), force=force, act=act)

    async def delete_app(self, app_id: str, *, force: bool = False) -> DeploymentRef | None:
        """See the port."""

        def act() -> DeploymentRef | None:
            if app_id not in self.world.definitions:
                return None
            return self.world.update([], deletes=[app_id], force=force)

        return self._write("delete_app", (app_id,), force=force, act=act)

    async def kill_tasks(self, task_ids: Sequence[str], *, scale: bool = False, force: bool = False) -> DeploymentRef | None:
        """See the port."""
        found = self.world.running(task_ids)
        ids = tuple(dict.fromkeys(instance.app_id for instance in found))

        def act() -> DeploymentRef | None:
            if not scale:
                for instance in found:
                    instance.doomed, instance.expunge = True, False
                return None
            puts, kill = [], {}
            for app_id in ids:
                definition = self._known(app_id)
                kill[app_id] = frozenset(i.task_id for i in found if i.app_id == app_id)
                puts.append(definition | {"instances": max(0, definition["instances"] - len(kill[app_id]))})
            return self.world.update(puts, kill=kill, force=force)

        return self._write("kill_tasks", ids, force=force, act=act)

    async def cancel_deployment(self, deployment_id: str, *, force: bool) -> DeploymentRef | None:
        """See the port."""
        plan = self.world.plans.get(deployment_id)
        ids = plan.app_ids if plan is not None else ()

        def act() -> DeploymentRef | None:
            if plan is None:
                return None
            if force:
                self.world.cancel(deployment_id)
                return None
            back = [definition for definition in plan.before.values() if definition is not None]
            gone = [app_id for app_id, definition in plan.before.items() if definition is None]
            return self.world.update(back, deletes=gone, force=True)

        return self._write("cancel_deployment", ids, force=force, act=act)

    # ------------------------------------------------------------------------------------------------ events

    async def events(self) -> AsyncIterator[MarathonEvent]:
        """See the port."""
        self._read("events")
        stream = self.world.subscribe()
        while (event := await stream.get()) is not None:
            yield event
        raise Unreachable("Marathon has closed the event stream")

    # ------------------------------------------------------------------------------------------------ one call

    def _known(self, app_id: str) -> Json:
        if app_id not in self.world.definitions:
            raise Gone(f"App '{app_id}' does not exist")
        return self.world.definitions[app_id]

    def _read(self, name: str) -> None:
        self._fault(name)
        if self.reads_down is not None:
            raise self.reads_down

    def _fault(self, name: str) -> None:
        if self.down is not None:
            raise self.down
        for index, (wanted, error) in enumerate(self._faults):
            if wanted in {"", name}:
                del self._faults[index]
                raise error

    def _write(self, name: str, app_ids: tuple[str, ...], *, force: bool, act: Callable[[], _Answer]) -> _Answer:
        self._fault(name)
        what = f"marathon {name} {' '.join(app_ids)}{' force' if force else ''}"
        if self.hook is not None:
            self.hook(Moment.BEFORE, what)
        try:
            answer = act()
        except ShurenError as error:
            self.world.calls.append(Call(name=name, app_ids=app_ids, force=force, error=error))
            raise
        self.world.calls.append(Call(name=name, app_ids=app_ids, force=force))
        if self.hook is not None:
            self.hook(Moment.AFTER, what)
        return answer


def _merged(before: Json, fields: Document) -> Json:
    """A partial update as Marathon makes it: what is not given stays, but these two are cleared."""
    kept = {key: value for key, value in before.items() if key not in {"resourceLimits", "executorResources"}}
    return kept | {key: value for key, value in fields.items() if value is not None}
