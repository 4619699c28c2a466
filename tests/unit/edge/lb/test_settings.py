from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shuren.domain.errors import Invalid
from shuren.edge.lb.disk import StateDirectory
from shuren.edge.lb.settings import Settings


def settings(**given: Any) -> Settings:
    return Settings(**{"id": "lb1", "group": "edge", "root": "/shuren/bj1", "state_dir": Path("/var/lib/shuren-lb"), **given})


@pytest.mark.parametrize("address", ["*", "10.0.0.1", "2001:db8::1"])
def test_an_address_of_its_own(address: str) -> None:
    settings(bind_address=address).check()


def test_sockets_fit_into_what_haproxy_takes() -> None:
    """HAProxy 2.6: `socket path … too long (max 97)`."""
    longest = Path("/" + "x" * (97 - len("//master.sock")))
    settings(state_dir=longest).check()
    with pytest.raises(Invalid, match="too long for the sockets in it: at most 85 bytes"):
        settings(state_dir=Path(f"{longest}x")).check()


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"bind_address": "web.example"}, "--bind-address"),
        ({"root": "shuren"}, "--root"),
        ({"root": "/shuren/"}, "--root"),
        ({"root": "/shuren//bj1"}, "--root"),
        ({"group": "a/b"}, "--group"),
        ({"group": ""}, "--group"),
        ({"id": "../meta"}, "--id"),
        ({"certificate_dir": Path("/nonexistent")}, "--certificates"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_with_its_option(wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        settings(**wrong).check()
    assert [error.path for error in caught.value.errors] == [path]


def test_a_state_directory_that_cannot_be_made_is_one_sentence() -> None:
    with pytest.raises(Invalid, match="/proc/none/lb cannot be made or written: ") as caught:
        StateDirectory(Path("/proc/none/lb")).prepare()
    assert [error.path for error in caught.value.errors] == ["--state-dir"]
