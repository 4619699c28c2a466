"""The clients of one cluster, made from its settings: Marathon, the Mesos masters, ZooKeeper below its root."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import httpx

from shuren.clients.http import Observe, transport
from shuren.clients.marathon import client as marathon_client
from shuren.clients.mesos.client import MesosClient
from shuren.clients.mesos.sandboxes import Sandboxes
from shuren.clients.mesos.sessions import Sessions
from shuren.clients.passwords import no_password
from shuren.clients.zookeeper.client import Digest, ZooKeeperClient
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.clients.zookeeper.tls import Tls
from shuren.domain.cluster import ClusterSettings, Credentials, Login, TlsMaterial, TlsSettings
from shuren.domain.errors import Invalid

_CONNECTIONS = 16
"""To one Marathon or Mesos at a time."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Clients that have not said a word yet: `zookeeper.connect` begins its session. Those of Mesos are None when `spec.mesos` is absent.

    `sessions` makes a client for commands beside tasks, which whoever asks for it closes.
    """

    marathon: marathon_client.MarathonClient
    mesos: MesosClient | None
    sandboxes: Sandboxes | None
    sessions: Callable[[], Sessions] | None
    zookeeper: ZooKeeperClient
    root: FencedRoot

    async def close(self) -> None:
        """End all connections."""
        await self.zookeeper.close()
        await self.marathon.close()
        if self.mesos is not None:
            await self.mesos.close()
        if self.sandboxes is not None:
            await self.sandboxes.close()


def parts_of(settings: ClusterSettings, credentials: Credentials, *, observe: Observe | None = None) -> Parts:
    """The clients. `observe` gets every request to Marathon, Mesos and ZooKeeper. Invalid when a certificate in a Secret cannot be used."""
    tls = _context(settings.marathon.tls, credentials.marathon_tls, where="spec.marathon.tls")
    zookeeper_tls = _context(settings.zookeeper.tls, credentials.zookeeper_tls, where="spec.zookeeper.tls")
    zookeeper_name = settings.zookeeper.tls.server_name if settings.zookeeper.tls is not None else None
    marathon = marathon_client.MarathonClient(
        settings.marathon.urls,
        credentials=marathon_credentials(credentials),
        transport=transport(
            target="marathon",
            observe=observe,
            tls=tls,
            connections=_CONNECTIONS,
            server_name=settings.marathon.tls.server_name if settings.marathon.tls is not None else None,
        ),
    )
    zookeeper = ZooKeeperClient(
        ",".join(settings.zookeeper.hosts),
        digest=digest(credentials.zookeeper, sasl=settings.zookeeper.sasl) if credentials.zookeeper is not None else None,
        tls=Tls(context=zookeeper_tls, server_name=zookeeper_name) if zookeeper_tls is not None else None,
        observe=observe,
    )
    mesos = sandboxes = sessions = None
    if settings.mesos is not None:
        mesos_tls = _context(settings.mesos.tls, credentials.mesos_tls, where="spec.mesos.tls")
        mesos_name = settings.mesos.tls.server_name if settings.mesos.tls is not None else None
        to_mesos = transport(target="mesos", observe=observe, tls=mesos_tls, connections=_CONNECTIONS, server_name=mesos_name)
        login = (credentials.mesos.username, credentials.mesos.password) if credentials.mesos is not None else None
        to_agents = transport(target="mesos", observe=observe, tls=mesos_tls, connections=_CONNECTIONS)
        sandboxes = Sandboxes(settings.mesos.masters, login=login, secure=mesos_tls is not None, transport=to_agents)
        sessions = partial(_sessions, login, mesos_tls)
        mesos = MesosClient(settings.mesos.masters, login=login, transport=to_mesos)
    root = FencedRoot(zookeeper, settings.zookeeper.root, dns_zone=settings.dns_zone)
    return Parts(marathon=marathon, mesos=mesos, sandboxes=sandboxes, sessions=sessions, zookeeper=zookeeper, root=root)


def _sessions(login: tuple[str, str] | None, tls: ssl.SSLContext | None) -> Sessions:
    # input is a stream, which our own transport does not send
    return Sessions(login=login, transport=httpx.AsyncHTTPTransport(verify=tls if tls is not None else True, trust_env=False))


def marathon_credentials(credentials: Credentials) -> marathon_client.Credentials:
    """As Marathon's client takes them."""
    login = credentials.marathon
    if login is None:
        return marathon_client.Credentials()
    return marathon_client.Credentials(username=login.username, password=login.password, token=login.token)


def digest(login: Login, *, sasl: bool) -> Digest:
    """As ZooKeeper's client takes it."""
    return Digest(username=login.username, password=login.password, sasl=sasl)


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
                context.load_cert_chain(pem.name, password=no_password)
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(f"{where}: a certificate or key in the Secret cannot be used: {error}") from error
    return context
