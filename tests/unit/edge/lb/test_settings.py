from __future__ import annotations

from pathlib import Path

import pytest

from shuren.domain.errors import Invalid
from shuren.edge.lb.settings import Settings


def settings(*, state_dir: Path = Path("/var/lib/shuren-lb"), bind_address: str = "*", root: str = "/shuren/bj1") -> Settings:
    return Settings(id="lb1", group="edge", root=root, state_dir=state_dir, bind_address=bind_address)


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
    [({"bind_address": "web.example"}, "--bind-address"), ({"root": "shuren"}, "--root"), ({"root": "/shuren/"}, "--root")],
    ids=str,
)
def test_what_cannot_work_is_refused_with_its_option(wrong: dict[str, str], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        settings(**wrong).check()  # type: ignore[arg-type]
    assert [error.path for error in caught.value.errors] == [path]
