"""Queries per second of `shuren dns`, over real sockets, asked by dnsperf. `make bench B=dns` brings that.

1,000 services of four endpoints each come from a real ZooKeeper. Server and dnsperf have a core each, where there are two. What is judged
are queries by seconds of the server's CPU, which a busy machine changes least; the floor is a bare asyncio server that sends queries back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import dns.message
from kazoo.client import KazooClient

from bench.programs import Program, program
from bench.report import Row
from engine_process import free_port
from shuren.domain.service import wire
from shuren.domain.service.values import Endpoint, EndpointSet, EndpointState, Names, ServiceName
from zookeeper_process import zookeeper

_SERVICES, _ENDPOINTS = 1000, 4
_SECONDS = 3
_TARGET = 25_000.0
_ROOT, _ZONE = "/shuren/bench", "mesos.bench"
_ECHO = """
import asyncio, sys

class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data[:2] + b"\\x84\\x00" + data[4:], address)

async def run():
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", int(sys.argv[1])))
    await asyncio.Event().wait()

asyncio.run(run())
"""


async def run(directory: Path, *, apps: int, repeats: int) -> list[Row]:
    """See the module. The number of names is the same whatever the number of apps is."""
    del apps
    if shutil.which("dnsperf") is None:
        raise RuntimeError("no dnsperf: `make askers` brings it, as root")
    return await asyncio.to_thread(_measure, directory, repeats)


def _measure(directory: Path, repeats: int) -> list[Row]:
    with zookeeper(_made(directory / "zookeeper")) as hosts:
        _publish(hosts)
        port = free_port()
        command = ["-m", "shuren.cli", "dns", "--zookeeper", hosts, "--root", _ROOT, "--address", "127.0.0.1"]
        with _alone("shuren-dns", [*command, "--port", str(port), "--metrics-port", "0"], directory, probe=port) as server:
            a = _asked(server, port, _questions(directory, "A"), repeats)
            srv = _asked(server, port, _questions(directory, "SRV"), repeats)
            memory = server.memory()
    echo_port = free_port()
    with _alone("echo", ["-c", _ECHO, str(echo_port)], directory, probe=echo_port) as echo:
        floor = _asked(echo, echo_port, _questions(directory, "A"), repeats)
    rows = []
    for kind, found, limit in (("A", a, _TARGET), ("SRV with addresses", srv, None)):
        rows += [
            Row(
                bench="dns",
                what=f"{kind}, queries/s on one core",
                measured=found.per_cpu,
                unit="q/s",
                against="answers nothing",
                reference=floor.per_cpu,
                limit=limit,
                at_least=True,
            ),
            Row(bench="dns", what=f"{kind}, as dnsperf has seen it", measured=found.per_second, unit="q/s", note=f"{found.lost} lost"),
            Row(bench="dns", what=f"{kind}, mean latency with 20 under way", measured=found.latency_ms, unit="ms"),
        ]
    rows.append(Row(bench="dns", what="memory", measured=memory, unit="MB", note=f"{_SERVICES:,} names"))
    return rows


@dataclass(frozen=True, kw_only=True)
class _Result:
    per_cpu: float
    per_second: float
    latency_ms: float
    lost: int


def _asked(server: Program, port: int, questions: Path, repeats: int) -> _Result:
    """The median of several rounds; before that all is asked for often enough to be prebuilt in every order."""
    _perf(port, questions, "-n", str(2 * _ENDPOINTS), "-l", "120")
    rounds = [_round(server, port, questions) for _ in range(repeats)]
    return _Result(
        per_cpu=median(one.per_cpu for one in rounds),
        per_second=median(one.per_second for one in rounds),
        latency_ms=median(one.latency_ms for one in rounds),
        lost=sum(one.lost for one in rounds),
    )


def _round(server: Program, port: int, questions: Path) -> _Result:
    cpu = server.cpu()
    text = _perf(port, questions, "-l", str(_SECONDS))
    sent, completed, lost = (int(_number(rf"Queries {word}: +(\d+)", text)) for word in ("sent", "completed", "lost"))
    if not completed or "NOERROR" not in text:
        raise RuntimeError(f"{sent} queries were sent, and nothing good came back:\n{text}")
    return _Result(
        per_cpu=completed / (server.cpu() - cpu),
        per_second=_number(r"Queries per second: +([\d.]+)", text),
        latency_ms=1000 * _number(r"Average Latency \(s\): +([\d.]+)", text),
        lost=lost,
    )


@contextlib.contextmanager
def _alone(name: str, command: list[str], directory: Path, *, probe: int) -> Iterator[Program]:
    """A child on the first core, once it answers at this port; dnsperf has the others."""
    with program(name, command, directory=directory) as running:
        os.sched_setaffinity(running.process.pid, {min(os.sched_getaffinity(0))})
        _until_answered(running, probe)
        yield running


def _until_answered(running: Program, port: int) -> None:
    query = dns.message.make_query(f"svc-0.ns.{_ZONE}", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.2)
        for _ in range(300):
            running.cpu()  # raises when it has ended
            with contextlib.suppress(OSError):
                asker.sendto(query, ("127.0.0.1", port))
                if not asker.recv(4096)[3] & 0x0F:
                    return
            time.sleep(0.1)
    raise TimeoutError(f"{running.name} does not answer: {running.tail()}")


def _perf(port: int, questions: Path, *options: str) -> str:
    cores = sorted(os.sched_getaffinity(0))[1:] or [0]
    words = [
        "taskset",
        "-c",
        ",".join(map(str, cores)),
        "dnsperf",
        "-s",
        "127.0.0.1",
        "-p",
        str(port),
        "-d",
        str(questions),
        "-c",
        "4",
        "-q",
        "20",
    ]
    return subprocess.run([*words, *options], capture_output=True, text=True, check=True, timeout=300).stdout


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"dnsperf says something else:\n{text}")
    return float(found[1])


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _questions(directory: Path, kind: str) -> Path:
    file = directory / f"questions-{kind}"
    names = [f"svc-{number}.ns.{_ZONE}" if kind == "A" else f"_svc-{number}._tcp.ns.{_ZONE}" for number in range(_SERVICES)]
    file.write_text("".join(f"{name} {kind}\n" for name in names))
    return file


def _publish(hosts: str) -> None:
    client = KazooClient(hosts)
    client.start()
    try:
        client.ensure_path(_ROOT)
        client.create(f"{_ROOT}/meta", f'{{"format":1,"installation":"i","dnsZone":"{_ZONE}"}}'.encode())
        for folder in (wire.NAMES, wire.ENDPOINTS, wire.TASKS):
            client.ensure_path(_ROOT + folder)
        for first in range(0, _SERVICES, 100):
            transaction = client.transaction()
            for number in range(first, first + 100):
                service = ServiceName(namespace="ns", name=f"svc-{number}")
                names = wire.encode_names(Names(service=service, names=(f"svc-{number}.ns",)))
                transaction.create(f"{_ROOT}{wire.NAMES}/{service}", names)
                transaction.create(f"{_ROOT}{wire.ENDPOINTS}/{service}", wire.encode_endpoints(_endpoints(number)).head)
            transaction.commit()
    finally:
        client.stop()
        client.close()


def _endpoints(number: int) -> EndpointSet:
    found = (
        Endpoint(id=f"t{number}.{n}", address=f"10.{n}.{number // 250}.{number % 250 + 1}", port=31000 + n, state=EndpointState.READY)
        for n in range(_ENDPOINTS)
    )
    return EndpointSet(generation=1, endpoints=tuple(found))
