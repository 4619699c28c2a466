"""Which waiting writes go together."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.commit import ArrayLimits, Waiting, WriteKind, blamed, half_done, halves, next_batch, unfinished, worth_waiting
from shuren.domain.errors import FieldError
from shuren.domain.marathon.state import ActualApp, Task, TaskState

LIMITS = ArrayLimits(members=5, size=1_000, mass=3)
SHARING = {WriteKind.CREATE, WriteKind.CONFIG, WriteKind.SCALE}

write = st.builds(
    Waiting,
    ticket=st.just(0),
    app_id=st.sampled_from([f"/a{i}" for i in range(12)]),
    kind=st.sampled_from(WriteKind),
    size=st.integers(0, 600),
    force=st.booleans(),
    part=st.integers(0, 2),
    alone=st.booleans(),
)
queues = st.lists(write, max_size=30).map(lambda items: [replace(item, ticket=i) for i, item in enumerate(items)])
helds = st.sets(st.sampled_from([f"/a{i}" for i in range(12)]))


def one(ticket: int, kind: WriteKind, app_id: str = "") -> Waiting:
    return Waiting(ticket=ticket, app_id=app_id or f"/{ticket}", kind=kind, size=100)


@given(queues, helds, st.booleans())
def test_a_batch_is_one_kind_of_distinct_unheld_apps_within_the_limits(queue: list[Waiting], held: set[str], only_forced: bool) -> None:  # noqa: FBT001 - hypothesis gives it by position
    batch = next_batch(queue, limits=LIMITS, held=held, only_forced=only_forced)
    assert len({w.app_id for w in batch}) == len(batch) <= LIMITS.members
    assert not held & {w.app_id for w in batch}
    assert len({(w.kind, w.part) for w in batch}) <= 1
    if len(batch) > 1:
        assert sum(w.size for w in batch) <= LIMITS.size
        assert all(w.kind in SHARING and not w.force and not w.alone for w in batch)
    if only_forced:
        assert all(w.force for w in batch)


@given(queues, helds)
def test_the_oldest_write_that_may_go_is_always_in_it(queue: list[Waiting], held: set[str]) -> None:
    batch = next_batch(queue, limits=LIMITS, held=held)
    free = [w for w in queue if w.app_id not in held]
    assert bool(batch) == bool(free)
    if free:
        assert batch[0] == free[0]


@given(queues)
def test_writes_of_one_app_are_sent_in_the_order_in_which_they_came_and_none_is_lost(queue: list[Waiting]) -> None:
    left = list(queue)
    sent: list[Waiting] = []
    while left:
        batch = next_batch(left, limits=LIMITS)
        assert batch
        sent += batch
        left = [w for w in left if w not in batch]
    assert sorted(w.ticket for w in sent) == [w.ticket for w in queue]
    for app_id in {w.app_id for w in queue}:
        mine = [w.ticket for w in sent if w.app_id == app_id]
        assert mine == sorted(mine)


def test_new_apps_share_and_configuration_changes_do_only_when_they_are_many() -> None:
    creates = [one(i, WriteKind.CREATE) for i in range(3)]
    assert next_batch(creates, limits=LIMITS) == tuple(creates)
    few = [one(i, WriteKind.CONFIG) for i in range(LIMITS.mass - 1)]
    assert next_batch(few, limits=LIMITS) == (few[0],)
    many = [one(i, WriteKind.CONFIG) for i in range(LIMITS.mass)]
    assert next_batch(many, limits=LIMITS) == tuple(many)


def test_a_refused_mass_change_stays_shared_in_its_halves() -> None:
    many = [one(i, WriteKind.CONFIG) for i in range(4)]
    parts, following = halves(many, 1)
    assert following == 3
    split = [replace(w, part=parts[w.ticket]) for w in many]
    assert [w.ticket for w in next_batch(split, limits=LIMITS)] == [0, 1]


def test_kinds_that_replace_or_remove_tasks_go_alone() -> None:
    for kind in set(WriteKind) - SHARING:
        queue = [one(0, kind), one(1, kind)]
        assert next_batch(queue, limits=LIMITS) == (queue[0],)


@given(st.lists(write, min_size=1, max_size=20), st.integers(1, 100))
def test_halves_are_two_parts_that_nobody_else_has(items: list[Waiting], part: int) -> None:
    batch = [replace(item, ticket=i) for i, item in enumerate(items)]
    parts, following = halves(batch, part)
    assert set(parts) == {w.ticket for w in batch}
    assert set(parts.values()) <= {part, part + 1}
    assert following == part + 2
    if len(batch) > 1:
        assert set(parts.values()) == {part, part + 1}


def test_the_index_in_a_path_says_whose_error_it_is() -> None:
    errors = [
        FieldError(path="(1)/cpus", message="error.min"),
        FieldError(path="/(1)/mem", message="error.min"),
        FieldError(path="(3)", message="whole"),
        FieldError(path="/", message="nobody's"),
        FieldError(path="(9)/cpus", message="of nobody here"),
        FieldError(path="/healthChecks(0)", message="an index of something else"),
    ]
    assert blamed(errors, 4) == {
        1: (FieldError(path="/cpus", message="error.min"), FieldError(path="/mem", message="error.min")),
        3: (FieldError(path="/", message="whole"),),
    }


def app(*tasks: tuple[TaskState, str], instances: int = 2, changed: str = "2") -> ActualApp:
    return ActualApp(
        id="/a",
        definition={"id": "/a"},
        version=changed,
        last_config_change_at=changed,
        last_scaling_at=changed,
        instances=instances,
        tasks=tuple(Task(id=str(i), app_id="/a", state=state, version=version) for i, (state, version) in enumerate(tasks)),
    )


def test_an_app_is_half_done_while_marathon_alone_would_leave_it_so() -> None:
    running, dead = TaskState.RUNNING, TaskState.FAILED
    assert not half_done(app((running, "2"), (running, "2")), 0)
    assert half_done(app((running, "2"), (running, "1")), 0), "an old task runs on"
    assert half_done(app((running, "2"), (running, "2"), (running, "2")), 0), "one too many"
    assert half_done(app((running, "2")), 0), "nothing will start the second"
    assert not half_done(app((running, "2")), 1), "the second waits in the queue"
    assert not half_done(app((running, "2"), (dead, "2")), 1), "a dead task waits for its next incarnation"


def test_an_app_is_finished_when_all_its_instances_run_the_current_configuration() -> None:
    assert not unfinished(app((TaskState.RUNNING, "2"), (TaskState.RUNNING, "3")))
    assert unfinished(app((TaskState.RUNNING, "2"), (TaskState.STAGING, "2")))


def wait(batch: list[Waiting], *, used: float = 0.0, waited: float = 0.0, quiet: float = 0.0, coming: bool = True) -> float:
    return worth_waiting(batch, limits=LIMITS, coming=coming, used=used, gather=2.0, waited=waited, quiet=quiet)


def test_an_array_is_gathered_while_more_is_coming_and_arrives() -> None:
    batch = [one(1, WriteKind.CREATE), one(2, WriteKind.CREATE)]
    assert wait(batch) > 0.0
    assert wait(batch, coming=False) == 0.0
    assert wait(batch, quiet=0.6) == 0.0, "what is coming hangs elsewhere"
    assert wait(batch, waited=1.99) > 0.0
    assert wait(batch, waited=2.0) == 0.0
    assert wait(batch, waited=2.0, used=0.5) > 0.0, "deployments get scarce"
    assert wait(batch, waited=8.0, used=1.0) == 0.0


def test_a_write_that_nothing_follows_does_not_wait_however_many_deployments_run() -> None:
    for kind in WriteKind:
        assert wait([one(1, kind)], used=1.0, coming=False) == 0.0


def test_what_cannot_share_or_fills_an_array_does_not_wait_for_more() -> None:
    full = [one(number, WriteKind.CREATE) for number in range(LIMITS.members)]
    assert wait(full, used=1.0) == 0.0
    for kind in set(WriteKind) - {WriteKind.CREATE, WriteKind.SCALE}:
        assert wait([one(1, kind)], used=1.0) == 0.0
    assert wait([replace(one(1, WriteKind.CREATE), force=True)], used=1.0) == 0.0
    assert wait([replace(one(1, WriteKind.CREATE), alone=True)], used=1.0) == 0.0
