"""Which files run on one worker one after another, and in what order the pieces of work are given out.

A world that lives as long as the session (`real_parts`) is brought up by every worker that runs a test with it, and idles there until the
end. So the files that share one are one piece of work. Pieces of minutes come first: given out last, they would leave the other workers
with nothing to do.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

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
    "tests/integration/api/": _KUBE,
    "tests/integration/devenv/test_control_plane.py": _KUBE,
    "tests/integration/devenv/test_lifecycle.py": _KUBE,
}
"""Piece of work by the beginning of a path; the first that fits. Empty, or not here: the file itself."""

_FIRST = (
    _OPERATED,
    _BROKEN,
    "tests/integration/shards/",
    "tests/integration/traffic/",
    "tests/integration/docs/",
    _KUBE,
    "tests/chart/",
    "tests/integration/",
    "tests/model/",
)
"""Beginnings of pieces, the longest first; what is not here comes after them, in any order."""


def piece_of(nodeid: str) -> str:
    """The piece of work that a test belongs to."""
    path = nodeid.partition("::")[0]
    return next((piece or path for begin, piece in _PIECES.items() if path.startswith(begin)), path)


def rank(piece: str) -> int:
    """When its turn comes: lower is earlier."""
    return next((number for number, begin in enumerate(_FIRST) if piece.startswith(begin)), len(_FIRST))


class PieceScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """As `--dist loadfile`, by piece instead of file."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> PieceScheduling:
    return PieceScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(piece_of(item.nodeid)))
