"""Snapshots of one PaasApp: a converged one to change, and a strategy for any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from shuren.domain.app.snapshot import (
    FINALIZER,
    FORCE_ORPHAN,
    Adoption,
    ClusterView,
    Deletion,
    Dependency,
    Desired,
    DriftPolicy,
    Elsewhere,
    Gates,
    Management,
    Memory,
    OnFailure,
    Policy,
    Problem,
    Refusal,
    Resource,
    Revision,
    RevisionState,
    RolloutPolicy,
    Snapshot,
)
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.json import Document
from shuren.domain.marathon.state import ActualApp, Deployment, Health, QueueItem, Task, TaskFailure, TaskState

KEY = ObjectKey(kind="PaasApp", namespace="shop", name="web")
ID = "/shop/web"
UID = "uid-web"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OLD, CURRENT = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"
"""Two versions of the app; CURRENT is that of its last configuration change."""
MINE = Claim(app_id=ID, uid=UID, namespace="shop", name="web", epoch=1)
GOOD = Revision(name="web-1", hash="aaaa", number=1, state=RevisionState.GOOD, app_id=ID, marathon_version=CURRENT)
DEFINITION: dict[str, Any] = {"id": ID, "cmd": "sleep 1000", "instances": 2}


def task(number: int, **changes: Any) -> Task:
    """A running task of the current configuration."""
    basis: dict[str, Any] = {
        "id": f"t{number}",
        "app_id": ID,
        "state": TaskState.RUNNING,
        "version": CURRENT,
        "started_at": f"2026-01-02T00:00:0{number}Z",
    }
    return Task(**(basis | changes))


def actual(*tasks: Task, instances: int | None = None, deployments: tuple[str, ...] = (), **definition: Any) -> ActualApp:
    """The app as Marathon has it, with as many instances as tasks unless said otherwise."""
    wanted = len(tasks) if instances is None else instances
    return ActualApp(
        id=ID,
        definition={**DEFINITION, "version": CURRENT, "instances": wanted} | definition,
        version=CURRENT,
        last_config_change_at=CURRENT,
        last_scaling_at=CURRENT,
        instances=wanted,
        tasks=tasks,
        deployments=deployments,
    )


def desired(revision: str = "aaaa", **definition: Any) -> Desired:
    """What the spec asks for."""
    return Desired(app_id=ID, definition=DEFINITION | definition, revision=revision)


def status(reason: str = "Ready", truth: str = "True", *, generation: int = 1, **facts: Any) -> dict[str, Any]:
    """A former status; `Reconciling` is in it unless it was ready."""
    conditions = [{"type": "Ready", "status": truth, "reason": reason, "message": ""}]
    if truth != "True":
        conditions.append({"type": "Reconciling", "status": "True", "reason": reason, "message": ""})
    return {"observedGeneration": generation, "conditions": conditions} | facts


def snapshot(**changes: Any) -> Snapshot:
    """A resource that is brought about in every part. `resource`, `management`, `rollout`, `cluster`, `memory` take changes as mappings."""
    parts: dict[str, Any] = {
        "resource": Resource(key=KEY, uid=UID, generation=1, finalizers=(FINALIZER,), status=status()),
        "management": Management(),
        "rollout": RolloutPolicy(),
        "cluster": ClusterView(name="bj1", agents=3),
        "memory": Memory(),
    }
    for name, part in parts.items():
        given = changes.pop(name, {})
        parts[name] = replace(part, **given) if isinstance(given, Mapping) else given
    basis: dict[str, Any] = {
        **parts,
        "desired": desired(),
        "claim": MINE,
        "app": actual(task(1), task(2)),
        "revisions": (GOOD,),
        "now": NOW,
        "monotonic": 1000.0,
    }
    return Snapshot(**(basis | changes))


# ---------------------------------------------------------------------------------------------------- any snapshot

SECRET = "correct horse battery staple"
"""Stands in definitions as a secret variable, and is quoted in failures."""

_sentences = st.sampled_from(["", "no answer", f"refused: {SECRET}"])
_problems = st.builds(
    Problem, reason=st.sampled_from(["Pending", "SecretMissing", "InvalidSpec"]), message=st.sampled_from(["", "it is wrong"])
)
_small = st.integers(min_value=0, max_value=4)
_seconds = st.sampled_from([0.0, 0.1, 30.0, 59.9, 61.0, 700.0])
_hashes = st.sampled_from(["aaaa", "bbbb", "cccc"])
_ids = st.sampled_from([ID, "/shop/old", "/foreign"])
_deployment_ids = st.sampled_from(["d1", "d2"])

tasks = st.builds(
    task,
    number=st.integers(min_value=0, max_value=9),
    state=st.sampled_from(TaskState),
    health=st.sampled_from(Health),
    version=st.sampled_from([None, OLD, CURRENT]),
    staged_at=st.sampled_from([None, OLD]),
)
_failures = st.builds(
    TaskFailure,
    message=_sentences,
    state=st.just("TASK_FAILED"),
    host=st.sampled_from(["", "host-1"]),
    timestamp=st.sampled_from([OLD, "2026-01-03T00:00:00.000Z"]),
    task_id=st.sampled_from(["a.instance-1._app.7", "a"]),
    version=st.sampled_from(["", OLD, CURRENT]),
)
_definitions: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"cmd": st.sampled_from(["sleep 1000", "sleep 2000"])},
    optional={
        "healthChecks": st.just([{"protocol": "TCP", "portIndex": 0}]),
        "labels": st.sampled_from([{}, {"a": "b"}]),
        "env": st.sampled_from([{}, {"PASSWORD": SECRET}, {"PASSWORD": "former secret value"}, {"OPEN": "x"}]),
        "killSelection": st.sampled_from(["YOUNGEST_FIRST", "OLDEST_FIRST"]),
        "role": st.sampled_from(["*", "web"]),
    },
)
apps = st.builds(
    lambda app_id, found, instances, deployments, definition, failure, ready: replace(
        actual(*found, instances=instances, deployments=tuple(deployments), **definition),
        id=app_id,
        last_task_failure=failure,
        ready_tasks=ready,
    ),
    st.just(ID),
    st.lists(tasks, max_size=5, unique_by=lambda t: t.id),
    _small,
    st.lists(_deployment_ids, max_size=2, unique=True),
    _definitions,
    st.none() | _failures,
    st.none() | st.just(("t1",)),
)
_desired = st.builds(
    lambda revision, instances, definition, advice: Desired(
        app_id=ID,
        definition={**DEFINITION, **definition, "instances": instances},
        revision=revision,
        secret_paths=("/env/PASSWORD",),
        secrets=frozenset({SECRET}),
        advice=tuple(advice),
        warnings=("ignored: version",),
    ),
    _hashes,
    _small,
    _definitions,
    st.lists(_problems, max_size=2),
)
_garbage: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_conditions = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Ready", "Reconciling", "Stalled", "InSync", "?"]),
        "status": st.sampled_from(["True", "False", "Unknown"]),
        "reason": st.sampled_from(["Ready", "Locked", "Updating", "RolledBack", "RollingOut", "ProgressDeadlineExceeded", "Pending"]),
    }
)
statuses: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {},
    optional={
        "observedGeneration": st.integers(min_value=0, max_value=3) | _garbage,
        "conditions": st.lists(_conditions, max_size=4) | _garbage,
        "cluster": st.sampled_from(["bj1", "sh2"]) | _garbage,
        "marathon": st.fixed_dictionaries(
            {
                "deployment": st.fixed_dictionaries({"id": _deployment_ids, "deadline": st.just("2026-01-02T03:10:00Z") | _garbage})
                | _garbage
            }
        )
        | _garbage,
        "revision": st.fixed_dictionaries({"target": _hashes, "current": _hashes}) | _garbage,
        "counts": st.fixed_dictionaries({"desired": _small}) | _garbage,
        "waiting": _garbage,
        "drift": _garbage,
    },
)
_memories = st.builds(
    Memory,
    revision=st.sampled_from(["", "aaaa/2", "bbbb/2", "bbbb/1"]),
    measure=st.sampled_from([(), (0, 0, 0, 0), (2, 0, 0, -1), (1,)]),
    progress_at=st.sampled_from([None, 0.0, 950.0, 1000.0]),
    deadline=st.sampled_from(["", "2026-01-02T03:10:00Z", "soon"]),
    unhealthy_since=st.sampled_from([None, 0.0, 990.0]),
    deployments=st.sampled_from([(), ("d1",), ("d1", "d2")]),
    refusal=st.none() | st.builds(Refusal, body=st.sampled_from(["", "x"]), message=_sentences, at=st.sampled_from([0.0, 900.0])),
)
_revisions: st.SearchStrategy[tuple[Revision, ...]] = st.lists(
    st.builds(
        lambda number, name, state, app_id, version, failure: Revision(
            name=f"web-{number}", hash=name, number=number, state=state, app_id=app_id, marathon_version=version, failure=failure
        ),
        st.integers(min_value=1, max_value=20),
        _hashes,
        st.sampled_from(RevisionState),
        st.sampled_from([ID, "/shop/old"]),
        st.sampled_from(["", OLD, CURRENT]),
        _sentences,
    ),
    max_size=12,
    unique_by=lambda r: r.number,
).map(tuple)
_elsewhere = st.lists(
    st.builds(
        Elsewhere,
        cluster=st.sampled_from(["bj1", "sh2"]),
        app_id=st.sampled_from(["", "/shop/old"]),
        app=st.none() | apps,
        reachable=st.booleans(),
        locked_by_others=st.booleans(),
        deletion_wait=st.sampled_from([0.0, 7.0]),
    ),
    max_size=2,
).map(tuple)


def _resources(*, deleting: bool) -> st.SearchStrategy[Resource]:
    return st.builds(
        Resource,
        key=st.just(KEY),
        uid=st.just(UID),
        generation=st.integers(min_value=1, max_value=3),
        deleting=st.just(deleting),
        finalizers=st.sampled_from([(FINALIZER,), (), ("other/finalizer",)]),
        annotations=st.sampled_from([{}, {FORCE_ORPHAN: "true"}, {FORCE_ORPHAN: "false"}]) if deleting else st.just({}),
        status=statuses,
    )


_task_ids = st.frozensets(st.sampled_from(["t0", "t1", "t2", "gone"]), max_size=3)
_ANY: dict[str, st.SearchStrategy[Any]] = {
    "resource": _resources(deleting=False),
    "management": st.builds(
        Management,
        policy=st.sampled_from(Policy),
        adoption=st.sampled_from(Adoption),
        deletion=st.sampled_from(Deletion),
        drift=st.sampled_from(DriftPolicy),
        ignore_paths=st.sampled_from([(), ("/instances",), ("/labels", "/env/X"), ("/id", "")]),
        suspend=st.booleans(),
    ),
    "rollout": st.builds(
        RolloutPolicy,
        deadline=st.sampled_from([1.0, 60.0, 600.0]),
        on_failure=st.sampled_from(OnFailure),
        max_unhealthy=st.sampled_from([None, 5.0]),
    ),
    "cluster": st.builds(
        ClusterView,
        name=st.just("bj1"),
        exists=st.booleans() | st.just(True),
        connected=st.just(True) | st.booleans(),
        problem=st.none() | st.none() | _problems,
        synced=st.just(True) | st.booleans(),
        unreachable_for=st.none() | st.none() | _seconds,
        agents=st.sampled_from([None, 0, 3]),
    ),
    "desired": _desired | _desired | st.none(),
    "problem": st.none() | st.none() | _problems,
    "waiting": st.none() | st.none() | _problems,
    "dependencies": st.lists(st.builds(Dependency, name=st.just("db"), exists=st.booleans(), ready=st.booleans()), max_size=2).map(tuple),
    "claim": st.sampled_from([MINE, MINE, None, replace(MINE, uid="another"), replace(MINE, uid="another", namespace="other")]),
    "holder_gone": st.booleans(),
    "app": apps | apps | st.none(),
    "deployment": st.none()
    | st.builds(
        Deployment,
        id=_deployment_ids,
        version=st.just(CURRENT),
        affected_apps=st.sampled_from([(ID,), (ID, "/foreign")]),
        current_step=_small,
        total_steps=_small,
    ),
    "queue": st.none()
    | st.builds(
        QueueItem,
        app_id=st.just(ID),
        count=_small,
        delay_seconds=_seconds,
        overdue=st.booleans(),
        since=st.just(OLD),
        rejections=st.sampled_from([{}, {"InsufficientCpus": 3}, {"Unheard": 1}, {"InsufficientCpus": 0}]),
    ),
    "revisions": _revisions,
    "elsewhere": _elsewhere,
    "deletion_wait": st.sampled_from([0.0, 0.0, 12.0]),
    "namespace_going": st.sampled_from([False, False, True]),
    "gates": st.just(Gates())
    | st.builds(
        Gates,
        closed=st.booleans(),
        draining=_task_ids,
        released=_task_ids,
        why=st.sampled_from([{}, {"t1": "lb-1 has 3 sessions"}]),
        left=st.sampled_from([None, 0.0, 3.0]),
    ),
    "memory": _memories,
    "now": st.just(NOW) | st.just(NOW + timedelta(days=400)),
    "monotonic": st.sampled_from([1000.0, 1200.0]),
}
snapshots: st.SearchStrategy[Snapshot] = st.builds(Snapshot, **_ANY)
"""Any snapshot, also such as no gatherer makes: contradictions, statuses of other releases, memories of other revisions."""


@st.composite
def _in_the_middle(draw: st.DrawFn) -> Snapshot:
    """Nothing keeps the resource from being brought about; often it has come some way, or to a bad end."""
    s = draw(st.builds(Snapshot, **_ANY | _UNHINDERED))
    wanted = s.desired
    if wanted is None or s.app is None:
        return s
    if draw(st.booleans()):
        number = draw(st.just(wanted.instances) | _small)
        held: Document = {**wanted.definition, "version": CURRENT, "instances": number}
        s = replace(s, app=replace(s.app, definition=held, instances=number))
    tried_last = draw(st.booleans())
    if tried_last and s.revisions:
        last = max(s.revisions, key=lambda r: r.number)
        tried = replace(last, hash=wanted.revision, app_id=ID)
        s = replace(s, revisions=tuple(tried if r is last else r for r in s.revisions))
    if s.app is not None and draw(st.booleans()):
        long_ago = replace(s.memory, revision=f"{wanted.revision}/{s.app.instances}", measure=(9, 9, 9, 0), progress_at=0.0)
        s = replace(s, memory=long_ago)
    return s


_UNHINDERED: dict[str, st.SearchStrategy[Any]] = {
    "cluster": st.builds(ClusterView, name=st.just("bj1"), agents=st.sampled_from([None, 3])),
    "desired": _desired,
    "problem": st.none(),
    "waiting": st.none(),
    "namespace_going": st.just(False),
}
unhindered: st.SearchStrategy[Snapshot] = _in_the_middle()
"""Any snapshot in which nothing keeps the resource from being brought about."""
ending: st.SearchStrategy[Snapshot] = st.builds(Snapshot, **_ANY | {"resource": _resources(deleting=True)})
"""Any snapshot of a resource that is being deleted."""
