"""The agent as a process: built of its parts, run until a signal, and taken down without taking traffic down."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace

import shuren
from shuren.clients import coredumps
from shuren.clients.clock import SystemClock
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.clients.kubernetes.config import from_environment
from shuren.clients.page_tls import PageTls
from shuren.clients.zookeeper.client import Digest, ZooKeeperClient
from shuren.clients.zookeeper.tls import Tls
from shuren.domain.errors import ShurenError, Unreachable
from shuren.domain.service.values import LoadBalancer
from shuren.edge.exposition import Exposition
from shuren.edge.lb.agent import Agent
from shuren.edge.lb.disk import StateDirectory
from shuren.edge.lb.materials import DirectorySource, MaterialStore, NoSecrets, SecretSource, Source
from shuren.edge.lb.metrics import Metrics
from shuren.edge.lb.names import Names
from shuren.edge.lb.process import HAProxyProgram
from shuren.edge.lb.register import Instance, Registrar
from shuren.edge.lb.settings import Settings
from shuren.edge.lb.supplies import Supplies
from shuren.edge.lb.world import Follower
from shuren.ports.zookeeper import Session, ZooKeeper

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach ZooKeeper, and where to serve metrics (port 0: nowhere)."""

    hosts: str
    digest: Digest | None = None
    tls: Tls | None = None
    session_timeout: float = 10.0
    metrics_address: str = "127.0.0.1"
    metrics_port: int = 0
    metrics_tls: PageTls | None = None


async def serve(settings: Settings, connection: Connection, environ: Mapping[str, str] = os.environ) -> None:
    """Run until SIGTERM or SIGINT. Invalid says what is wrong with the settings or this host."""
    coredumps.refuse()
    settings.check()
    settings = replace(settings, host=settings.host or socket.gethostname())
    disk = StateDirectory(settings.state_dir)
    disk.prepare()
    program = HAProxyProgram(settings.haproxy, disk)
    version = await program.version()
    metrics = Metrics()
    zookeeper = ZooKeeperClient(connection.hosts, session_timeout=connection.session_timeout, digest=connection.digest, tls=connection.tls)
    balancer = LoadBalancer(id=settings.id, group=settings.group, host=settings.host, version=f"{shuren.__version__} (HAProxy {version})")
    registrar = Registrar(
        zookeeper=zookeeper, root=settings.root, balancer=balancer, instance=Instance(host=settings.host), metrics=metrics
    )
    kubernetes = _kubernetes(environ)
    secrets: Source = SecretSource(kubernetes) if kubernetes is not None else NoSecrets()
    supplies = Supplies(
        store=MaterialStore(disk=disk, files=DirectorySource(settings.certificate_dir), secrets=secrets),
        names=Names(),
        material_interval=settings.material_interval,
        resolve_interval=settings.resolve_interval,
    )
    agent = Agent(
        settings=settings,
        clock=SystemClock(),
        disk=disk,
        program=program,
        supplies=supplies,
        metrics=metrics,
        acknowledge=registrar,
    )
    metrics.watch(lambda: {**agent.gauges(), "zookeeper_connected": float(zookeeper.session is Session.CONNECTED)})
    exposition = Exposition(registry=metrics.registry, alive=lambda: "", ready=lambda: _not_ready(agent))
    # what was imported is never garbage: looking through it again and again held passes up for longer than anything else
    gc.collect()
    gc.freeze()
    try:
        if connection.metrics_port:
            await exposition.start(connection.metrics_address, connection.metrics_port, connection.metrics_tls)
        await _until_signal(agent, registrar, zookeeper, settings)
        if settings.stop_haproxy_on_exit:
            await _take_down(registrar, program, settings)
    finally:
        await exposition.stop()
        await zookeeper.close()
        if kubernetes is not None:
            await kubernetes.close()


def _kubernetes(environ: Mapping[str, str]) -> KubernetesClient | None:
    """Access to Secrets, if this load balancer was given any."""
    if not environ.get("KUBECONFIG") and not environ.get("KUBERNETES_SERVICE_HOST"):
        return None
    return KubernetesClient(from_environment(environ), timeout=10.0, connections=4)


def _not_ready(agent: Agent) -> str:
    if not agent.running:
        return "HAProxy does not run"
    if agent.balancer.loaded is None:
        return "HAProxy does not run the configuration of ours"
    return ""


async def _until_signal(agent: Agent, registrar: Registrar, zookeeper: ZooKeeperClient, settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await agent.start()
    follower = Follower(zookeeper=zookeeper, root=settings.root, group=settings.group, world=agent.world)
    tasks = [
        asyncio.create_task(agent.run(), name="agent"),
        asyncio.create_task(_connected(zookeeper, follower, registrar), name="zookeeper"),
        asyncio.create_task(stopping.wait(), name="signal"),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connected(zookeeper: ZooKeeperClient, follower: Follower, registrar: Registrar) -> None:
    """Traffic does not wait for ZooKeeper: what was last good is served until it answers."""
    try:
        await zookeeper.connect()
    except Unreachable as error:
        log.warning("%s; what was last good is served", error)
        await _session(zookeeper)
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.run())
        group.create_task(registrar.run())


async def _session(zookeeper: ZooKeeper) -> None:
    there = asyncio.Event()
    zookeeper.on_session(lambda session: there.set() if session is Session.CONNECTED else None)
    if zookeeper.session is not Session.CONNECTED:
        await there.wait()


async def _take_down(registrar: Registrar, program: HAProxyProgram, settings: Settings) -> None:
    """This load balancer goes for good: HAProxy finishes what it has, then ZooKeeper hears that nothing is served here any more."""
    log.info("HAProxy is ended, what it has may take %.0f s", settings.drain_on_exit)
    await program.stop(within=settings.drain_on_exit)
    with contextlib.suppress(ShurenError):
        await registrar.leave()
