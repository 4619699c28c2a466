"""Real HAProxy, real ZooKeeper, real connections: what is planned costs no request."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from haproxy_room import WEB, http, route, service, tcp
from lb_process import Backend, Client, Site, load, site, until
from shuren.domain.service.values import EndpointState
from zookeeper_process import zookeeper_server

pytestmark = pytest.mark.usefixtures("unmeasured_programs")

B = "shop.web:http"
HOST = "web.example"
QUICK = {"intervalMs": 200, "fastIntervalMs": 50, "downIntervalMs": 50}
DRAINING = EndpointState.DRAINING


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with zookeeper_server(tmp_path_factory.mktemp("zk")) as started:
        yield started


@pytest.fixture
async def here(tmp_path: Path, server: tuple[str, subprocess.Popen[bytes]]) -> AsyncIterator[Site]:
    async with site(tmp_path / "lb", server[0]) as made:
        yield made


async def _serve(here: Site, *backends: Backend) -> int:
    port = here.balancer.port
    wanted = await here.publish.route(route("web", http(HOST, port=port), healthCheck=QUICK))
    generation = await here.publish.endpoints(WEB, *(b.endpoint() for b in backends))
    await here.acknowledged(WEB, lambda a: a.up == len(backends), endpoints=generation, route=wanted)
    return port


async def test_endpoints_come_and_go_under_load(here: Site) -> None:
    """A rolling replacement of every endpoint, five times: new ones must be up, old ones drained everywhere, before they are killed."""
    backends = [await here.backend(f"task-0-{n}") for n in range(3)]
    port = await _serve(here, *backends)
    master = await here.balancer.master.processes()
    async with load(port, HOST) as tally:
        for turn in range(1, 6):
            fresh = [await here.backend(f"task-{turn}-{n}") for n in range(3)]
            generation = await here.publish.endpoints(WEB, *(b.endpoint() for b in (*backends, *fresh)))
            await here.acknowledged(WEB, lambda a: a.up == 6, endpoints=generation)
            generation = await here.publish.endpoints(WEB, *(b.endpoint(DRAINING) for b in backends), *(b.endpoint() for b in fresh))
            await here.drained(WEB, generation)
            for old in backends:
                await old.kill()
            generation = await here.publish.endpoints(WEB, *(b.endpoint() for b in fresh))
            await here.acknowledged(WEB, endpoints=generation)
            backends = fresh
    assert tally.failed == []
    assert tally.good > 500
    assert (await here.balancer.master.processes()).reloads == master.reloads
    assert all(b.served for b in here.backends)
    await until_deleted(here, {b.name for b in backends})


async def until_deleted(here: Site, kept: set[str]) -> None:
    for _ in range(600):
        if set(await here.balancer.servers(B)) == kept:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(await here.balancer.servers(B))


async def test_reloads_cost_no_request(here: Site) -> None:
    backends = [await here.backend(f"task-{n}") for n in range(2)]
    port = await _serve(here, *backends)
    async with load(port, HOST) as tally:
        for number in range(3):
            wanted = await here.publish.route(route(f"more{number}", http(f"more{number}.example", port=port), age=2 + number))
            await here.acknowledged(service(f"more{number}"), route=wanted)
        last = await here.acknowledged(WEB, lambda a: a.up == 2)
    assert tally.failed == []
    assert tally.good > 100
    assert last.reloads >= 3
    assert "more2" in last.last_reload


async def test_a_drain_waits_for_workers_of_before_a_reload(here: Site) -> None:
    """A long answer on the old worker still counts as a session of its endpoint."""
    slow, other = await here.backend("slow"), await here.backend("other")
    port = await _serve(here, slow)
    client = Client(port, HOST)
    asking = asyncio.create_task(client.request("/slow-enough"))
    wanted = await here.publish.route(route("more", http("more.example", port=port), age=2))
    await here.acknowledged(service("more"), route=wanted)
    generation = await here.publish.endpoints(WEB, slow.endpoint(DRAINING), other.endpoint())
    await here.drained(WEB, generation)
    assert asking.done()
    assert (await asking)[0] == 200
    client.close()


async def test_the_agent_killed_costs_no_request_and_it_takes_up_where_it_was(here: Site) -> None:
    backends = [await here.backend(f"task-{n}") for n in range(2)]
    port = await _serve(here, *backends)
    pid = await here.balancer.haproxy_pid()
    async with load(port, HOST) as tally:
        here.balancer.kill()
        third = await here.backend("task-2")
        generation = await here.publish.endpoints(WEB, *(b.endpoint() for b in (*backends, third)))
        here.balancer.start()
        await here.acknowledged(WEB, lambda a: a.up == 3, endpoints=generation)
    assert tally.failed == []
    assert await here.balancer.haproxy_pid() == pid
    assert (await here.balancer.master.processes()).reloads == 0
    assert third.served


async def test_a_killed_haproxy_is_back_with_everything(here: Site) -> None:
    """Its end is heard at once, and the new one begins with servers, weights and drains as they were."""
    backends = [await here.backend(f"task-{n}") for n in range(2)]
    port = await _serve(here, *backends)
    drained = await here.publish.endpoints(WEB, backends[0].endpoint(weight=7), backends[1].endpoint(DRAINING))
    await here.drained(WEB, drained)
    pid = await here.balancer.haproxy_pid()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: "HAProxy started" in here.balancer.agent_log.split("HAProxy has ended", 1)[-1], what="a new HAProxy")
    client = Client(port, HOST)
    answers = []
    for _ in range(600):
        try:
            answers.append((await client.request())[2])
            break
        except (OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.05)
    client.close()
    assert answers == [b"task-0 / 0"]
    assert await here.balancer.haproxy_pid() != pid
    third = await here.backend("task-2")
    generation = await here.publish.endpoints(WEB, third.endpoint())
    await here.acknowledged(WEB, lambda a: a.up == 1, endpoints=generation)
    servers = await here.balancer.servers(B)
    assert servers["task-2"].serves


async def test_zookeeper_away_costs_no_request(here: Site, server: tuple[str, subprocess.Popen[bytes]]) -> None:
    """Stopped and continued; meanwhile the agent is restarted as well, and serves what was last good."""
    backends = [await here.backend(f"task-{n}") for n in range(2)]
    port = await _serve(here, *backends)
    await until(lambda: '"endpoints"' in _last(here) and "task-1" in _last(here), what="state on disk")
    _, process = server
    async with load(port, HOST) as tally:
        process.send_signal(signal.SIGSTOP)
        here.balancer.kill()
        await here.balancer.api.execute([f"set server {B}/task-0 state maint"])
        here.balancer.start()
        # nobody but an agent that knows better puts this right
        for _ in range(600):
            if (await here.balancer.servers(B))["task-0"].serves:
                break
            await asyncio.sleep(0.05)
        assert (await here.balancer.servers(B))["task-0"].serves
        process.send_signal(signal.SIGCONT)
        third = await here.backend("task-2")
        await until_published(here, third, *backends)
    assert tally.failed == []
    assert third.served


async def until_published(here: Site, *backends: Backend) -> None:
    """The operator's own session may have been lost as well."""
    for _ in range(100):
        try:
            generation = await here.publish.endpoints(WEB, *(b.endpoint() for b in backends))
            break
        except Exception:  # noqa: BLE001 - whatever the client says while it finds its server again
            await asyncio.sleep(0.2)
    await here.acknowledged(WEB, lambda a: a.up == len(backends), endpoints=generation)


def _last(here: Site) -> str:
    path = here.balancer.directory / "last.json"
    return path.read_text() if path.exists() else ""


async def test_a_bad_route_and_a_taken_port_hurt_nobody_else(here: Site) -> None:
    backends = [await here.backend("task-0")]
    port = await _serve(here, *backends)
    taken = await here.backend("in the way")
    async with load(port, HOST, clients=4) as tally:
        wrong = [{"name": "x", "match": "Regex", "value": "(((("}]
        await here.publish.route(route("bad", http("bad.example", port=port, headers=wrong), age=2))
        await here.publish.route(route("db", tcp(taken.port, addresses=["127.0.0.1"]), age=3))
        refused = await here.acknowledged(service("bad"), lambda a: bool(a.problem))
        assert "HAProxy refuses it" in refused.problem
        assert "missing closing parenthesis" in refused.problem
        in_use = await here.acknowledged(service("db"), lambda a: bool(a.problem))
        assert f"port {taken.port} is in use on this load balancer by another program" in in_use.problem
        wanted = await here.publish.route(route("bad", http("bad.example", port=port), age=2))
        assert (await here.acknowledged(service("bad"), route=wanted)).problem == ""
    assert tally.failed == []
    assert (await here.balancer.master.processes()).failed == 0
