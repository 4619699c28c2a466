"""Settings from the environment: defaults, every variable, and words for each that is wrong."""

from __future__ import annotations

import pytest

from shuren.domain.errors import Invalid
from shuren.operator.settings import EventSourceKind, LogFormat, Settings, from_environment


def test_an_empty_environment_gives_the_defaults_and_a_name_of_this_process() -> None:
    found = from_environment({})
    assert found.identity
    assert found == Settings(identity=found.identity)
    assert from_environment({"SHUREN_METRICS_PORT": "", "SHUREN_NAMESPACE": "", "SHUREN_LOG_LEVEL": "", "SHUREN_LOG_FORMAT": ""}) == found


def test_every_variable_is_read() -> None:
    found = from_environment(
        {
            "SHUREN_NAMESPACE": "paas",
            "SHUREN_IDENTITY": "pod-1",
            "SHUREN_INSTALLATION": " prod ",
            "SHUREN_NAMESPACES": "a, b,,c ",
            "SHUREN_METRICS_PORT": "0",
            "SHUREN_METRICS_ADDRESS": "127.0.0.1",
            "SHUREN_LOG_FORMAT": "json",
            "SHUREN_LOG_LEVEL": "debug",
            "SHUREN_WORKERS": "8",
            "SHUREN_EVENT_SOURCE": "native",
            "SHUREN_RESYNC_SECONDS": "30.5",
            "SHUREN_SHUTDOWN_SECONDS": "0",
        }
    )
    assert found == Settings(
        namespace="paas",
        identity="pod-1",
        installation="prod",
        namespaces=("a", "b", "c"),
        metrics_port=0,
        metrics_address="127.0.0.1",
        log_format=LogFormat.JSON,
        log_level="DEBUG",
        workers=8,
        event_source=EventSourceKind.NATIVE,
        resync_seconds=30.5,
        shutdown_seconds=0.0,
    )


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SHUREN_METRICS_PORT", "http", "a whole number from 0 to 65535"),
        ("SHUREN_METRICS_PORT", "80.5", "a whole number from 0 to 65535"),
        ("SHUREN_METRICS_PORT", "-1", "a whole number from 0 to 65535"),
        ("SHUREN_METRICS_PORT", "65536", "a whole number from 0 to 65535"),
        ("SHUREN_METRICS_PORT", "nan", "a whole number from 0 to 65535"),
        ("SHUREN_WORKERS", "0", "a whole number from 1 to 10000"),
        ("SHUREN_WORKERS", "inf", "a whole number from 1 to 10000"),
        ("SHUREN_WORKERS", "9" * 5000, "a whole number from 1 to 10000"),
        ("SHUREN_RESYNC_SECONDS", "soon", "must be a number"),
        ("SHUREN_RESYNC_SECONDS", "0.5", "must be at least 1"),
        ("SHUREN_RESYNC_SECONDS", "nan", "must be at least 1"),
        ("SHUREN_SHUTDOWN_SECONDS", "inf", "must be at least 0"),
        ("SHUREN_LOG_LEVEL", "LOUD", "must be one of DEBUG, INFO, WARNING, ERROR"),
        ("SHUREN_LOG_FORMAT", "xml", "must be one of json, console"),
        ("SHUREN_EVENT_SOURCE", "magic", "must be one of kopf, native"),
    ],
)
def test_what_is_wrong_is_named_with_what_it_may_be(name: str, value: str, why: str) -> None:
    with pytest.raises(Invalid) as wrong:
        from_environment({name: value})
    assert str(wrong.value).startswith(f"{name} ")
    assert why in str(wrong.value)
    assert [error.path for error in wrong.value.errors] == [name]
