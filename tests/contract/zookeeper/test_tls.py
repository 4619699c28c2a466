"""ZooKeeper behind TLS: whom the client trusts, which name it expects, and what it shows of itself."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.clients.zookeeper.tls import Tls, TlsFiles
from shuren.domain.errors import Unreachable
from shuren.ports.zookeeper import Create, Session
from tls_room import Certificates, forwarding, serving

_REFUSED = 1.0
"""Seconds for which a client may try that must not get in; those that must get in do so in less."""


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificates.ca.decode())


async def connects(host: str, port: int, tls: Tls | None, *, within: float = 10.0) -> bool:
    """Whether a session comes about, works, and carries data larger than a TLS record."""
    client = ZooKeeperClient(f"{host}:{port}", session_timeout=4.0, tls=tls)
    try:
        await client.connect(within=within)
        path = f"/tls-{port}"
        await client.commit([Create(path=path, data=b"x" * 300_000)])
        node = await client.get(path)
        assert node is not None
        assert len(node.data) == 300_000
        assert client.session is Session.CONNECTED
    except Unreachable:
        return False
    else:
        return True
    finally:
        await client.close()


async def test_a_server_with_a_certificate_of_the_given_authority_is_trusted(server: str, certificates: Certificates) -> None:
    async with serving(forwarding(int(server.split(":")[1])), certificates.server_context()) as port:
        assert await connects("localhost", port, Tls(context=trusting(certificates)))


async def test_an_unknown_authority_a_wrong_name_and_no_tls_at_all_are_refused(server: str, certificates: Certificates) -> None:
    async with serving(forwarding(int(server.split(":")[1])), certificates.server_context()) as port:
        assert not await connects("localhost", port, Tls(context=ssl.create_default_context()), within=_REFUSED)
        assert not await connects("localhost", port, Tls(context=trusting(certificates), server_name="zk.example.org"), within=_REFUSED)
        assert not await connects("localhost", port, None, within=_REFUSED)


async def test_the_expected_name_may_be_another_than_the_host(server: str, certificates: Certificates) -> None:
    async with serving(forwarding(int(server.split(":")[1])), certificates.server_context()) as port:
        assert await connects("127.0.0.1", port, Tls(context=trusting(certificates), server_name="kubernetes.default.svc"))


async def test_a_server_that_demands_a_certificate_gets_ours(server: str, certificates: Certificates) -> None:
    async with serving(forwarding(int(server.split(":")[1])), certificates.server_context(mutual=True)) as port:
        assert not await connects("localhost", port, Tls(context=trusting(certificates)), within=_REFUSED)
        context = trusting(certificates)
        context.load_cert_chain(certificates.client.certificate, certificates.client.key)
        assert await connects("localhost", port, Tls(context=context))


async def test_renewed_files_count_from_the_next_connection_on(server: str, certificates: Certificates, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_bytes(Certificates(tmp_path / "another").ca)
    tls = Tls(context=TlsFiles(ca=authority, certificate=certificates.client.certificate, key=certificates.client.key).context)
    async with serving(forwarding(int(server.split(":")[1])), certificates.server_context(mutual=True)) as port:
        client = ZooKeeperClient(f"localhost:{port}", session_timeout=4.0, tls=tls)
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await client.connect(within=_REFUSED)
        authority.write_bytes(certificates.ca)
        async with asyncio.timeout(20):
            while client.session is not Session.CONNECTED:
                await asyncio.sleep(0.05)
        await client.close()
