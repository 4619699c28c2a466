"""The order in which a sandbox comes up.

CRDs are applied before kube-controller-manager starts: its garbage collector learns kinds from discovery every 30 s, and a kind it does not
know at its start would not be collected for that long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass

from shuren.devenv import parts
from shuren.devenv.binaries import Binaries, find_binaries, find_haproxy, find_java, find_zookeeper_jar
from shuren.devenv.children import Children
from shuren.devenv.cluster import Cluster, admin_kubeconfig, lb_kubeconfig, make_secrets, operator_kubeconfig
from shuren.devenv.errors import DevenvError
from shuren.devenv.options import Options
from shuren.devenv.places import StateDir, cache_dir, find_manifests
from shuren.devenv.ports import Reservations
from shuren.devenv.progress import Report
from shuren.devenv.state import Endpoints

STOP_ORDER = ["operator", "lb", "engine"]
"""An operator that outlives its API server fills its log with errors. What stands below keeps nothing that anybody reads after the end, and
is killed: asked to stop, an API server alone takes more than a second."""


@dataclass(frozen=True, kw_only=True)
class Bringup:
    """Everything a start needs."""

    place: StateDir
    options: Options
    reservations: Reservations
    children: Children
    report: Report

    async def run(self) -> Endpoints:
        """Bring everything up; returns how to reach it. DevenvError with the reason and the end of the log that tells it."""
        began = time.monotonic()
        manifests = find_manifests()
        binaries = await asyncio.to_thread(find_binaries, cache_dir(), self.report, own_cluster=self.options.kubeconfig is None)
        for directory in (self.place.logs, self.place.kube, self.place.pki):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = self._control_plane(binaries)
        network = self.reservations.network()
        zookeepers = self._zookeepers()
        engines = self._engines(network)
        metrics = [self.reservations.port() for _ in range(self.options.operators)]
        operators = parts.operators(self.place, operator_kubeconfig(self.place), metrics)
        zookeeper_hosts = ",".join(f"127.0.0.1:{part.ports['client']}" for part in zookeepers)
        balancers = self._load_balancers(zookeeper_hosts, network)
        for part in (*own, *zookeepers, *engines, *operators, *balancers):
            self.children.add(part)
        kubeconfig = self.options.kubeconfig or admin_kubeconfig(self.place)
        cluster = Cluster(place=self.place, kubectl=binaries.kubectl, kubeconfig=kubeconfig)

        async def kubernetes() -> None:
            first, last = own[:-1], own[-1:]
            await _together(*(self._start(part) for part in first))
            if self.options.bare:
                await _together(*(self._start(part) for part in last))
                return
            await cluster.apply_crds(manifests.crd_files())
            await _together(*(self._start(part) for part in last), cluster.apply(manifests.base_files()))
            await cluster.write_kubeconfig(parts.OPERATOR_ACCOUNT, operator_kubeconfig(self.place))
            if balancers:
                await cluster.apply_object(parts.load_balancer_account())
                await cluster.write_kubeconfig(parts.LB_ACCOUNT, lb_kubeconfig(self.place))

        await _together(kubernetes(), *(self._start(part) for part in (*zookeepers, *engines)))
        endpoints = Endpoints(
            kubeconfig=str(kubeconfig),
            operator_kubeconfig=str(operator_kubeconfig(self.place)),
            marathon_urls=tuple(f"http://127.0.0.1:{part.ports['marathon']}" for part in engines),
            mesos_url=f"http://127.0.0.1:{engines[0].ports['mesos']}" if engines else "",
            zookeeper_hosts=zookeeper_hosts,
            lb_addresses=tuple(parts.lb_address(network, part.index) for part in balancers),
            cluster=parts.CLUSTER,
            path_prefix=str(binaries.tools),
        )
        if zookeepers and engines and not self.options.bare:
            masters = [f"http://127.0.0.1:{part.ports['mesos']}" for part in engines]
            await cluster.apply_object(parts.mesos_cluster(endpoints.marathon_urls, masters, endpoints.zookeeper_hosts.split(",")))
        await _together(*(self._start(part) for part in (*operators, *balancers)))
        if operators:
            await cluster.wait_ready(f"mesoscluster/{parts.CLUSTER}", seconds=120, log=operators[0].log)
        self.report(f"ready after {time.monotonic() - began:.1f} s")
        return endpoints

    def _control_plane(self, binaries: Binaries) -> list[parts.Part]:
        if self.options.kubeconfig is not None:
            return []
        port = self.reservations.port
        ports = parts.KubePorts(etcd_client=port(), etcd_peer=port(), apiserver=port(), manager=port())
        secrets = make_secrets(self.place, f"https://127.0.0.1:{ports.apiserver}")
        return list(parts.control_plane(self.place, binaries, ports, secrets))

    async def _start(self, part: parts.Part) -> None:
        began = time.monotonic()
        await self.children.start(part)
        self.report(f"  {part.key} ready after {time.monotonic() - began:.1f} s")

    def _zookeepers(self) -> list[parts.Part]:
        if not self.options.zookeepers:
            return []
        port = self.reservations.port
        ports = [parts.ZooKeeperPorts(client=port(), peer=port(), election=port()) for _ in range(self.options.zookeepers)]
        return parts.zookeepers(self.place, find_java(), find_zookeeper_jar(), ports)

    def _load_balancers(self, zookeeper_hosts: str, network: str) -> list[parts.Part]:
        if not self.options.load_balancers:
            return []
        find_haproxy()
        metrics = [self.reservations.port() for _ in range(self.options.load_balancers)]
        return parts.load_balancers(self.place, zookeeper_hosts, network, lb_kubeconfig(self.place), metrics)

    def _engines(self, network: str) -> list[parts.Part]:
        if not self.options.engines:
            return []
        port = self.reservations.port
        ports = [parts.EnginePorts(marathon=port(), mesos=port()) for _ in range(self.options.engines)]
        agents = parts.write_agents(self.place.root / "engine" / "agents.json", network, self.options.agents)
        return parts.engines(self.place, self.options, ports, agents)


async def _together(*jobs: Coroutine[None, None, None]) -> None:
    """Run all at once; the first that fails cancels the rest and is what the caller sees."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except* DevenvError as failed:
        raise _first(failed) from None


def _first(group: BaseExceptionGroup[DevenvError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
