"""A whole plan in words and as JSON. Values of Secrets are hidden before they come here (`domain.app.secrecy`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from shuren.cli.output import counted
from shuren.domain.app.plan import Action, AppPlan, ClaimId, PutApp, WriteKind
from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.diff import FieldChange
from shuren.domain.preview.apps import AppForecast, TaskFate
from shuren.domain.preview.balancers import BalancerForecast
from shuren.domain.preview.names import NameChange
from shuren.domain.preview.services import ServiceForecast
from shuren.domain.preview.shards import ShardForecast
from shuren.domain.preview.whole import RUNNING, WholePlan
from shuren.domain.service.plan import Publish, ServiceAction, ServicePlan
from shuren.domain.service.snapshot import Published

Json = dict[str, Any]
Line = tuple[str, str]
"""A line and its style in rich's words."""

_FEW = 4


def _word(action: object) -> str:
    """`PutApp` as `put-app`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(action).__name__).lower()


def _ready(plan: AppPlan | ServicePlan) -> Condition | None:
    return next((c for c in plan.conditions or () if c.type is ConditionType.READY), None)


def _fields(forecast: AppForecast) -> tuple[FieldChange, ...]:
    return tuple(change for action in forecast.actions if isinstance(action, PutApp) for change in action.changes)


# ---------------------------------------------------------------------------------------------------- JSON


def document(plan: WholePlan) -> Json:
    """The plan for programs; docs/cli.md describes it."""
    return {
        "changes": plan.changes,
        "restarts": plan.restarts,
        "complete": not plan.unknown,
        "apps": [_app(key, forecast) for key, forecast in plan.apps],
        "services": [_service(key, forecast) for key, forecast in plan.services],
        "loadBalancers": [_balancer(b) for b in plan.balancers],
        "dns": [{"cluster": one.cluster, "changes": [_name(change) for change in one.changes]} for one in plan.names],
        "shards": [_map(key, forecast) for key, forecast in plan.shards],
        "unknown": [{"about": one.about, "why": one.why} for one in plan.unknown],
    }


def _ref(key: ObjectKey) -> Json:
    return {"kind": key.kind, "namespace": key.namespace, "name": key.name}


def _actions(actions: Iterable[Action | ServiceAction]) -> list[Json]:
    return [{"action": _word(action), "summary": str(action)} for action in actions]


def _app(key: ObjectKey, forecast: AppForecast) -> Json:
    s = forecast.snapshot
    ready = _ready(forecast.last)
    return {
        **_ref(key),
        "cluster": s.cluster.name,
        "appId": s.desired.app_id if s.desired is not None else s.app.id if s.app is not None else None,
        "now": _actions(forecast.now.actions),
        "steps": [_actions(step.actions) for step in forecast.steps],
        "fields": [{"path": c.path, "before": c.before, "after": c.after} for c in _fields(forecast)],
        "tasks": _tasks(forecast.tasks),
        "result": None if ready is None else {"ready": ready.status.value, "reason": ready.reason, "message": ready.message},
        "waitsFor": list(forecast.awaited),
        "openEnd": forecast.open_end or None,
        "warnings": [a.message for a in s.desired.advice] if s.desired is not None else [],
    }


def _tasks(fate: TaskFate) -> Json:
    return {
        "replaced": list(fate.replaced),
        "why": fate.why or None,
        "removed": list(fate.removed),
        "kept": list(fate.kept),
        "started": fate.started,
    }


def _service(key: ObjectKey, forecast: ServiceForecast) -> Json:
    ready = _ready(forecast.now)
    return {
        **_ref(key),
        "cluster": forecast.snapshot.cluster.name,
        "now": _actions(forecast.now.actions),
        "endpoints": {
            "before": [_endpoint(e) for e in forecast.before.endpoints.endpoints] if forecast.before.endpoints is not None else [],
            "after": [_endpoint(e) for e in forecast.after.endpoints.endpoints] if forecast.after.endpoints is not None else [],
            "arriving": forecast.arriving,
        },
        "records": {"created": _records(forecast)[0], "deleted": _records(forecast)[1]},
        "result": None if ready is None else {"ready": ready.status.value, "reason": ready.reason, "message": ready.message},
    }


def _records(forecast: ServiceForecast) -> tuple[list[str], list[str]]:
    before, after = forecast.before.journal, forecast.after.journal
    return sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())


def _endpoint(e: Any) -> Json:
    return {"id": e.id, "address": e.address, "port": e.port, "state": e.state.value, "weight": e.weight}


def _balancer(b: BalancerForecast) -> Json:
    return {
        "cluster": b.cluster,
        "group": b.group,
        "loadBalancers": list(b.balancers),
        "reload": list(b.reload),
        "maps": list(b.maps),
        "commands": {name: list(commands) for name, commands in b.commands.items()},
        "arriving": b.arriving,
        "problems": {str(service): list(told) for service, told in b.problems.items()},
    }


def _name(change: NameChange) -> Json:
    return {"name": change.name, "type": change.type, "before": list(change.before), "after": list(change.after)}


def _map(key: ObjectKey, f: ShardForecast) -> Json:
    return {
        **_ref(key),
        "cluster": f.snapshot.cluster.name,
        "now": [{"action": _word(action), "summary": str(action)} for action in f.now.actions],
        "moves": f.moves,
        "lowerBound": f.bound,
        "proven": f.proven,
        "problem": f.problem or None,
    }


# ---------------------------------------------------------------------------------------------------- words


def lines(plan: WholePlan, *, wide: bool = False) -> Iterator[Line]:
    """The plan for people. `wide` names every field, task and command."""
    limit = 10_000 if wide else _FEW
    for key, forecast in plan.apps:
        yield from _app_lines(key, forecast, limit)
    for key, service in plan.services:
        yield from _service_lines(key, service, limit)
    for balancer in plan.balancers:
        yield from _balancer_lines(balancer, limit)
    for names in plan.names:
        for change in names.changes[: max(limit, 12)]:
            yield f"DNS {change.name} {change.type}: {', '.join(change.before) or 'none'} -> {', '.join(change.after) or 'none'}", "cyan"
    for key, forecast_ in plan.shards:
        yield from _map_lines(key, forecast_)
    for one in plan.unknown:
        yield f"! not known: {one.about}: {one.why}", "bold yellow"
    yield _sum(plan), "bold"


def _sum(plan: WholePlan) -> str:
    if plan.unknown and not plan.changes:
        return "Nothing can be told for sure."
    if not plan.changes:
        return "Nothing will change."
    changed = sum(1 for _, f in plan.apps if any(isinstance(a, RUNNING) for a in f.actions)) + sum(1 for _, f in plan.services if f.changes)
    changed += sum(1 for _, f in plan.shards if f.changes)
    reloads = sum(1 for b in plan.balancers if b.reload)
    words = [
        f"{changed} of {counted(len(plan.apps) + len(plan.services) + len(plan.shards), 'resource')} change",
        f"{counted(plan.restarts, 'task')} {'is' if plan.restarts == 1 else 'are'} replaced",
        f"{sum(len(f.tasks.removed) for _, f in plan.apps)} removed",
        f"{sum(f.tasks.started for _, f in plan.apps)} started",
        f"load balancers of {counted(reloads, 'group')} reload",
    ]
    return ", ".join(words) + "."


def _map_lines(key: ObjectKey, f: ShardForecast) -> Iterator[Line]:
    head = f"ShardMap {key.namespace}/{key.name} (in {f.snapshot.cluster.name}): "
    if f.problem:
        yield f"{head}nothing moves before this is mended: {f.problem}", "yellow"
    elif f.moves:
        fewest = "the fewest possible" if f.moves == f.bound else f"at least {f.bound} are needed"
        yield f"{head}{f.moves} replicas are copied, {fewest}; shuren shards plan shows which", "bold"
    else:
        yield f"{head}{'no shard moves' if not f.changes else str(f.now)}", "bold" if f.changes else ""


def _listed(items: Iterable[str], limit: int) -> str:
    every = list(items)
    more = f", … ({len(every) - limit} more)" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more


def _app_lines(key: ObjectKey, forecast: AppForecast, limit: int) -> Iterator[Line]:
    s = forecast.snapshot
    app_id = s.desired.app_id if s.desired is not None else s.app.id if s.app is not None else ""
    where = f" ({app_id} in {s.cluster.name})" if app_id else f" (in {s.cluster.name})"
    yield f"PaasApp {key.namespace}/{key.name}{where}: {_headline(forecast)}", "bold" if forecast.steps else ""
    if forecast.awaited:
        yield f"    waits until Ready: {', '.join(forecast.awaited)} (spec.dependsOn), which this plan brings about", ""
    for change in _fields(forecast)[: max(limit, 12)]:
        style = "green" if change.before is None else "red" if change.after is None else "yellow"
        sign = "+" if change.before is None else "-" if change.after is None else "~"
        yield f"  {sign} {change}", style
    rest = len(_fields(forecast)) - max(limit, 12)
    if rest > 0:
        yield f"    … and {rest} more fields (-o wide shows all)", ""
    yield from _task_lines(forecast.tasks, limit)
    for action in _beside(forecast):
        yield f"    {action}", "dim"
    if s.desired is not None:
        for advice in s.desired.advice:
            yield f"  ! {advice.message}", "yellow"
    if forecast.open_end:
        yield f"    from there on: {forecast.open_end}", ""


def _headline(forecast: AppForecast) -> str:
    ready = _ready(forecast.last)
    if not forecast.steps:
        if ready is None:
            return "nothing can be told"
        return "nothing changes" if ready.status is Truth.TRUE else f"nothing is done: {ready.reason}: {ready.message}"
    main = [a for a in forecast.actions if not isinstance(a, ClaimId) and _word(a) in _MAIN]
    if not main:
        adopted = any(_word(a) == "record-revision" and getattr(a, "adopted", "") for a in forecast.actions)
        return "is taken over as it is, no task restarts" if adopted else "only bookkeeping"
    words = [("correct drift" if isinstance(a, PutApp) and a.corrects_drift else _MAIN[_word(a)]) for a in main]
    if isinstance(main[0], PutApp) and main[0].kind is WriteKind.CREATE:
        words[0] = "create"
    return ", then ".join(dict.fromkeys(words))


_MAIN = {
    "put-app": "change",
    "scale-app": "scale",
    "kill-tasks": "remove tasks",
    "drain": "drain tasks",
    "restart-app": "restart",
    "restore-version": "roll back",
    "cancel-deployment": "cancel the deployment",
    "delete-app": "delete",
}


def _task_lines(fate: TaskFate, limit: int) -> Iterator[Line]:
    if fate.replaced:
        yield f"    {counted(len(fate.replaced), 'task')} to restart, since {fate.why}: {_listed(fate.replaced, limit)}", "yellow"
    if fate.removed:
        yield f"    {counted(len(fate.removed), 'task')} to end: {_listed(fate.removed, limit)}", "red"
    if fate.started:
        yield f"    {counted(fate.started, 'task')} to start", "green"


def _beside(forecast: AppForecast) -> Iterator[str]:
    """What is done beside the main thing, each once."""
    seen: dict[str, None] = {}
    for action in forecast.actions:
        if isinstance(action, PutApp) or _word(action) == "kill-tasks":
            continue
        seen[str(action)] = None
    yield from seen


def _service_lines(key: ObjectKey, forecast: ServiceForecast, limit: int) -> Iterator[Line]:
    ready = _ready(forecast.now)
    head = f"PaasService {key.namespace}/{key.name} (in {forecast.snapshot.cluster.name}): "
    if not forecast.changes:
        held = "" if ready is None or ready.status is Truth.TRUE else f" ({ready.reason}: {ready.message})"
        yield f"{head}nothing changes{held}", ""
        return
    yield f"{head}{'publish' if forecast.before or forecast.after else 'change'}", "bold"
    for action in forecast.now.actions:
        yield f"    {action}", "dim" if not isinstance(action, Publish) else ""
    leaving = [f"{e.address}:{e.port}" for e in forecast.leaving]
    if leaving:
        yield f"    {len(leaving)} endpoints go: {_listed(leaving, limit)}", "red"
    if forecast.arriving:
        yield f"    {forecast.arriving} endpoints come when their tasks are ready", "green"
    created, deleted = _records(forecast)
    if created:
        yield f"  + {len(created)} ZooKeeper records: {_listed(created, limit)}", "green"
    if deleted:
        yield f"  - {len(deleted)} ZooKeeper records: {_listed(deleted, limit)}", "red"
    yield from _route_lines(forecast.before, forecast.after)


def _route_lines(before: Published, after: Published) -> Iterator[Line]:
    for group in sorted(before.routes.keys() | after.routes.keys()):
        old, new = before.routes.get(group), after.routes.get(group)
        if old == new:
            continue
        word = "+ route" if old is None else "- route" if new is None else "~ route"
        yield f"  {word} of load balancers of group {group}", "green" if old is None else "red" if new is None else "yellow"


def _balancer_lines(b: BalancerForecast, limit: int) -> Iterator[Line]:
    if not (b.changes or b.problems):
        return
    who = _listed(b.balancers, limit) or "none is registered"
    count = sum(len(commands) for commands in b.commands.values())
    what = f"reload ({_listed(b.reload, limit)})" if b.reload else "no reload"
    yield f"HAProxy of group {b.group} in {b.cluster} ({who}): {what}, {count} commands", "bold" if b.reload else "cyan"
    if b.maps:
        yield f"    at run time: {_listed(b.maps, limit)}", ""
    shown = [command for commands in b.commands.values() for command in commands]
    for command in shown[: max(limit, 8)]:
        yield f"    {command}", "dim"
    if len(shown) > max(limit, 8):
        yield f"    … and {len(shown) - max(limit, 8)} more (-o wide shows all)", "dim"
    if b.arriving:
        yield f"    {b.arriving} servers are added when their tasks are ready", ""
    for service, told in b.problems.items():
        for one in told:
            yield f"  ! {service}: {one}", "yellow"
