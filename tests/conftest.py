"""Plumbing every test may use: real parts on demand, and the coverage that single rooms must reach."""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("room_coverage", "real_parts", "scheduling")  # in the order in which they import each other

# How long an example takes says something of the machine, which may be busy, and nothing of the product.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-golden", action="store_true", help="write tests/golden anew where a test keeps what it saw; read the difference"
    )
    parser.addoption("--marathon-url", help="run the Marathon contract tests against this server instead of the engine")
