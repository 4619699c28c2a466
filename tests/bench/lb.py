"""From a change in ZooKeeper to HAProxy's state, with traffic flowing; and what the agent costs.

Real ZooKeeper, real HAProxy, a real `shuren lb`; endpoints are one server process on many loopback addresses. The clock starts before the
write to ZooKeeper and stops when HAProxy's own `show servers state` has it, so both ends and our asking are in the figures. The floor is a
30-line script that sends the same number of changes to the runtime API of a HAProxy, in the same run. What begins at Marathon's event is
`wholepath`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from bench import wholepath
from bench.report import Row
from engine_process import free_port
from haproxy_process import haproxy
from haproxy_room import http, route, service
from lb_process import Balancer, Client
from lb_room import Publisher
from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.domain.haproxy.converge import ObservedServer
from shuren.domain.service.values import Endpoint, EndpointState
from zookeeper_process import zookeeper

BENCH = "load balancer"
TARGET_P99_MS = 100.0
TARGET_THOUSAND_S = 0.3
HOST = "s0.example"
_PAUSE = 0.01
"""Seconds between the requests of a client: traffic must flow, not measure this machine's load generator."""
Json = dict[str, Any]

# ------------------------------------------------------------------------------------------------- the floor: 30 lines


def floor(directory: Path, changes: int) -> Json:
    """`add server`, weights, drains and deletions, sent raw, 100 to a line, one connection each line."""
    config = f"global\n  stats socket {directory}/api.sock level admin\ndefaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n"
    config += "  timeout connect 5s\n" + "".join(f"backend b{n}\n  balance roundrobin\n" for n in range(20))

    def send(commands: list[str]) -> float:
        began = time.perf_counter()
        for start in range(0, len(commands), 100):
            with socket.socket(socket.AF_UNIX) as api:
                api.connect(f"{directory}/api.sock")
                api.sendall("; ".join(commands[start : start + 100]).encode() + b"\n")
                while api.recv(65536):
                    pass
        return time.perf_counter() - began

    with haproxy(directory, config):
        at = [f"b{n % 20}/s{n}" for n in range(changes)]
        return {
            "add": send([f"add server {a} 127.1.0.1:9 id {n + 1} weight 100; set server {a} state ready" for n, a in enumerate(at)]),
            "weight": send([f"set server {a} weight 50" for a in at]),
            "drain": send([f"set server {a} state drain" for a in at]),
            "remove": send([f"set server {a} state maint" for a in at] + [f"del server {a}" for a in at]),
        }


# ----------------------------------------------------------------------------------------------------- endpoints, load


def _endpoints(port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "0.0.0.0", port, backlog=4096)
        await server.serve_forever()

    asyncio.run(run())


def _load(port: int, ending: Event, results: Any) -> None:
    """Sixteen clients that keep their connections, with a pause after each answer, until told to end."""

    async def work(counts: Json) -> None:
        client = Client(port, HOST)
        while not ending.is_set():
            began = time.perf_counter()
            try:
                status, _, _ = await client.request()
                counts["good" if status == 200 else "failed"] += 1
            except (OSError, asyncio.IncompleteReadError):
                counts["failed"] += 1
            counts["ms"].append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(_PAUSE)
        client.close()

    async def run() -> Json:
        counts: Json = {"good": 0, "failed": 0, "ms": []}
        await asyncio.gather(*(work(counts) for _ in range(16)))
        return counts

    counts = asyncio.run(run())
    p99 = statistics.quantiles(counts["ms"], n=100)[98]
    results.put({"requests": counts["good"], "failed": counts["failed"], "p99 ms": p99})


@contextmanager
def _child(target: Callable[..., None], *arguments: Any) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


# ------------------------------------------------------------------------------------------------------------ measuring


class Bench:
    """Twenty services in one HAProxy."""

    def __init__(self, *, balancer: Balancer, publish: Publisher, port: int, per_service: int) -> None:
        self.balancer = balancer
        self.publish = publish
        self.port = port
        self.per_service = per_service
        self.services = [service(f"s{n}") for n in range(20)]
        self.now: dict[int, list[Endpoint]] = {n: [] for n in range(20)}

    def endpoint(self, number: int, index: int, *, weight: int = 100, state: EndpointState = EndpointState.READY) -> Endpoint:
        return Endpoint(
            id=f"t{number}-{index:03}",
            address=f"127.1.{number}.{index % 250 + 1}",
            port=self.port,
            state=state,
            weight=weight,
            app=f"/s{number}",
        )

    async def servers(self, number: int | None = None) -> dict[str, ObservedServer]:
        names = [f"shop.s{number}:http"] if number is not None else []
        return {f"{s.backend}/{s.name}": s for s in await self.balancer.api.servers(names)}

    async def all_at_once(self, wanted: dict[int, list[Endpoint]], *, pattern: str, count: int) -> float:
        """Write all services, and wait until HAProxy has it: so many lines of its state, spares aside, with this admin state and weight."""
        line = re.compile(rf"^\d+ (?!any:)\S+ \d+ \S+ \S+ \d {pattern} ", re.MULTILINE)
        began = time.perf_counter()
        await asyncio.gather(*(self.publish.endpoints(self.services[n], *endpoints) for n, endpoints in wanted.items()))
        while len(line.findall(await self.balancer.api.servers_as_text())) != count:
            if time.perf_counter() - began > 60:
                raise AssertionError("HAProxy does not get there")
            await asyncio.sleep(0.02)
        self.now = wanted
        return time.perf_counter() - began

    async def singles(self, count: int) -> list[float]:
        """One weight after the other: milliseconds each."""
        took = []
        for change in range(count):
            number, weight = change % 20, 1 + change % 200
            self.now[number] = [self.endpoint(number, i, weight=weight if i == 0 else 100) for i in range(len(self.now[number]))]
            began = time.perf_counter()
            await self.publish.endpoints(self.services[number], *self.now[number])
            while (await self.servers(number))[f"shop.s{number}:http/t{number}-000"].weight != weight:
                await asyncio.sleep(0.001)
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.01)
        return took

    def spread(self, per_service: int, first: int = 0, **more: Any) -> dict[int, list[Endpoint]]:
        return {n: [self.endpoint(n, i, **more) for i in range(first, first + per_service)] for n in range(20)}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _cpu_share(pid: int, seconds: float) -> float:
    before, began = _cpu(pid), time.perf_counter()
    await asyncio.sleep(seconds)
    return (_cpu(pid) - before) / (time.perf_counter() - began) * 100


async def _changing(bench: Bench, per_second: int, seconds: float) -> None:
    end = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < end:
        number = count % 20
        bench.now[number] = [bench.endpoint(number, i, weight=100 + count % 100 if i == 1 else 100) for i in range(len(bench.now[number]))]
        await bench.publish.endpoints(bench.services[number], *bench.now[number])
        count += 1
        await asyncio.sleep(1 / per_second)


async def _measure(directory: Path, hosts: str, endpoints_port: int, *, singles: int, idle: float) -> Json:
    client = ZooKeeperClient(hosts)
    await client.connect()
    publish = Publisher(client)
    await publish.prepare()
    balancer = Balancer(directory / "lb", hosts, "--counters-seconds", "10", "--log-level", "WARNING")
    bench = Bench(balancer=balancer, publish=publish, port=endpoints_port, per_service=50)
    check = {"intervalMs": 10_000, "fastIntervalMs": 100, "downIntervalMs": 100}
    for number in range(20):
        await publish.route(route(f"s{number}", http(f"s{number}.example", port=balancer.port), healthCheck=check))
        bench.now[number] = [bench.endpoint(number, i) for i in range(50)]
        await publish.endpoints(bench.services[number], *bench.now[number])
    balancer.start()
    results: Any = multiprocessing.get_context("spawn").Queue()
    ending = multiprocessing.get_context("spawn").Event()
    try:
        while not _listening(balancer.port) or len(await bench.servers()) < 1000:
            await asyncio.sleep(0.1)
        reloads = (await balancer.master.processes()).reloads
        with _child(_load, balancer.port, ending, results):
            await asyncio.sleep(2)
            used = _cpu(balancer.pid)
            one = await bench.singles(singles)
            single_cpu, used = _cpu(balancer.pid) - used, _cpu(balancer.pid)
            batch = {
                "weight": await bench.all_at_once(bench.spread(50, weight=50), pattern="0 50", count=1000),
                "add": await bench.all_at_once(bench.spread(100), pattern="0 100", count=2000),
                "drain": await bench.all_at_once(
                    {n: bench.spread(50, state=EndpointState.DRAINING)[n] + bench.spread(50, 50)[n] for n in range(20)},
                    pattern=r"8 \d+",
                    count=1000,
                ),
                "remove": await bench.all_at_once(bench.spread(50, 50), pattern=r"[08] \d+", count=1000),
            }
            used = _cpu(balancer.pid) - used
            ending.set()
            traffic = await asyncio.get_running_loop().run_in_executor(None, results.get)
        await bench.all_at_once(bench.spread(100), pattern="0 100", count=2000)
        await asyncio.sleep(12)
        pid = balancer.pid
        resting = await _cpu_share(pid, idle)
        changing, _ = await asyncio.gather(_cpu_share(pid, idle), _changing(bench, 50, idle))
        return {
            "one": one,
            "batch": batch,
            "traffic": traffic,
            "single CPU ms": single_cpu / singles * 1000,
            "burst CPU ms": used / 4000 * 1000,
            "reloads": (await balancer.master.processes()).reloads - reloads,
            "resting": resting,
            "changing": changing,
            "memory MB": _memory(pid),
        }
    finally:
        await balancer.end()
        await client.close()


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _measured(directory: Path, *, singles: int, idle: float) -> Json:
    """All of it: figures by name."""
    port = free_port()
    for part in ("floor", "zk"):
        (directory / part).mkdir()
    with _child(_endpoints, port):
        raw = floor(directory / "floor", 1000)
        with zookeeper(directory / "zk") as hosts:
            return {"floor": raw, **asyncio.run(_measure(directory, hosts, port, singles=singles, idle=idle))}


async def run(directory: Path, *, apps: int, repeats: int) -> list[Row]:
    """See the module. The number of servers is 1,000 and 2,000 whatever the number of apps is; fewer `repeats` only make it shorter."""
    del apps
    found = await asyncio.to_thread(_measured, directory, singles=100 * repeats, idle=5.0 * repeats)
    (directory / "path").mkdir()
    whole = await wholepath.measure(directory / "path", changes=60 * repeats)
    one, batch, raw = found["one"], found["batch"], found["floor"]
    traffic = found["traffic"]
    return [
        *wholepath.rows(whole),
        Row(bench=BENCH, what="one change, written → HAProxy shows it, p50", measured=statistics.median(one), unit="ms"),
        Row(bench=BENCH, what="the same, p99", measured=statistics.quantiles(one, n=100)[98], unit="ms", limit=TARGET_P99_MS),
        *(
            Row(
                bench=BENCH,
                what=f"1,000 servers: {name}",
                measured=seconds,
                unit="s",
                against="raw runtime API",
                reference=raw[name],
                limit=TARGET_THOUSAND_S,
            )
            for name, seconds in batch.items()
        ),
        Row(
            bench=BENCH, what="requests failed meanwhile", measured=traffic["failed"], unit="", limit=0, note=f"of {traffic['requests']:,}"
        ),
        Row(bench=BENCH, what="their p99", measured=traffic["p99 ms"], unit="ms"),
        Row(bench=BENCH, what="reloads", measured=found["reloads"], unit="", limit=0),
        Row(bench=BENCH, what="agent's CPU, a change alone", measured=found["single CPU ms"], unit="ms"),
        Row(bench=BENCH, what="agent's CPU, a change of 1,000", measured=found["burst CPU ms"], unit="ms"),
        Row(bench=BENCH, what="agent's CPU at 2,000 servers, idle", measured=found["resting"], unit="% of a core"),
        Row(bench=BENCH, what="agent's CPU at 2,000 servers, 50 changes/s", measured=found["changing"], unit="% of a core"),
        Row(bench=BENCH, what="agent's memory at 2,000 servers", measured=found["memory MB"], unit="MB"),
    ]
