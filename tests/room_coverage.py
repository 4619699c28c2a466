"""Coverage thresholds per room, checked inside pytest so that pytest's own closing line stays the last one; and what is not measured.

`--cov-room domain=95` (may be repeated) fails the run when `shuren.domain` is covered less; it needs pytest-cov to have measured.

Measuring makes a program two and a half times as slow. Where tests go the same ways thousands of times (`_AGAIN`: the
marker `no_cover` of pytest-cov), or starts many programs to see them under load and faults (`unmeasured`), nothing is learnt of
coverage that the tests of the parts have not told already.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import coverage
import pytest

_HERE = Path(__file__).parent
_AGAIN = (
    "model/",
    "component/estate/test_publications.py",
    "component/importing/",
    "contract/sharding/test_large_map.py",
    "unit/domain/app/test_decide_properties.py",
    "unit/edge/dns/test_answers.py",
    "unit/sandbox/http/test_any_request.py",
    "unit/sharding/test_algorithms.py",
)
"""Where tests are whose ways are gone elsewhere too: models, crashes at every write, estates and maps of the largest size, properties."""
_FOR_CHILDREN = "COVERAGE_PROCESS_CONFIG"
"""By this variable coverage measures what we start (see `patch` in its documentation)."""


@contextmanager
def unmeasured() -> Iterator[None]:
    """Programs that are started within run at their own speed."""
    config = os.environ.pop(_FOR_CHILDREN, None)
    try:
        yield
    finally:
        if config is not None:
            os.environ[_FOR_CHILDREN] = config


@pytest.fixture(scope="module")
def unmeasured_programs() -> Iterator[None]:
    """All that the tests of a module start."""
    with unmeasured():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE) and item.path.relative_to(_HERE).as_posix().startswith(_AGAIN):
            item.add_marker(pytest.mark.no_cover)


def pytest_addoption(parser: pytest.Parser) -> None:
    helped = "least coverage of shuren.ROOM in percent; may be repeated"
    parser.addoption("--cov-room", action="append", default=[], metavar="ROOM=PERCENT", help=helped)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    wanted = [text.partition("=") for text in config.getoption("--cov-room")]
    if not wanted or hasattr(config, "workerinput"):
        return
    measured = coverage.Coverage(config_file=str(config.rootpath / "pyproject.toml"))
    measured.load()
    terminalreporter.section("coverage of rooms")
    for room, _, percent in wanted:
        least, got = float(percent), percentage(measured, room)
        verdict = "ok  " if got >= least else "FAIL"
        terminalreporter.line(f"{verdict} {room}: {got:.1f} % (at least {least:g} %)", red=got < least, green=got >= least)
        if got < least:
            session = terminalreporter._session
            assert session is not None
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def percentage(measured: coverage.Coverage, room: str) -> float:
    """Of one room, 0 when nothing of it was run at all."""
    try:
        return measured.report(include=[f"*/shuren/{room}/*"], file=io.StringIO())
    except coverage.exceptions.NoDataError:
        return 0.0
