"""Makes connections to clusters for `controllers.estate`, which knows no client."""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from shuren.clients.http import Observe, transport
from shuren.clients.marathon import client as marathon_client
from shuren.clients.mesos.client import MesosClient
from shuren.clients.zookeeper.client import Digest, ZooKeeperClient
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.clients.zookeeper.tls import Tls
from shuren.controllers.estate.connection import Connection
from shuren.domain.cluster import ClusterSettings, Credentials, Login, TlsMaterial, TlsSettings
from shuren.domain.errors import Invalid, Unreachable
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import MESOS_CLUSTERS
from shuren.ports.marathon import Marathon
from shuren.ports.mesos import Mesos
from shuren.ports.zookeeper import FencedZooKeeper
from shuren.runtime.workers import beside

log = logging.getLogger(__name__)

_CONNECTIONS = 16
"""To one Marathon or Mesos at a time."""


@dataclass(frozen=True)
class _Open:
    """One open connection."""

    marathon_: marathon_client.MarathonClient
    mesos_: MesosClient | None
    zookeeper_: ZooKeeperClient
    root: FencedRoot
    path: str
    connecting: asyncio.Task[None]

    @property
    def marathon(self) -> Marathon:
        return self.marathon_

    @property
    def mesos(self) -> Mesos | None:
        return self.mesos_

    @property
    def zookeeper(self) -> FencedZooKeeper:
        return self.root

    async def rotate(self, credentials: Credentials) -> None:
        self.marathon_.credentials = _marathon_credentials(credentials)
        if credentials.zookeeper is not None:
            await self.zookeeper_.admit(_digest(credentials.zookeeper), self.path)

    async def close(self) -> None:
        self.connecting.cancel()
        await asyncio.gather(self.connecting, return_exceptions=True)
        await self.zookeeper_.close()
        await self.marathon_.close()
        if self.mesos_ is not None:
            await self.mesos_.close()


class Factory:
    """The `ConnectionFactory` on real clients. `observe` gets every request to Marathon and Mesos.

    `on_error` hears of a ZooKeeper that has not answered for `zookeeper_patience` seconds.
    """

    def __init__(
        self, *, observe: Observe | None = None, on_error: Callable[[str], None] = log.warning, zookeeper_patience: float = 15.0
    ) -> None:
        self._observe = observe
        self._on_error = on_error
        self._zookeeper_patience = zookeeper_patience

    async def connect(self, settings: ClusterSettings, credentials: Credentials) -> Connection:
        """See the port."""
        tls = _context(settings.marathon.tls, credentials.marathon_tls, where="spec.marathon.tls")
        zookeeper_tls = _context(settings.zookeeper.tls, credentials.zookeeper_tls, where="spec.zookeeper.tls")
        zookeeper_name = settings.zookeeper.tls.server_name if settings.zookeeper.tls is not None else None
        marathon = marathon_client.MarathonClient(
            settings.marathon.urls,
            credentials=_marathon_credentials(credentials),
            transport=transport(
                target="marathon",
                observe=self._observe,
                tls=tls,
                connections=_CONNECTIONS,
                server_name=settings.marathon.tls.server_name if settings.marathon.tls is not None else None,
            ),
        )
        zookeeper = ZooKeeperClient(
            ",".join(settings.zookeeper.hosts),
            digest=_digest(credentials.zookeeper) if credentials.zookeeper is not None else None,
            tls=Tls(context=zookeeper_tls, server_name=zookeeper_name) if zookeeper_tls is not None else None,
        )
        root = FencedRoot(zookeeper, settings.zookeeper.root, dns_zone=settings.dns_zone)
        connecting = asyncio.create_task(
            self._connect(zookeeper, settings),
            name=f"zookeeper of {settings.name}",
            context=beside(ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=settings.name)),
        )
        mesos = None
        if settings.mesos:
            to_mesos = transport(target="mesos", observe=self._observe, tls=None, connections=_CONNECTIONS)
            mesos = MesosClient(settings.mesos, transport=to_mesos)
        return _Open(marathon, mesos, zookeeper, root, settings.zookeeper.root, connecting)

    async def _connect(self, zookeeper: ZooKeeperClient, settings: ClusterSettings) -> None:
        """Start the session; the client goes on trying by itself when nobody answers."""
        try:
            await zookeeper.connect(within=self._zookeeper_patience)
        except Unreachable as error:
            self._on_error(f"{settings.name}: {error}")


def _marathon_credentials(credentials: Credentials) -> marathon_client.Credentials:
    login = credentials.marathon
    if login is None:
        return marathon_client.Credentials()
    return marathon_client.Credentials(username=login.username, password=login.password, token=login.token)


def _digest(login: Login) -> Digest:
    return Digest(username=login.username, password=login.password)


def _no_password() -> str:
    """Asked for the password of an encrypted key; without it OpenSSL would ask at the terminal, for ever."""
    raise ValueError("the key is encrypted; store it without a password")


def _context(settings: TlsSettings | None, material: TlsMaterial, *, where: str) -> ssl.SSLContext | None:
    """A TLS context of PEM texts. Invalid, naming the field, when one of them is none."""
    if settings is None:
        return None
    try:
        context = ssl.create_default_context(cadata=material.ca.decode() if material.ca else None)
        if settings.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if material.certificate and material.key:
            with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pem:
                pem.write(material.certificate + b"\n" + material.key)
                pem.flush()
                context.load_cert_chain(pem.name, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(f"{where}: a certificate or key in the Secret cannot be used: {error}") from error
    return context
