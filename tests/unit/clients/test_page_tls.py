"""/metrics under TLS, of the operator and of the agents beside traffic: who is trusted, what is renewed, who may read."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from engine_process import free_port
from shuren.clients.page_tls import PageTls, from_environment
from shuren.devenv.keypairs import KeyPair
from shuren.devenv.pki import Authority
from shuren.domain.errors import Invalid
from shuren.edge.exposition import Exposition
from shuren.operator.endpoints import Endpoints
from tls_room import Certificates


class Room:
    """Files as a Secret of type kubernetes.io/tls is mounted, and a server that reads them."""

    def __init__(self, directory: Path, server: type[Endpoints | Exposition]) -> None:
        self.certificates = Certificates(directory)
        self.directory = directory / "mounted"
        self.directory.mkdir()
        self.port = free_port()
        self._server = server(registry=CollectorRegistry(), alive=str, ready=str)
        self.put(self.certificates.server)
        (self.directory / "ca.crt").write_bytes(self.certificates.ca)

    def put(self, pair: KeyPair) -> None:
        shutil.copyfile(pair.certificate, self.directory / "tls.crt")
        shutil.copyfile(pair.key, self.directory / "tls.key")

    async def start(self, *, client_ca: bool = False) -> None:
        tls = PageTls(
            certificate=self.directory / "tls.crt",
            key=self.directory / "tls.key",
            client_ca=self.directory / "ca.crt" if client_ca else None,
        )
        await self._server.start("127.0.0.1", self.port, tls)

    async def stop(self) -> None:
        await self._server.stop()

    async def get(self, path: str, *, trusted: Authority | None = None, shown: KeyPair | None = None) -> int:
        """The status. httpx.ConnectError when the server is not trusted."""
        context = ssl.create_default_context(cafile=str((trusted or self.certificates.authority).ca.certificate))
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            return (await client.get(f"https://127.0.0.1:{self.port}{path}")).status_code


@pytest.fixture(params=[Endpoints, Exposition], ids=["operator", "beside-traffic"])
async def room(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path, request.param)
    yield made
    await made.stop()


async def test_pages_are_served_under_tls_and_plain_http_is_not(room: Room) -> None:
    await room.start()
    assert [await room.get(path) for path in ("/metrics", "/healthz", "/readyz")] == [200, 200, 200]
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.HTTPError):
            await client.get(f"http://127.0.0.1:{room.port}/metrics")


async def test_a_renewed_certificate_counts_from_the_next_connection_on(room: Room, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    await room.start()
    assert await room.get("/metrics") == 200
    with pytest.raises(httpx.ConnectError):
        await room.get("/metrics", trusted=other)
    # half of a renewal: the key does not belong to the certificate. What was good last goes on
    pair = other.server("next", common_name="next")
    shutil.copyfile(pair.key, room.directory / "tls.key")
    assert await room.get("/metrics") == 200
    room.put(pair)
    assert await room.get("/metrics", trusted=other) == 200
    with pytest.raises(httpx.ConnectError):
        await room.get("/metrics")


async def test_metrics_for_who_shows_a_certificate_and_probes_for_everybody(room: Room) -> None:
    await room.start(client_ca=True)
    assert [await room.get(path) for path in ("/metrics", "/healthz", "/readyz")] == [403, 200, 200]
    assert await room.get("/metrics", shown=room.certificates.client) == 200
    with pytest.raises(httpx.HTTPError):
        await room.get("/metrics", shown=room.certificates.stranger)


def test_files_come_from_the_environment(tmp_path: Path) -> None:
    known = Certificates(tmp_path)
    assert from_environment({}) is None
    pair = {"SHUREN_METRICS_CERTIFICATE": str(known.server.certificate), "SHUREN_METRICS_KEY": str(known.server.key)}
    assert from_environment(pair) == PageTls(certificate=known.server.certificate, key=known.server.key)


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"SHUREN_METRICS_KEY": "k"}, "SHUREN_METRICS_KEY is set without SHUREN_METRICS_CERTIFICATE"),
        ({"SHUREN_METRICS_CLIENT_CA": "c"}, "SHUREN_METRICS_CLIENT_CA is set without SHUREN_METRICS_CERTIFICATE"),
        ({"SHUREN_METRICS_CERTIFICATE": "/not/there"}, "SHUREN_METRICS_CERTIFICATE names a file that is not there: /not/there"),
        (
            {"SHUREN_METRICS_CERTIFICATE": __file__},
            "SHUREN_METRICS_CERTIFICATE with SHUREN_METRICS_KEY and SHUREN_METRICS_CLIENT_CA cannot be",
        ),
    ],
)
def test_files_that_are_of_no_use_are_named(environ: dict[str, str], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        from_environment(environ)
