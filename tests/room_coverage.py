"""Coverage thresholds per room, checked inside pytest so that pytest's own closing line stays the last one.

`--cov-room domain=95` (may be repeated) fails the run when `shuren.domain` is covered less; it needs pytest-cov to have measured.
"""

from __future__ import annotations

import io

import coverage
import pytest


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
