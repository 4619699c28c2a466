"""Which files run on one worker one after another, in what order the pieces of work are given out, and what runs beside what.

A world that lives as long as the session (`real_parts`) is brought up by every worker that runs a test with it, and idles there until the
end. So the files that share one are one piece of work. Pieces of minutes come first: given out last, they would leave the other workers
with nothing to do.

Most of the suite waits for something most of the time, so that three workers end sooner than two on two cores. But tests that judge every
single request of a load need the processor: they come before everything else, and `BESIDE` workers are all that work until they are over.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

_OPERATED, _BROKEN, _KUBE = "the operated world", "the worlds that are broken", "the API server"
_PIECES = {
    "tests/integration/operator/test_crashes.py": _BROKEN,
    "tests/integration/operator/test_leaders.py": _BROKEN,
    "tests/integration/operator/test_outages.py": _BROKEN,
    "tests/integration/operator/test_partitions.py": _BROKEN,
    "tests/integration/operator/test_secrecy.py": _BROKEN,
    "tests/integration/operator/test_gated.py": "",  # a world of its own
    "tests/integration/operator/": _OPERATED,
    "tests/integration/service/": _OPERATED,
    "tests/integration/shards/test_shard_maps.py": _OPERATED,
    "tests/chart/test_deletion.py": _OPERATED,
    "tests/chart/test_gitops.py": _OPERATED,
    "tests/contract/eventsource/": _KUBE,
    "tests/contract/kubernetes/": _KUBE,
    "tests/integration/api/": _KUBE,
    "tests/integration/devenv/test_demo.py": "",
    "tests/integration/devenv/": _KUBE,
}
"""Piece of work by the beginning of a path; the first that fits. Empty, or not here: the file itself."""

_LOADS = (
    "tests/integration/traffic/test_traffic.py",
    "tests/integration/shards/test_service_under_faults.py",
    "tests/integration/operator/test_gated.py",
    "tests/integration/lb/test_traffic.py",
)
"""Pieces that judge every request of a load."""
_FIRST = (
    *_LOADS,
    _OPERATED,
    _BROKEN,
    "tests/integration/docs/",
    _KUBE,
    "tests/chart/",
    "tests/integration/",
    "tests/model/",
    "tests/contract/engine/test_transcripts.py",
    "tests/component/importing/",
    "tests/unit/domain/app/test_decide_properties.py",
    "tests/contract/",
    "tests/component/",
)
"""Beginnings of pieces, the longest first; what is not here comes after them, in any order."""

BESIDE = 2
"""Workers that have work while a load is judged."""


def piece_of(nodeid: str) -> str:
    """The piece of work that a test belongs to."""
    path = nodeid.partition("::")[0]
    return next((piece or path for begin, piece in _PIECES.items() if path.startswith(begin)), path)


def rank(piece: str) -> int:
    """When its turn comes: lower is earlier."""
    return next((number for number, begin in enumerate(_FIRST) if piece.startswith(begin)), len(_FIRST))


class PieceScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """As `--dist loadfile`, by piece instead of file; a piece is given out when a worker has come to the end of what it has."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._waits(node):
            super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        # a worker begins a test when it knows the next one: with one left it waits for us, with two it does not
        if self.workqueue and self._pending_of(self.assigned_work[node]) > 1:
            return
        super()._reschedule(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        for other in self.nodes:
            if not self._pending_of(self.assigned_work[other]):
                self._begin(other)

    def _begin(self, node: WorkerController) -> None:
        """Give work to one that has had none yet."""
        while self.workqueue and self._pending_of(self.assigned_work[node]) < 2 and not self._waits(node):
            self._assign_work_unit(node)

    def _waits(self, node: WorkerController) -> bool:
        """Whether it is kept without work so that a load has the processor."""
        return node in self.nodes[BESIDE:] and self._loaded()

    def _loaded(self) -> bool:
        """Whether a load is judged now or soon."""
        given = (piece for work in self.assigned_work.values() for piece, tests in work.items() if not all(tests.values()))
        return any(piece in _LOADS for piece in (*self.workqueue, *given))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> PieceScheduling:
    return PieceScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(piece_of(item.nodeid)))
