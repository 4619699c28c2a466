"""What happens to sessions and watches when servers and sessions go: the same on the one in memory and on a real server."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest
from kazoo.client import KazooClient

from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.client import Digest, ZooKeeperClient
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.domain.errors import Denied, Fenced, UnknownOutcome, Unreachable
from shuren.ports.zookeeper import Create, Node, Session, SetData, ZooKeeper
from zookeeper_process import JAR, zookeeper_server

pytestmark = pytest.mark.contract

_PATIENCE = 30.0


class Part(Protocol):
    """An ensemble whose servers and sessions a test can take away."""

    client: ZooKeeper

    async def stop(self) -> None: ...

    async def go_on(self) -> None: ...

    async def expire(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.fake = FakeZooKeeper(ZooTree())
        self.client: ZooKeeper = self.fake

    async def stop(self) -> None:
        self.fake.disconnect()

    async def go_on(self) -> None:
        self.fake.reconnect()

    async def expire(self) -> None:
        self.fake.expire()
        self.fake.reconnect()


class OnServer:
    def __init__(self, hosts: str, process: subprocess.Popen[bytes]) -> None:
        self.hosts = hosts
        self.process = process
        self.real = ZooKeeperClient(hosts, session_timeout=4.0, request_timeout=10.0)
        self.client: ZooKeeper = self.real

    async def stop(self) -> None:
        """Stopped, not ended: connections hang, and after two thirds of the session time the client gives up on them."""
        self.process.send_signal(signal.SIGSTOP)

    async def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def expire(self) -> None:
        """Another connection takes the session over and ends it."""
        thief = KazooClient(self.hosts, client_id=self.real._kazoo.client_id)
        await asyncio.to_thread(thief.start)
        await asyncio.to_thread(thief.stop)
        await asyncio.to_thread(thief.close)


@pytest.fixture(params=["fake", "real"])
async def part(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Part]:
    if request.param == "fake":
        yield InMemory()
        return
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    with zookeeper_server(tmp_path) as (hosts, process):
        made = OnServer(hosts, process)
        await made.real.connect()
        try:
            yield made
        finally:
            process.send_signal(signal.SIGCONT)
            await made.real.close()


def sessions(client: ZooKeeper) -> tuple[list[Session], Callable[[Session], asyncio.Event]]:
    """All states heard of, and an event for the next of a kind."""
    heard: list[Session] = []
    wanted: dict[Session, asyncio.Event] = {}

    def listen(session: Session) -> None:
        heard.append(session)
        if session in wanted:
            wanted[session].set()

    client.on_session(listen)

    def event(session: Session) -> asyncio.Event:
        wanted[session] = asyncio.Event()
        if client.session is session:
            wanted[session].set()
        return wanted[session]

    return heard, event


async def test_while_no_server_answers_reads_fail_and_writes_are_not_kept_for_later(part: Part) -> None:
    client = part.client
    await client.commit([Create(path="/a", data=b"before")])
    heard, event = sessions(client)
    suspended = event(Session.SUSPENDED)
    await part.stop()
    await asyncio.wait_for(suspended.wait(), _PATIENCE)
    with pytest.raises(Unreachable):
        await client.commit([SetData(path="/a", data=b"late", version=-1)])
    connected = event(Session.CONNECTED)
    await part.go_on()
    await asyncio.wait_for(connected.wait(), _PATIENCE)
    assert await client.get("/a") == Node(data=b"before", version=0)
    assert heard[0] is Session.SUSPENDED
    assert heard[-1] is Session.CONNECTED


async def test_an_expired_session_loses_its_ephemeral_nodes_and_wakes_every_watch(part: Part) -> None:
    client = part.client
    await client.commit([Create(path="/live", ephemeral=True), Create(path="/stays")])
    woken = asyncio.Event()
    client.watch("/stays", woken.set)
    heard, _ = sessions(client)
    await part.expire()
    await asyncio.wait_for(woken.wait(), _PATIENCE)
    async with asyncio.timeout(_PATIENCE):
        while client.session is not Session.CONNECTED or await client.get("/live") is not None:
            await asyncio.sleep(0.05)
    assert Session.LOST in heard
    woken.clear()
    await client.commit([SetData(path="/stays", data=b"again", version=-1)])
    await asyncio.wait_for(woken.wait(), _PATIENCE)


async def test_a_lost_answer_is_an_unknown_outcome_that_a_read_resolves(tmp_path: Path) -> None:
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    observed: list[tuple[str, str, str]] = []

    def observe(target: str, verb: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        observed.append((target, verb, code))

    with zookeeper_server(tmp_path) as (hosts, process):
        client = ZooKeeperClient(hosts, session_timeout=4.0, request_timeout=0.3, observe=observe)
        await client.connect()
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(UnknownOutcome):
            await client.commit([Create(path="/a", data=b"mine")])
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(_PATIENCE):
            found = None
            while found is None:
                with suppress(Unreachable):
                    found = await client.get("/a")
        assert found == Node(data=b"mine", version=0)
        assert observed[0] == ("zookeeper", "WRITE", "error"), "as metrics count it"
        assert observed[-1] == ("zookeeper", "READ", "ok")
        await client.close()


async def test_a_leader_whose_session_expired_still_writes_until_somebody_else_has_taken_over(part: Part) -> None:
    root = FencedRoot(part.client, "/root")
    await root.take_over(holder="one", installation="i")
    await part.expire()
    async with asyncio.timeout(_PATIENCE):
        while True:
            with suppress(Unreachable, UnknownOutcome):
                await root.commit([Create(path="/x")])
                break
            await asyncio.sleep(0.05)
    rival = FencedRoot(part.client, "/root")
    await rival.take_over(holder="two", installation="i")
    with pytest.raises(Fenced):
        await root.commit([Create(path="/y")])


async def test_watches_that_are_left_again_do_not_pile_up(tmp_path: Path) -> None:
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    with zookeeper_server(tmp_path) as (hosts, _):
        client = ZooKeeperClient(hosts)
        await client.connect()
        await client.commit([Create(path="/a")])
        woken = asyncio.Event()
        end = client.watch("/a", woken.set)
        for _ in range(20):
            while client._tasks:
                await asyncio.gather(*client._tasks)
            woken.clear()
            await client.commit([SetData(path="/a", data=b"", version=-1)])
            await asyncio.wait_for(woken.wait(), _PATIENCE)
        assert sum(len(watchers) for watchers in client._kazoo._child_watchers.values()) <= 1
        end()
        assert not client._callbacks
        await client.close()


async def test_nodes_made_with_a_password_are_closed_to_others(tmp_path: Path) -> None:
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    with zookeeper_server(tmp_path) as (hosts, _):
        owner = ZooKeeperClient(hosts, digest=Digest(username="shuren", password="secret"))
        stranger = ZooKeeperClient(hosts)
        await owner.connect()
        await stranger.connect()
        await owner.commit([Create(path="/a", data=b"mine")])
        with pytest.raises(Denied):
            await stranger.get("/a")
        with pytest.raises(Denied):
            await stranger.commit([SetData(path="/a", data=b"theirs", version=-1)])
        assert await owner.get("/a") == Node(data=b"mine", version=0)
        await owner.close()
        await stranger.close()


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    client = ZooKeeperClient("127.0.0.1:9")
    with pytest.raises(Unreachable):
        await client.connect(within=0.5)
    with pytest.raises(Unreachable):
        await client.commit([Create(path="/a")])
    await client.close()
