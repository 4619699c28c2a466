"""Connections as the composition root makes them: settings and Secrets become trust, identity and credentials on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shuren.controllers.estate.connection import Connection
from shuren.domain.cluster import (
    ClusterSettings,
    Credentials,
    Login,
    MarathonSettings,
    MesosSettings,
    SecretName,
    TlsMaterial,
    TlsSettings,
    ZooKeeperSettings,
)
from shuren.domain.errors import Invalid, Unreachable
from shuren.operator.connections import Factory
from shuren.ports.zookeeper import Session
from tls_room import Certificates, answering, encrypted, serving

INFO = {"version": "1.11.24", "frameworkId": "f", "leader": "m:8080"}
NOWHERE = "127.0.0.1:9"
SECRET = SecretName(namespace="n", name="s")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def settings(
    url: str, *, tls: TlsSettings | None = None, zookeeper_tls: TlsSettings | None = None, mesos: MesosSettings | None = None
) -> ClusterSettings:
    return ClusterSettings(
        name="bj1",
        marathon=MarathonSettings(urls=(url,), tls=tls),
        zookeeper=ZooKeeperSettings(hosts=(NOWHERE,), root="/shuren/bj1", tls=zookeeper_tls),
        mesos=mesos,
    )


@asynccontextmanager
async def connection(
    of: ClusterSettings, credentials: Credentials | None = None, factory: Factory | None = None
) -> AsyncIterator[Connection]:
    made = await (factory or Factory()).connect(of, credentials or Credentials())
    try:
        yield made
    finally:
        await made.close()


async def answers(of: ClusterSettings, credentials: Credentials) -> bool:
    async with connection(of, credentials) as made:
        try:
            return (await made.marathon.info()).version == "1.11.24"
        except Unreachable:
            return False


async def test_a_marathon_is_trusted_by_the_authority_in_the_secret(certificates: Certificates) -> None:
    async with serving(answering(INFO), certificates.server_context()) as port:
        of = settings(f"https://localhost:{port}", tls=TlsSettings(ca=SECRET))
        assert await answers(of, Credentials(marathon_tls=TlsMaterial(ca=certificates.ca)))
        assert not await answers(of, Credentials())


async def test_another_name_in_the_certificate_is_accepted_only_when_the_spec_names_it(certificates: Certificates) -> None:
    async with serving(answering(INFO), certificates.server_context()) as port:
        trust = Credentials(marathon_tls=TlsMaterial(ca=certificates.ca))
        for name, expected in (("kubernetes", True), ("marathon.example.org", False)):
            of = settings(f"https://localhost:{port}", tls=TlsSettings(ca=SECRET, server_name=name))
            assert await answers(of, trust) is expected


async def test_trusting_anybody_has_to_be_said(certificates: Certificates) -> None:
    async with serving(answering(INFO), certificates.server_context()) as port:
        assert await answers(settings(f"https://localhost:{port}", tls=TlsSettings(insecure=True)), Credentials())


async def test_a_marathon_that_demands_a_certificate_gets_ours(certificates: Certificates) -> None:
    pair = certificates.client
    mine = TlsMaterial(ca=certificates.ca, certificate=pair.certificate.read_bytes(), key=pair.key.read_bytes())
    async with serving(answering(INFO), certificates.server_context(mutual=True)) as port:
        of = settings(f"https://localhost:{port}", tls=TlsSettings(ca=SECRET, client=SECRET))
        assert await answers(of, Credentials(marathon_tls=mine))
        assert not await answers(of, Credentials(marathon_tls=TlsMaterial(ca=certificates.ca)))


async def test_masters_under_tls_are_trusted_by_their_authority_and_get_the_password(certificates: Certificates) -> None:
    seen: list[str] = []
    document = INFO | {"master/elected": 1.0}
    async with serving(answering(document, seen), certificates.server_context()) as port:
        of = settings(
            "http://127.0.0.1:9", mesos=MesosSettings(masters=(f"https://localhost:{port}",), auth=SECRET, tls=TlsSettings(ca=SECRET))
        )
        login = Login(username="u", password="p")
        async with connection(of, Credentials(mesos=login, mesos_tls=TlsMaterial(ca=certificates.ca))) as made:
            assert made.mesos is not None
            assert (await made.mesos.summary()).version == "1.11.24"
        async with connection(of, Credentials(mesos=login)) as made:
            assert made.mesos is not None
            with pytest.raises(Unreachable):
                await made.mesos.summary()
    assert [any(line.lower() == "authorization: basic dtpw" for line in head.lower().split("\r\n")) for head in seen] == [True, True]


async def test_material_that_cannot_be_used_is_told_with_its_field(certificates: Certificates) -> None:
    pair = certificates.client
    broken = {
        "no PEM": TlsMaterial(ca=b"not a certificate"),
        "no text": TlsMaterial(ca=b"\xff\xfe"),
        "another's key": TlsMaterial(certificate=pair.certificate.read_bytes(), key=certificates.server.key.read_bytes()),
        "the key is encrypted": TlsMaterial(certificate=pair.certificate.read_bytes(), key=encrypted(pair)),
    }
    tls = TlsSettings(ca=SECRET, client=SECRET)
    for what, material in broken.items():
        with pytest.raises(Invalid, match=r"spec\.marathon\.tls"):
            await Factory().connect(settings("https://localhost:1", tls=tls), Credentials(marathon_tls=material))
        with pytest.raises(Invalid, match=r"spec\.zookeeper\.tls") as refused:
            await Factory().connect(settings("https://localhost:1", zookeeper_tls=tls), Credentials(zookeeper_tls=material))
        if what == "the key is encrypted":
            assert what in str(refused.value)


async def test_new_credentials_are_used_from_the_next_request_on() -> None:
    seen: list[str] = []
    first = Credentials(marathon=Login(username="u", password="p"))
    async with serving(answering(INFO, seen), None) as port, connection(settings(f"http://127.0.0.1:{port}"), first) as made:
        await made.marathon.info()
        await made.rotate(Credentials(marathon=Login(token="t")))
        await made.marathon.info()
        await made.rotate(Credentials())
        await made.marathon.info()
    sent = [next((line for line in head.split("\r\n") if line.lower().startswith("authorization:")), "") for head in seen]
    assert sent == ["Authorization: Basic dTpw", "Authorization: token=t", ""]


async def test_requests_are_observed_by_target() -> None:
    observed: list[tuple[str, str, str]] = []

    def observe(target: str, verb: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        observed.append((target, verb, code))

    document = INFO | {"master/elected": 1.0}
    async with serving(answering(document), None) as port:
        url = f"http://127.0.0.1:{port}"
        async with connection(settings(url, mesos=MesosSettings(masters=(url,))), factory=Factory(observe=observe)) as made:
            await made.marathon.info()
            assert made.mesos is not None
            assert (await made.mesos.summary()).version == "1.11.24"
        async with connection(settings("http://127.0.0.1:9"), factory=Factory(observe=observe)) as made:
            assert made.mesos is None
            with pytest.raises(Unreachable):
                await made.marathon.info()
    assert observed == [("marathon", "GET", "200"), ("mesos", "GET", "200"), ("mesos", "GET", "200"), ("marathon", "GET", "error")]


async def test_a_zookeeper_that_is_away_is_told_and_held_up_by_nobody() -> None:
    told: list[str] = []
    factory = Factory(on_error=told.append, zookeeper_patience=0.05)
    async with connection(settings("http://127.0.0.1:9"), factory=factory) as made:
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.01)
        assert made.zookeeper.session is Session.LOST
    assert told[0].startswith("bj1: ZooKeeper does not answer at")
