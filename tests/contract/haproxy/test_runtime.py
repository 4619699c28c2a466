"""The same commands on HAProxy in memory and on the real one, through the real client: same answers, same states."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy_process import haproxy
from shuren.clients.fakes.haproxy import FakeHAProxy
from shuren.clients.haproxy.master import Master
from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.domain.errors import Conflict, Invalid
from shuren.domain.haproxy.converge import BackendPlan, Gap, ObservedServer, converge
from shuren.domain.haproxy.document import MapEntry
from shuren.domain.haproxy.servers import Admin, Server
from shuren.domain.haproxy.traffic import RowType

B = "shop.web:http"
CONFIGURATION = """\
global
  default-path config
  stats socket {directory}/api.sock mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend f
  bind unix@{directory}/front.sock
  http-request set-var(txn.key) req.hdr(host),map_beg(hosts.map)
  use_backend %[var(txn.key)] if {{ var(txn.key) -m found }}
backend shop.web:http
  balance roundrobin
  cookie S insert indirect nocache dynamic
  dynamic-cookie-key k
  server fixed 127.0.0.1:9 id 9 weight 100
  server out 127.0.0.1:9 id 10 weight 100 check inter 600s disabled
backend other
"""


@pytest.fixture(params=["fake", "real"])
async def directory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Path]:
    (tmp_path / "hosts.map").write_text("a.example/ shop.web:http\n")
    if request.param == "real":
        with haproxy(tmp_path, CONFIGURATION.format(directory=tmp_path)):
            yield tmp_path
        return
    file = tmp_path / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(directory=tmp_path))
    fake = FakeHAProxy(directory=tmp_path, configuration=file, refuses=lambda text: "bad" if "backend !" in text else "")
    await fake.start()
    yield tmp_path
    await fake.stop()


@pytest.fixture
def api(directory: Path) -> RuntimeApi:
    return RuntimeApi(directory / "api.sock")


@pytest.fixture
def master(directory: Path) -> Master:
    return Master(directory / "master.sock")


def _state(server: ObservedServer) -> tuple[object, ...]:
    return (
        server.id,
        server.address,
        server.port,
        server.operation,
        server.admin,
        server.weight,
        server.check_state & 0xE,
        server.judged,
        server.check_port,
    )


async def _states(api: RuntimeApi) -> dict[str, tuple[object, ...]]:
    return {s.name: _state(s) for s in await api.servers() if s.backend == B}


async def test_servers_of_the_configuration(api: RuntimeApi) -> None:
    assert await _states(api) == {
        "fixed": (9, "127.0.0.1", 9, 2, 0, 100, 0, False, 0),
        "out": (10, "127.0.0.1", 9, 0, 5, 100, 14, False, 0),
    }
    assert {B, "other"} <= await api.backends()
    assert {s.name for s in await api.servers(["other", "nowhere", B])} == {"fixed", "out"}
    assert await api.servers(["nowhere"]) == ()


ADDED = f"add server {B}/a 127.0.0.1:9 id 1 weight 100 check inter 600s"
STEPS: dict[str, tuple[list[str], tuple[object, ...]]] = {
    "added": ([ADDED], (1, "127.0.0.1", 9, 0, 1, 100, 2, False, 0)),
    "with checks on": ([ADDED, f"enable health {B}/a"], (1, "127.0.0.1", 9, 0, 1, 100, 6, False, 0)),
    "ready is up at once": ([ADDED, f"enable health {B}/a", f"set server {B}/a state ready"], (1, "127.0.0.1", 9, 2, 0, 100, 6, False, 0)),
    "down until checked": (
        [ADDED, f"enable health {B}/a", f"set server {B}/a state drain", f"set server {B}/a health down", f"set server {B}/a state ready"],
        (1, "127.0.0.1", 9, 0, 0, 100, 6, False, 0),
    ),
    "drained": ([ADDED, f"set server {B}/a state ready", f"set server {B}/a state drain"], (1, "127.0.0.1", 9, 2, 8, 100, 2, False, 0)),
    "drained from the start": ([ADDED, f"set server {B}/a state drain"], (1, "127.0.0.1", 9, 2, 8, 100, 2, False, 0)),
    "out": ([ADDED, f"set server {B}/a state ready", f"set server {B}/a state maint"], (1, "127.0.0.1", 9, 0, 1, 100, 2, False, 0)),
    "out and back": (
        [ADDED, f"set server {B}/a state ready", f"set server {B}/a state maint", f"set server {B}/a state ready"],
        (1, "127.0.0.1", 9, 2, 0, 100, 2, False, 0),
    ),
    "moved": ([ADDED, f"set server {B}/a addr 127.0.0.2 port 10"], (1, "127.0.0.2", 10, 0, 1, 100, 2, False, 0)),
    "checked elsewhere": (
        [f"{ADDED} port 7", f"enable health {B}/a", f"set server {B}/a check-port 8"],
        (1, "127.0.0.1", 9, 0, 1, 100, 6, False, 8),
    ),
    "another port for checks that are off is not taken": (
        [f"{ADDED} port 7", f"set server {B}/a check-port 8"],
        (1, "127.0.0.1", 9, 0, 1, 100, 2, False, 7),
    ),
    "weighed": ([ADDED, f"set server {B}/a weight 256"], (1, "127.0.0.1", 9, 0, 1, 256, 2, False, 0)),
}


@pytest.mark.parametrize(("commands", "state"), STEPS.values(), ids=STEPS.keys())
async def test_states(api: RuntimeApi, commands: list[str], state: tuple[object, ...]) -> None:
    assert await api.execute(commands) == ()
    assert (await _states(api))["a"] == state


async def test_what_is_refused_is_told_and_the_rest_goes_through(api: RuntimeApi) -> None:
    refused = await api.execute(
        [ADDED, ADDED, f"del server {B}/fixed", f"set server {B}/nobody state ready", "del server nowhere/x", f"set server {B}/a weight 7"]
    )
    assert len(refused) == 4
    assert (await _states(api))["a"][5] == 7


async def test_many_lines_are_carried_out_in_order_and_what_each_refuses_is_told(api: RuntimeApi) -> None:
    commands = [f"set server {B}/{'nobody' if n % 100 == 50 else 'fixed'} weight {n % 257}" for n in range(2000)]
    assert len(await api.execute(commands)) == 20
    assert (await _states(api))["fixed"][5] == 1999 % 257


async def test_an_id_is_given_once(api: RuntimeApi) -> None:
    assert len(await api.execute([ADDED, ADDED.replace("/a ", "/b ")])) == 1
    assert "b" not in await _states(api)


async def test_a_cookie_of_its_own_is_refused(api: RuntimeApi) -> None:
    """True before 3.0. The fake stays with that: nothing here relies on more."""
    assert len(await api.execute([f"{ADDED} cookie x"])) == 1


async def test_deletion_needs_maintenance(api: RuntimeApi) -> None:
    assert await api.execute([f"set server {B}/fixed state maint", f"del server {B}/fixed", f"del server {B}/out"]) == ()
    assert await _states(api) == {}


async def test_a_whole_plan_and_nothing_left_to_do(api: RuntimeApi) -> None:
    servers = tuple(
        Server(name=f"s{n:03}", address="127.0.0.1", port=9, admin=list(Admin)[n % 3], weight=(n * 7) % 257) for n in range(300)
    )
    plan = BackendPlan(name=B, servers=servers, options=("check", "inter", "600s"), checked=True, sticky=True)
    gap = converge(plan, [s for s in await api.servers() if s.backend == B])
    assert await api.execute(gap.commands) == ()
    assert converge(plan, [s for s in await api.servers() if s.backend == B]) == Gap()


async def test_statistics(api: RuntimeApi) -> None:
    rows = await api.statistics()
    assert {(r.type, r.name) for r in rows if r.proxy == B} == {
        (RowType.SERVER, "fixed"),
        (RowType.SERVER, "out"),
        (RowType.BACKEND, "BACKEND"),
    }
    assert all(r.sessions == 0 for r in rows)
    assert {(r.type, r.proxy) for r in await api.statistics([B, "other"])} == {(RowType.SERVER, B)}
    assert int((await api.info())["Pid"]) > 1


async def test_maps_are_replaced_as_a_whole(api: RuntimeApi) -> None:
    entries = [MapEntry(f"{n:05}.example/a/path/that/is/long/", "other") for n in range(1500)]
    await api.replace_map("hosts.map", entries)
    assert await api.map_entries("hosts.map") == set(entries)
    await api.replace_map("hosts.map", [])
    assert await api.map_entries("hosts.map") == set()
    with pytest.raises(Conflict):
        await api.replace_map("nothing.map", [])


async def test_a_reload_brings_a_new_worker(directory: Path, api: RuntimeApi, master: Master) -> None:
    before = await master.processes()
    await api.execute([ADDED])
    after = await master.reload()
    assert len(after.workers) == 1
    assert set(after.workers).isdisjoint(before.workers)
    assert "a" not in await _states(api)
    assert {r.name for r in await master.worker_statistics(after.workers[0]) if r.type is RowType.SERVER} == {"fixed", "out"}
    assert {r.name for r in await master.worker_statistics(after.workers[0], [B, "other"])} == {"fixed", "out"}


async def test_a_configuration_that_cannot_be_loaded_changes_nothing(directory: Path, api: RuntimeApi, master: Master) -> None:
    before = await master.processes()
    file = directory / "haproxy.cfg"
    good = file.read_text()
    file.write_text(good + "backend !\n")
    with pytest.raises(Invalid):
        await master.reload()
    assert (await master.processes()).workers == before.workers
    assert "fixed" in await _states(api)
    file.write_text(good)
    assert (await master.reload()).failed == 0
