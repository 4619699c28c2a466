"""`shuren dns` on a real ZooKeeper, asked over UDP and TCP by a library that nobody here wrote, and by dig where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
from kazoo.client import KazooClient

from engine_process import free_port
from powerdns_process import KEY, PowerDns, needs_powerdns, powerdns
from shuren.domain.service import wire
from shuren.domain.service.values import Endpoint, EndpointSet, EndpointState, Names, ServiceName
from waiting import eventually
from zookeeper_process import zookeeper

WEB = ServiceName(namespace="shop", name="web")
ROOT = "/shuren/bj1"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as given:
        yield given


@pytest.fixture
def operator(hosts: str) -> Iterator[KazooClient]:
    client = KazooClient(hosts)
    client.start()
    client.ensure_path(ROOT)
    client.create(f"{ROOT}/meta", b'{"format":1,"installation":"i","dnsZone":"mesos.test"}')
    for folder in (wire.NAMES, wire.ENDPOINTS, wire.TASKS):
        client.ensure_path(ROOT + folder)
    client.create(f"{ROOT}{wire.NAMES}/{WEB}", wire.encode_names(Names(service=WEB, names=("web.shop",))))
    client.create(f"{ROOT}{wire.ENDPOINTS}/{WEB}", encoded(1))
    yield client
    client.delete("/shuren", recursive=True)
    client.stop()
    client.close()


def encoded(count: int) -> bytes:
    found = (Endpoint(id=f"web.{n}:0", address=f"10.0.0.{n}", port=31000, state=EndpointState.READY) for n in range(1, count + 1))
    return wire.encode_endpoints(EndpointSet(generation=count, endpoints=tuple(found))).head


class Program:
    """One name server."""

    def __init__(self, hosts: str, state_dir: Path, *more: str, port: int = 0, environ: dict[str, str] | None = None) -> None:
        self.port = port or free_port()
        command = [sys.executable, "-m", "shuren.cli", "dns", "--zookeeper", hosts, "--root", ROOT, "--address", "127.0.0.1"]
        options = ["--port", str(self.port), "--state-dir", str(state_dir), "--metrics-port", "0"]
        environ = {**os.environ, **(environ or {})}
        self.process = subprocess.Popen([*command, *options, *more], stderr=subprocess.PIPE, text=True, env=environ)

    def ask(self, name: str = "web.shop.mesos.test", kind: str = "A", *, tcp: bool = False) -> list[str] | None:
        """The answer's records; None while nobody answers."""
        query = dns.message.make_query(name, kind)
        how = dns.query.tcp if tcp else dns.query.udp
        try:
            answer = how(query, "127.0.0.1", port=self.port, timeout=1.0)
        except (OSError, dns.exception.Timeout):
            return None
        if answer.rcode() in {dns.rcode.REFUSED, dns.rcode.SERVFAIL}:  # a PowerDNS that has no zone yet, or nothing was read yet
            return None
        assert answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
        return sorted(rdata.to_text() for rrset in answer.answer for rdata in rrset)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@pytest.fixture
def program(hosts: str, operator: KazooClient, tmp_path: Path) -> Iterator[Program]:
    assert operator
    made = Program(hosts, tmp_path)
    try:
        eventually(lambda: made.ask() == ["10.0.0.1"], seconds=60)
        yield made
    finally:
        if made.process.poll() is None:
            made.end(signal.SIGKILL)
        assert made.process.stderr is not None
        made.process.stderr.close()


def test_names_follow_zookeeper_over_udp_and_tcp(program: Program, operator: KazooClient) -> None:
    operator.set(f"{ROOT}{wire.ENDPOINTS}/{WEB}", encoded(2))
    eventually(lambda: program.ask() == ["10.0.0.1", "10.0.0.2"])
    assert program.ask(tcp=True) == ["10.0.0.1", "10.0.0.2"]
    assert program.ask("nobody.mesos.test") == []
    (first, _) = program.ask("_web._tcp.shop.mesos.test", "SRV") or ["", ""]
    assert first.startswith("0 100 31000 e-")
    assert program.end() == 0


def test_a_large_answer_is_cut_off_over_udp_and_whole_over_tcp(program: Program, operator: KazooClient) -> None:
    operator.set(f"{ROOT}{wire.ENDPOINTS}/{WEB}", encoded(100))
    eventually(lambda: len(program.ask(tcp=True) or ()) == 100)
    answer = dns.query.udp(dns.message.make_query("web.shop.mesos.test", "A"), "127.0.0.1", port=program.port, timeout=5.0)
    assert answer.flags & 0x0200


def test_who_knows_nothing_does_not_say_that_there_is_nothing(tmp_path: Path) -> None:
    """A name server that was started while ZooKeeper is away: "there is none" would be kept, after a failure clients ask another one."""
    alone = Program(f"127.0.0.1:{free_port()}", tmp_path, "--zone", "mesos.test")
    try:
        eventually(lambda: _code(alone) is not None, seconds=60)
        assert _code(alone) == dns.rcode.SERVFAIL
    finally:
        assert alone.end() == 0
        assert alone.process.stderr is not None
        alone.process.stderr.close()


def _code(program: Program) -> int | None:
    try:
        return dns.query.udp(dns.message.make_query("web.shop.mesos.test", "A"), "127.0.0.1", port=program.port, timeout=1.0).rcode()
    except (OSError, dns.exception.Timeout):
        return None


def test_it_starts_with_what_was_last_good_while_zookeeper_is_away(program: Program, tmp_path: Path) -> None:
    assert program.end() == 0
    nobody = f"127.0.0.1:{free_port()}"
    again = Program(nobody, tmp_path)
    try:
        eventually(lambda: again.ask() == ["10.0.0.1"], seconds=60)
    finally:
        assert again.end() == 0
        assert again.process.stderr is not None
        again.process.stderr.close()


def test_a_port_that_is_taken_is_one_sentence(program: Program, hosts: str) -> None:
    command = [sys.executable, "-m", "shuren.cli", "dns", "--zookeeper", hosts, "--root", ROOT, "--address", "127.0.0.1"]
    done = subprocess.run([*command, "--port", str(program.port)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"shuren dns: cannot serve DNS on 127.0.0.1:{program.port}: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed (apt-get install bind9-dnsutils)")
def test_dig_reads_the_answers(program: Program) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    command = ["dig", "@127.0.0.1", "-p", str(program.port), "+noall", "+answer", "+authority", "+comments"]
    found = subprocess.run(
        [*command, "web.shop.mesos.test"], capture_output=True, text=True, env=environment, timeout=30, check=True
    ).stdout
    assert "status: NOERROR" in found
    assert "10.0.0.1" in found
    missing = subprocess.run([*command, "x.mesos.test"], capture_output=True, text=True, env=environment, timeout=30, check=True).stdout
    assert "status: NXDOMAIN" in missing
    assert "SOA" in missing


@needs_powerdns
def test_powerdns_answers_what_it_is_told(hosts: str, operator: KazooClient, tmp_path: Path) -> None:
    (tmp_path / "pdns").mkdir()
    programs: list[Program] = []

    def start(server: PowerDns) -> Program:
        environ = {"SHUREN_POWERDNS_API_KEY": KEY}
        programs.append(Program(hosts, tmp_path, "--powerdns", server.url, port=server.port, environ=environ))
        return programs[-1]

    try:
        with powerdns(tmp_path / "pdns") as server:
            told = start(server)
            eventually(lambda: told.ask() == ["10.0.0.1"], seconds=30)
            operator.set(f"{ROOT}{wire.ENDPOINTS}/{WEB}", encoded(2))
            eventually(lambda: told.ask() == ["10.0.0.1", "10.0.0.2"], seconds=30)
            assert len(told.ask("_web._tcp.shop.mesos.test", "SRV") or ()) == 2
            assert told.ask("nobody.mesos.test") == []
            # it answers on without us
            assert told.end() == 0
            assert told.ask(tcp=True) == ["10.0.0.1", "10.0.0.2"]
            operator.delete(f"{ROOT}{wire.NAMES}/{WEB}")
            again = start(server)
            eventually(lambda: again.ask() == [], seconds=30)
            assert again.end() == 0
    finally:
        for program in programs:
            program.process.kill()
            program.process.communicate()
