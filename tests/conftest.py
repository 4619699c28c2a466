"""Plumbing every test may use: real parts on demand, and the coverage that single rooms must reach."""

import pytest

pytest_plugins = ("real_parts", "room_coverage")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--marathon-url", help="run the Marathon contract tests against this server instead of the engine")
