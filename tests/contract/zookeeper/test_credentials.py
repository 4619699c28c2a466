"""Passwords and certificates on a real server: who may read, what a change of password hands over, and what TLS proves."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from engine_process import free_port
from shuren.clients.zookeeper.client import Digest, ZooKeeperClient
from shuren.clients.zookeeper.tls import Tls
from shuren.devenv.keypairs import KeyPair
from shuren.devenv.pki import Authority
from shuren.domain.errors import Denied, Unreachable
from shuren.ports.zookeeper import Create, Node, SetData
from zookeeper_process import JAR, sasl_server, zookeeper_server

pytestmark = pytest.mark.contract

OLD, NEW = (Digest(username="shuren", password=word) for word in ("old", "new"))


@asynccontextmanager
async def session(hosts: str, digest: Digest | None = None, tls: Tls | None = None) -> AsyncIterator[ZooKeeperClient]:
    client = ZooKeeperClient(hosts, session_timeout=4.0, digest=digest, tls=tls)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def test_a_new_password_takes_over_what_the_old_one_alone_could_touch(server: str) -> None:
    parent = f"/test-{uuid.uuid4().hex[:8]}"
    root = f"{parent}/bj1"
    async with session(server) as stranger, session(server, OLD) as before:
        await before.ensure_path(f"{root}/owners")
        await before.commit([Create(path=f"{root}/owners/{n:02x}", data=b"x") for n in range(20)])
        await before.admit(NEW, root)
        await before.commit([Create(path=f"{root}/owners/later")])
        async with session(server, NEW) as after:
            assert await after.get(f"{root}/owners/13") == Node(data=b"x", version=0)
            await after.commit(
                [SetData(path=f"{root}/owners/00", data=b"y", version=0), Create(path=f"{root}/next"), Create(path=f"{parent}/bj2")]
            )
            assert await after.children(f"{root}/owners") == tuple(sorted(["later", *(f"{n:02x}" for n in range(20))]))
            assert await after.get(f"{root}/owners/later") == Node(data=b"", version=0)
        assert await before.get(f"{root}/owners/00") == Node(data=b"y", version=1), "the session that handed over has both"
        await before.admit(NEW, root)  # again does no harm
        async with session(server, OLD) as outdated:
            with pytest.raises(Denied):
                await outdated.get(f"{root}/owners/00")
        with pytest.raises(Denied):
            await stranger.get(f"{root}/owners/00")


async def test_what_is_open_to_all_is_left_so(server: str) -> None:
    root = f"/test-{uuid.uuid4().hex[:8]}"
    async with session(server) as anybody, session(server, OLD) as ours:
        await anybody.commit([Create(path=root, data=b"open")])
        await ours.commit([Create(path=f"{root}/closed")])
        await ours.admit(NEW, root)
        assert await anybody.get(root) == Node(data=b"open", version=0)
        with pytest.raises(Denied):
            await anybody.get(f"{root}/closed")


async def test_why_nobody_answers_is_told() -> None:
    client = ZooKeeperClient("127.0.0.1:9", request_timeout=3.0)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9: .*refused"):
        await client.connect(within=1.0)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9: .*refused"):
        await client.get("/a")
    await client.close()


# ---------------------------------------------------------------------------------------------------- TLS


class Secured:
    """A server that takes TLS only with a certificate of the authority's, and who that is."""

    def __init__(self, hosts: str, authority: Authority, client: KeyPair) -> None:
        self.hosts = hosts
        self.authority = authority
        self.client = client

    def tls(self, *, certificate: bool = True, server_name: str = "localhost", trusted: Path | None = None) -> Tls:
        context = ssl.create_default_context(cafile=str(trusted or self.authority.ca.certificate))
        if certificate:
            context.load_cert_chain(self.client.certificate, self.client.key)
        return Tls(context=context, server_name=server_name)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority(directory / "pki")
    pair = authority.server("zookeeper", common_name="zookeeper", addresses=())
    keystore = directory / "keystore.pem"
    with keystore.open("wb") as whole:
        for part in (pair.key, pair.certificate):
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)
    truststore = directory / "truststore.pem"
    shutil.copyfile(authority.ca.certificate, truststore)
    port = free_port()
    more = (
        f"secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\nserverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n"
        f"ssl.keyStore.location={keystore}\nssl.trustStore.location={truststore}\nssl.clientAuth=need\nssl.hostnameVerification=false\n"
    )
    with zookeeper_server(directory, more=more):
        yield Secured(f"127.0.0.1:{port}", authority, authority.client("operator", user="shuren"))


async def test_a_session_under_tls_works_as_any_other(secured: Secured) -> None:
    async with session(secured.hosts, tls=secured.tls()) as client:
        await client.commit([Create(path="/tls", data=b"x" * 100_000)])
        assert await client.get("/tls") == Node(data=b"x" * 100_000, version=0)
        assert (await client.version()).startswith("3.")
        woken = asyncio.Event()
        client.watch("/tls", woken.set)
        async with session(secured.hosts, tls=secured.tls()) as other:
            async with asyncio.timeout(30):
                while not woken.is_set():  # until the watch is left
                    await other.commit([SetData(path="/tls", data=b"", version=-1)])
                    await asyncio.sleep(0.05)


async def test_an_authority_that_is_not_trusted_is_told(secured: Secured, tmp_path: Path) -> None:
    client = ZooKeeperClient(secured.hosts, tls=secured.tls(trusted=Authority(tmp_path / "other").ca.certificate))
    with pytest.raises(Unreachable, match="certificate verify failed"):
        await client.connect(within=3.0)
    await client.close()


# ---------------------------------------------------------------------------------------------------- SASL


WORD = 'geheim, "so" \\ü'


def sasl(username: str = "shuren", password: str = WORD) -> Digest:
    return Digest(username=username, password=password, sasl=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that takes logins by SASL, and nobody without one."""
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    users = {user.username: user.password for user in (sasl(), sasl("other", "plain"))}
    with sasl_server(tmp_path_factory.mktemp("guarded"), users) as hosts:
        yield hosts


async def test_a_login_by_sasl_opens_what_is_ours_to_that_name_alone(guarded: str) -> None:
    async with session(guarded, sasl()) as ours, session(guarded, sasl("other", "plain")) as theirs:
        await ours.ensure_path("/shuren/bj1")
        await ours.commit([Create(path="/shuren/bj1/meta", data=b"x")])
        with pytest.raises(Denied):
            await theirs.get("/shuren/bj1/meta")
        with pytest.raises(Denied):
            await theirs.commit([SetData(path="/shuren/bj1/meta", data=b"y", version=-1)])
    async with session(guarded, sasl()) as again:
        assert await again.get("/shuren/bj1/meta") == Node(data=b"x", version=0)
        # another password of the same name needs nothing of what lies there; another name does
        await again.admit(sasl(), "/shuren/bj1")
        with pytest.raises(Denied, match="stays who it is"):
            await again.admit(sasl("other", "plain"), "/shuren/bj1")


@pytest.mark.parametrize("wrong", [sasl(password="wrong"), sasl("nobody", "nothing")], ids=lambda digest: digest.username)
async def test_a_login_that_is_refused_is_told_and_tried_again(guarded: str, wrong: Digest) -> None:
    client = ZooKeeperClient(guarded, digest=wrong, request_timeout=3.0)
    with suppress(Unreachable):  # kazoo tells of a session before the login
        await client.connect(within=1.0)
    with pytest.raises(Unreachable, match=f"login of {wrong.username} by SASL failed: the server refuses it"):
        await client.get("/shuren")
    if wrong.username == sasl().username:
        await client.admit(sasl(), "/shuren")
        async with asyncio.timeout(30):
            while await _away(client):
                await asyncio.sleep(0.05)
    await client.close()


async def _away(client: ZooKeeperClient) -> bool:
    try:
        await client.children("/")
    except Unreachable:
        return True
    return False
