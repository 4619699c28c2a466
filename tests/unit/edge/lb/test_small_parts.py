"""Ports, timers, names and the state directory."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from haproxy_room import WEB, composed, endpoint, endpoints, http, route
from shuren.domain.errors import Invalid
from shuren.domain.haproxy.document import CONFIG_FILE, write
from shuren.edge.lb.disk import LastGood, StateDirectory
from shuren.edge.lb.names import Names
from shuren.edge.lb.preflight import blocked
from shuren.edge.lb.settings import Settings
from shuren.edge.lb.timers import Timers


def test_ports_that_cannot_be_had_are_told_from_those_that_can() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "in use" in blocked([("127.0.0.1", port)], same_rights=True)["127.0.0.1", port]
    assert blocked([("127.0.0.1", port)], same_rights=True) == {}
    assert "no address of this load balancer" in blocked([("203.0.113.7", 80)], same_rights=True)["203.0.113.7", 80]


def test_timers_come_once_or_again_and_again() -> None:
    now = 0.0
    timers = Timers(lambda: now)
    timers.every("drift", 5)
    timers.within("write", 3)
    timers.within("write", 9)
    assert (timers.take(), timers.rest()) == (frozenset(), 3)
    now = 5
    assert timers.take() == {"drift", "write"}
    assert (timers.take(), timers.rest(), timers.is_set("write")) == (frozenset(), 5, False)
    assert timers.until("nothing") == 0


async def test_a_name_that_cannot_be_resolved_keeps_what_it_had() -> None:
    known = {"a.example": ("10.0.0.1",)}

    async def resolve(name: str) -> tuple[str, ...]:
        if name not in known:
            raise OSError("unknown")
        return known[name]

    names = Names(resolve=resolve)
    assert await names.refresh(["a.example", "b.example"]) == {"a.example", "b.example"}
    assert names.addresses == {"a.example": ("10.0.0.1",)}
    assert names.failed == {"b.example"}
    known.clear()
    assert await names.refresh(["a.example"]) == {"a.example", "b.example"}
    assert names.addresses == {"a.example": ("10.0.0.1",)}
    await names.refresh([])
    assert names.addresses == {}


def test_the_state_directory_switches_whole_configurations_and_remembers(tmp_path: Path) -> None:
    disk = StateDirectory(tmp_path / "state")
    disk.prepare()
    given = route("web", http("web.example"))
    first, second = (disk.candidate(write(composed(given).document, {})) for _ in range(2))
    assert disk.switch(first) is None
    assert disk.switch(second) == first
    disk.tidy([first])
    assert first.exists()
    disk.tidy([])
    assert (first.exists(), disk.configuration.read_text().startswith("global")) == (False, True)
    assert (second / CONFIG_FILE).exists()
    last = LastGood(routes={WEB: given}, endpoints={WEB: endpoints(endpoint("a"))}, structure="x")
    assert disk.load() == LastGood()
    disk.save(last)
    assert disk.load() == last
    (tmp_path / "state" / "last.json").write_text("{")
    assert disk.load() == LastGood()


@pytest.mark.parametrize(("field", "value"), [("root", "shuren"), ("root", "/shuren/"), ("state_dir", Path("/" + "x" * 100))])
def test_settings_that_cannot_work(field: str, value: object) -> None:
    good: dict[str, object] = {"id": "lb1", "group": "edge", "root": "/shuren/bj1", "state_dir": Path("/var/lib/shuren-lb")}
    Settings(**good).check()  # type: ignore[arg-type]
    with pytest.raises(Invalid):
        Settings(**{**good, field: value}).check()  # type: ignore[arg-type]
