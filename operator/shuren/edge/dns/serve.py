"""The name server as a process: built of its parts, run until a signal."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shuren.clients import coredumps
from shuren.clients.page_tls import PageTls
from shuren.clients.powerdns import PowerDnsClient
from shuren.clients.zookeeper.client import Digest, ZooKeeperClient
from shuren.clients.zookeeper.tls import Tls
from shuren.domain.dns.zone import Zone, below, with_hosts
from shuren.domain.errors import FieldError, Invalid, ShurenError, Unreachable
from shuren.edge.dns.answers import Answers, Authority
from shuren.edge.dns.packets import Rcode
from shuren.edge.dns.publish import Publisher
from shuren.edge.dns.server import Server
from shuren.edge.dns.world import Follower, Picture
from shuren.edge.exposition import Exposition
from shuren.edge.root import check_root
from shuren.ports.zookeeper import Session, ZooKeeper

log = logging.getLogger(__name__)

_SAVE = 5.0
"""Seconds between writes of what was last good."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to serve. `zone` empty: as ZooKeeper says. `state_dir` None: nothing is kept for the time after a restart. TTLs in seconds.

    With `powerdns`, the base URL of its HTTP API, nothing is answered here: PowerDNS is told instead.
    """

    hosts: str
    root: str
    zone: str = ""
    address: str = "0.0.0.0"
    port: int = 53
    servers: tuple[tuple[str, str], ...] = ()
    """Names of the zone's name servers with their addresses; empty: not told here."""
    ttl: int = 5
    negative_ttl: int = 5
    state_dir: Path | None = None
    digest: Digest | None = None
    tls: Tls | None = None
    metrics_address: str = "127.0.0.1"
    metrics_port: int = 0
    metrics_tls: PageTls | None = None
    powerdns: str = ""
    powerdns_key: str = field(default="", repr=False)


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises what is wrong with the settings or this host."""
    coredumps.refuse()
    check_root(settings.root)
    zookeeper = ZooKeeperClient(settings.hosts, digest=settings.digest, tls=settings.tls)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await _run(settings, zookeeper, stopping)
    finally:
        await zookeeper.close()


async def _run(settings: Settings, zookeeper: ZooKeeperClient, stopping: asyncio.Event) -> None:
    kept = Keeper(settings.state_dir)
    zone, picture = kept.load()
    connecting = asyncio.create_task(_connect(zookeeper, settings.root))
    ended = asyncio.create_task(stopping.wait())
    try:
        if not settings.zone and not zone:
            await asyncio.wait({connecting, ended}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            return
        zone = settings.zone or zone or connecting.result()
        if not zone:
            raise Invalid("no zone: set MesosCluster.spec.dns.zone, or give --zone")
        authority = _authority(settings, zone)
        hosts = _hosts(settings, authority)
        answers = Answers(authority, chance=random.random)
        if picture.names or picture.tasks:
            answers.put(with_hosts(picture.zone(), hosts))
        serving = _publish if settings.powerdns else _answer
        await serving(settings, zookeeper, answers, picture, kept, connecting, ended, lambda: with_hosts(picture.zone(), hosts))
    finally:
        for task in (connecting, ended):
            task.cancel()
        await asyncio.gather(connecting, ended, return_exceptions=True)


async def _answer(  # noqa: PLR0917 - the parts of one process
    settings: Settings,
    zookeeper: ZooKeeperClient,
    answers: Answers,
    picture: Picture,
    kept: Keeper,
    connecting: asyncio.Task[str],
    ended: asyncio.Task[bool],
    zone: Callable[[], Zone],
) -> None:
    def changed() -> None:
        if not _not_ready(follower, picture):
            answers.put(zone())

    follower = Follower(zookeeper=zookeeper, root=settings.root, picture=picture, changed=changed)
    server = Server(answers)
    registry = CollectorRegistry()
    registry.register(_Metrics(answers, zookeeper))
    exposition = Exposition(registry=registry, alive=lambda: "", ready=lambda: _not_ready(follower, picture))
    port = await server.start(settings.address, settings.port)
    log.info("answering for %s on %s:%d", answers.zone, settings.address, port)
    following = asyncio.create_task(_follow(connecting, follower))
    keeping = asyncio.create_task(kept.keep(answers, picture))
    try:
        if settings.metrics_port:
            await exposition.start(settings.metrics_address, settings.metrics_port, settings.metrics_tls)
        done, _ = await asyncio.wait({following, keeping, ended}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for other in (following, keeping):
            other.cancel()
        await asyncio.gather(following, keeping, return_exceptions=True)
        kept.save(answers, picture)
        await exposition.stop()
        await server.stop()


async def _publish(  # noqa: PLR0917 - the parts of one process
    settings: Settings,
    zookeeper: ZooKeeperClient,
    answers: Answers,
    picture: Picture,
    kept: Keeper,
    connecting: asyncio.Task[str],
    ended: asyncio.Task[bool],
    zone: Callable[[], Zone],
) -> None:
    """PowerDNS answers; we tell it what."""
    keeper = PowerDnsClient(settings.powerdns, key=settings.powerdns_key)
    publisher = Publisher(keeper=keeper, authority=_authority(settings, answers.zone), zone=zone)

    def changed() -> None:
        answers.put(zone())
        publisher.changed()

    follower = Follower(zookeeper=zookeeper, root=settings.root, picture=picture, changed=changed)
    registry = CollectorRegistry()
    registry.register(_Metrics(answers, zookeeper))
    exposition = Exposition(registry=registry, alive=lambda: "", ready=lambda: "" if publisher.published else "PowerDNS is not up to date")
    log.info("telling PowerDNS at %s about %s", settings.powerdns, answers.zone)
    tasks = [asyncio.create_task(_follow(connecting, follower)), asyncio.create_task(kept.keep(answers, picture))]
    # an empty picture says nothing of the zone: whatever PowerDNS has stays until ZooKeeper was read, or what was last good
    tasks.append(asyncio.create_task(_once_known(follower, picture, publisher)))
    try:
        if settings.metrics_port:
            await exposition.start(settings.metrics_address, settings.metrics_port, settings.metrics_tls)
        done, _ = await asyncio.wait({*tasks, ended}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for other in tasks:
            other.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        kept.save(answers, picture)
        await exposition.stop()
        await keeper.close()


async def _once_known(follower: Follower, picture: Picture, publisher: Publisher) -> None:
    while _not_ready(follower, picture):  # noqa: ASYNC110 - read once in the life of the process
        await asyncio.sleep(0.05)
    await publisher.run()


def _not_ready(follower: Follower, picture: Picture) -> str:
    return "" if follower.synced or picture.names else "nothing was read yet"


async def _follow(connecting: asyncio.Task[str], follower: Follower) -> None:
    await asyncio.shield(connecting)
    await follower.run()


async def _connect(zookeeper: ZooKeeperClient, root: str) -> str:
    """Until there is a session; gives the zone that ZooKeeper names, which may be empty."""
    try:
        await zookeeper.connect()
    except Unreachable as error:
        log.warning("%s; what was last good is answered", error)
        await _session(zookeeper)
    while True:
        try:
            node = await zookeeper.get(f"{root.rstrip('/')}/meta")
        except ShurenError as error:
            log.warning("%s", error)
            await asyncio.sleep(1.0)
            continue
        document = json.loads(node.data) if node is not None else {}
        return str(document.get("dnsZone") or "")


async def _session(zookeeper: ZooKeeper) -> None:
    there = asyncio.Event()
    zookeeper.on_session(lambda session: there.set() if session is Session.CONNECTED else None)
    if zookeeper.session is not Session.CONNECTED:
        await there.wait()


def _authority(settings: Settings, zone: str) -> Authority:
    servers = tuple(name for name, _ in settings.servers) or (f"ns1.{zone}",)
    return Authority(name=zone, servers=servers, ttl=settings.ttl, negative_ttl=settings.negative_ttl)


def _hosts(settings: Settings, authority: Authority) -> dict[str, str]:
    """Addresses of name servers whose names are in the zone, by relative name: nobody else could tell them."""
    given = dict(settings.servers) or dict.fromkeys(authority.servers, settings.address)
    hosts: dict[str, str] = {}
    for server, address in given.items():
        name = below(server, authority.name)
        if name is None:
            continue
        try:
            known = bool(address) and not ipaddress.ip_address(address).is_unspecified
        except ValueError as error:
            message = f"{address!r} is no IP address"
            raise Invalid(f"--ns {server}: {message}", errors=(FieldError(path="--ns", message=message),)) from error
        if not known:
            log.warning("nobody can find the name server %s, whose name is in its own zone: give --ns %s=ADDRESS", server, server)
        else:
            hosts[name] = address
    return hosts


class Keeper:
    """Keeps what was last good in a file, for a start while ZooKeeper is away."""

    def __init__(self, directory: Path | None) -> None:
        self._file = directory / "last-good.json" if directory is not None else None
        self._saved = b""

    def load(self) -> tuple[str, Picture]:
        """(zone, picture); empty when there is none, or none that can be read."""
        if self._file is None or not self._file.exists():
            return "", Picture()
        zone, _, data = self._file.read_bytes().partition(b"\n")
        try:
            return zone.decode(), Picture.decode(data)
        except (Invalid, UnicodeError) as error:
            log.warning("%s: %s", self._file, error)
            return "", Picture()

    def save(self, answers: Answers, picture: Picture) -> None:
        """Write it whole beside, then take the place of the old one."""
        data = answers.zone.encode() + b"\n" + picture.encode()
        if self._file is None or data == self._saved:
            return
        beside = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(data)
            beside.replace(self._file)
        except OSError as error:
            log.warning("what is last good cannot be kept in %s: %s", self._file, error)
            return
        self._saved = data

    async def keep(self, answers: Answers, picture: Picture) -> None:
        """Save every few seconds what has changed."""
        while True:
            await asyncio.sleep(_SAVE)
            self.save(answers, picture)


class _Metrics(Collector):
    """Read when asked, so that answering costs nothing more."""

    def __init__(self, answers: Answers, zookeeper: ZooKeeper) -> None:
        self._answers = answers
        self._zookeeper = zookeeper

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        counters = self._answers.counters
        answered = CounterMetricFamily("shuren_dns_answers", "Answers by code", labels=["rcode"])
        for rcode, count in sorted(counters.by_rcode.items()):
            answered.add_metric([Rcode(rcode).name], count)
        yield answered
        yield CounterMetricFamily("shuren_dns_truncated", "Answers that did not fit", value=counters.truncated)
        yield CounterMetricFamily("shuren_dns_ignored", "Messages that deserve no answer", value=counters.ignored)
        yield GaugeMetricFamily("shuren_dns_zone_serial", "Serial of the zone", value=self._answers.serial)
        connected = float(self._zookeeper.session is Session.CONNECTED)
        yield GaugeMetricFamily("shuren_dns_zookeeper_connected", "Whether there is a session", value=connected)
