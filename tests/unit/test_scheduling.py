"""Our way to give tests out to workers: shared worlds stay on one worker, and while a load is judged no third one works."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from xdist.remote import Producer

from scheduling import BESIDE, PieceScheduling, piece_of, rank

TRAFFIC = "tests/integration/traffic/test_traffic.py"
GATED = "tests/integration/operator/test_gated.py"
FAULTS = "tests/integration/shards/test_service_under_faults.py"
LIFE = "tests/integration/operator/test_life.py"
MANY = "tests/integration/operator/test_many.py"
UNIT = [f"tests/unit/test_{letter}.py" for letter in "abcdef"]


@dataclass(eq=False)
class Worker:
    """What the scheduler sees of one: it gets indices of tests, and in the end is told that there are no more."""

    gateway: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(id="gw"))
    waiting: list[int] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    def may_run(self) -> bool:
        """A worker runs a test when it knows the next one, or that there is none."""
        return len(self.waiting) > 1 or bool(self.waiting and self.shutting_down)


class Session:
    """Workers that have collected the same tests."""

    def __init__(self, tests: list[str], workers: int) -> None:
        self.tests = sorted(tests, key=lambda test: rank(piece_of(test)))
        option = SimpleNamespace(loadscopereorder=False)
        config = SimpleNamespace(getvalue={"tx": [f"{workers}*popen"]}.get, option=option)
        self.scheduler = PieceScheduling(config, Producer("test", enabled=False))
        self.workers = [Worker() for _ in range(workers)]
        self.ran: dict[int, list[str]] = {number: [] for number in range(workers)}
        for worker in self.workers:
            self.scheduler.add_node(worker)
        for worker in self.workers:
            self.scheduler.add_node_collection(worker, self.tests)
        self.scheduler.schedule()

    def step(self, number: int) -> bool:
        """A worker runs its next test, if it can."""
        worker = self.workers[number]
        if not worker.may_run():
            return False
        index = worker.waiting.pop(0)
        self.ran[number].append(self.tests[index])
        self.scheduler.mark_test_complete(worker, index)
        if self.scheduler.tests_finished:
            for one in self.workers:
                one.shutdown()
        return True

    def finish(self) -> None:
        """All workers go on in turn until none can."""
        while sum(self.step(number) for number in range(len(self.workers))):
            pass


def of(files: list[str], each: int = 3) -> list[str]:
    return [f"{path}::test_{number}" for path in files for number in range(each)]


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("files", [[TRAFFIC], [TRAFFIC, GATED], [LIFE, MANY], [*UNIT], [TRAFFIC, FAULTS, GATED, LIFE, MANY, *UNIT]])
@pytest.mark.parametrize("each", [1, 3])
def test_every_test_runs_once(files: list[str], each: int, workers: int) -> None:
    session = Session(of(files, each), workers)
    session.finish()
    assert sorted(test for tests in session.ran.values() for test in tests) == sorted(of(files, each))


def test_files_that_share_a_world_run_on_one_worker() -> None:
    session = Session(of([LIFE, MANY, *UNIT]), 3)
    session.finish()
    (where,) = [number for number, ran in session.ran.items() if set(of([LIFE, MANY])) & set(ran)]
    assert set(of([LIFE, MANY])) <= set(session.ran[where])


def test_nobody_works_beside_two_while_a_load_is_judged_and_then_all_do() -> None:
    session = Session(of([TRAFFIC, FAULTS, GATED, LIFE, *UNIT]), 3)
    while left := [test for test in of([TRAFFIC, FAULTS, GATED]) if not any(test in ran for ran in session.ran.values())]:
        assert not session.step(2), left
        assert sum(session.step(number) for number in range(BESIDE))
    session.finish()
    assert session.ran[2]


def test_a_piece_is_kept_for_whoever_comes_to_its_end_first() -> None:
    """With two tests left a worker is given nothing more: they may be long, and somebody else may have none."""
    session = Session(of([LIFE, *UNIT[:3]]), 2)
    given = len(session.workers[0].waiting)
    session.step(0)
    assert len(session.workers[0].waiting) == given - 1
    session.step(0)
    assert len(session.workers[0].waiting) == 1 + 3
