"""The next writes that bring one Marathon app to a number of instances; who goes is the victims decision's to say."""

from __future__ import annotations

from shuren.domain.app import victims
from shuren.domain.app.plan import Action, Drain, KillTasks, ScaleApp
from shuren.domain.app.snapshot import Gates
from shuren.domain.app.work import SETTLE
from shuren.domain.marathon.state import ActualApp


def towards(app: ActualApp, instances: int, *, gates: Gates, force: bool) -> tuple[Action, ...]:
    """More instances, or fewer; none when it has as many, or every victim waits for its gates and knows it."""
    if instances < app.instances:
        return fewer(app, instances, gates=gates, force=force)
    more = (ScaleApp(app_id=app.id, instances=instances, before=app.instances, force=force),) if instances > app.instances else ()
    return (*serve_on(app, gates), *more)


def fewer(app: ActualApp, instances: int, *, gates: Gates, force: bool) -> tuple[Action, ...]:
    """The next steps of making the app smaller."""
    removal = victims.choose(app, app.instances - instances, gates=gates)
    asked = frozenset(removal.held + removal.kill) if gates.closed else frozenset()
    drain = (Drain(app_id=app.id, task_ids=tuple(sorted(asked))),) if asked != gates.draining else ()
    if removal.shrink:
        return (*drain, ScaleApp(app_id=app.id, instances=app.instances - removal.shrink, before=app.instances, force=force))
    if removal.kill:
        return (*drain, KillTasks(app_id=app.id, task_ids=removal.kill, force=force))
    return drain


def serve_on(app: ActualApp, gates: Gates) -> tuple[Action, ...]:
    """Nothing is to be removed any more: whoever was asked to drain serves on, unless it is on its way out already."""
    active = {task.id for task in app.tasks if task.state.active}
    if gates.draining & active and len(active) <= app.instances:
        return (Drain(app_id=app.id, task_ids=()),)
    return ()


def waits_for(gates: Gates) -> str:
    """What holds up the removal of tasks, as the end of a sentence."""
    why = next(iter(sorted(gates.why.values())), "")
    return f"; waiting until tasks have let go of their traffic: {why}" if why else ""


def look_again(gates: Gates) -> float:
    """Seconds after which the gates may have opened although nothing was heard."""
    return SETTLE if gates.left is None else min(SETTLE, max(0.1, gates.left))
