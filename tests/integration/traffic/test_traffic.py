"""A load through HAProxy: what is planned costs no request; what breaks costs what was under way there and no more.

Planned: roll-outs, scaling, and restarts and fail-overs of all that is not the path of the traffic, killed or stopped. All tests together
send 50,000 requests and more over kept and new connections, with bodies, long downloads and websockets.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from real_parts import running
from shuren.devenv.options import Options
from shuren.devenv.pki import Authority
from shuren.devenv.processes import ProcessId
from traffic_room import AGENTS, HOST, INSTANCES, REQUESTS, Heard, Traffic, only_lost_with, plain
from waiting import eventually

pytestmark = pytest.mark.usefixtures("unmeasured_programs")


@pytest.fixture(scope="module")
def _everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    me = ProcessId.of(os.getpid())
    options = Options(
        state_dir=tmp_path_factory.mktemp("lb"), agents=AGENTS, operators=1, zookeepers=3, engines=2, load_balancers=2, owner=me
    )
    with running(options) as sandbox:
        traffic = Traffic(sandbox=sandbox, directory=tmp_path_factory.mktemp("asked"))
        with closing(traffic):
            traffic.prepare()
            yield traffic


@pytest.fixture
def traffic(_everything: Traffic) -> Traffic:
    _everything.settled()
    return _everything


# --------------------------------------------------------------------------------------------------------------- planned


def test_a_rolling_update(traffic: Traffic) -> None:
    before = set(traffic.tasks())
    with traffic.load("rolling update") as load:
        traffic.roll()
        traffic.settled()
        assert not before & set(traffic.tasks())
    assert load.failed == []


def test_a_gated_canary_by_steps(traffic: Traffic) -> None:
    """Half of the way the old and the new version answer side by side; the old one goes when it is drained on both load balancers."""
    before, lived_on = set(traffic.tasks()), traffic.app_id
    traffic.change(rollout={"strategy": "Gated", "steps": [{"weight": 20, "maxErrorRate": 0}, {"weight": 60, "durationSeconds": 1}]})
    with traffic.load("gated canary") as load:
        traffic.roll()
        eventually(lambda: traffic.weight() == 60, seconds=60)
        heard = traffic.heard()
        traffic.settled()
        after = set(traffic.tasks())
    traffic.change(rollout={"strategy": None, "steps": None})
    assert load.failed == []
    assert not before & after
    assert traffic.app_id == f"{lived_on}-alt"
    new, old = (sum(heard[task].begun.total() for task in heard.keys() & tasks) for tasks in (after, before))
    assert old > new > 0


def test_scaling_up_and_down(traffic: Traffic) -> None:
    with traffic.load("scaling up and down") as load:
        for instances in (INSTANCES + 2, INSTANCES):
            traffic.scale(instances)
            traffic.settled()
    assert load.failed == []


def test_the_operator_killed_in_the_middle_of_a_rolling_update(traffic: Traffic) -> None:
    with traffic.load("operator killed while it rolls") as load:
        traffic.roll()
        eventually(lambda: len(traffic.tasks()) > INSTANCES)
        traffic.sandbox.kill("operator")
        load.more(500)
        traffic.sandbox.start("operator")
        traffic.settled()
    assert load.failed == []


def test_the_leading_engine_killed_in_the_middle_of_a_rolling_update(traffic: Traffic) -> None:
    leader = traffic.leading_engine()
    with traffic.load("engine failed over while it rolls") as load:
        traffic.roll()
        eventually(lambda: len(traffic.tasks()) > INSTANCES)
        traffic.sandbox.kill(leader)
        load.more(500)
        traffic.settled()
        assert traffic.leading_engine() != leader
    traffic.sandbox.start(leader)
    assert load.failed == []


def test_the_leader_of_zookeeper_killed(traffic: Traffic) -> None:
    leader = traffic.leading_zookeeper()
    with traffic.load("leader of ZooKeeper killed") as load:
        traffic.sandbox.kill(leader)
        traffic.scale(INSTANCES + 1)
        traffic.settled()
        assert traffic.leading_zookeeper() != leader
        traffic.sandbox.start(leader)
        traffic.scale(INSTANCES)
        traffic.settled()
    assert load.failed == []


def test_all_of_zookeeper_and_both_engines_away_and_back(traffic: Traffic) -> None:
    with traffic.load("ZooKeeper and engines away") as load:
        for part in ("engine", "zookeeper"):
            traffic.sandbox.stop(part)
        load.more(1000)
        for part in ("zookeeper", "engine"):
            traffic.sandbox.start(part)
        traffic.settled()
    assert load.failed == []


def test_an_agent_killed_and_what_it_missed_made_up_for(traffic: Traffic) -> None:
    with traffic.load("agent of a load balancer killed") as load:
        haproxies = traffic.haproxies()
        traffic.sandbox.kill("lb=1")
        traffic.scale(INSTANCES + 1)
        load.more(500)
        traffic.sandbox.start("lb=1")
        traffic.settled()
        traffic.scale(INSTANCES)
        traffic.settled()
        assert traffic.haproxies() == haproxies
    assert load.failed == []


def test_reloads_for_a_new_listener_and_for_its_end(traffic: Traffic) -> None:
    before = traffic.haproxies()
    with traffic.load("HAProxy reloaded") as load:
        traffic.add_listener("more", plain(8081))
        assert traffic.haproxies() - before, "a new worker"
        load.more(500)
        traffic.remove_listener("more")
    assert load.failed == []


def test_a_certificate_from_a_secret_its_renewal_and_one_that_does_not_fit(traffic: Traffic, tmp_path: Path) -> None:
    """Fetched by the load balancers' own ServiceAccount, which may read this Secret; renewed without a reload; what is wrong is told."""
    authority = Authority(tmp_path)
    one, two = (authority.server(name, common_name=name) for name in ("one", "two"))
    tls = {"certificates": [{"secretRef": {"name": "secure-tls"}}]}
    with traffic.load("certificates") as load:
        traffic.certificate("secure-tls", one.certificate, one.key)
        traffic.add_listener("secure", {"name": "https", "protocol": "HTTPS", "port": 8443, "hosts": [HOST], "tls": tls})
        assert _shown(traffic) == {"one"}
        reloads = traffic.reloads("secure")
        traffic.certificate("secure-tls", two.certificate, two.key)
        eventually(lambda: _shown(traffic) == {"two"}, seconds=30)
        traffic.certificate("secure-tls", one.certificate, two.key)
        eventually(lambda: bool(_stalled(traffic, "secure")), seconds=30)
        told = _stalled(traffic, "secure")
        assert _shown(traffic) == {"two"}, "the one from before stays"
        traffic.certificate("secure-tls", one.certificate, one.key)
        eventually(lambda: _shown(traffic) == {"one"} and not _stalled(traffic, "secure"), seconds=30)
        assert traffic.reloads("secure") == reloads
        traffic.remove_listener("secure")
    assert load.failed == []
    assert "spec.loadBalancer.listeners[0].tls.certificates[0].secretRef: certificate in Secret traffic/secure-tls" in told
    assert "its key does not belong to its certificate; the one from before stays in use" in told


def _stalled(traffic: Traffic, name: str) -> str:
    conditions = traffic.resource("paasservice", name)["status"]["conditions"]
    return next((str(c["message"]) for c in conditions if c["type"] == "Stalled" and c["reason"] == "RouteRefused"), "")


def _shown(traffic: Traffic) -> set[str]:
    """Names in the certificates that the load balancers show."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found = set()
    for address in traffic.sandbox.endpoints.lb_addresses:
        with (
            socket.create_connection((address, 8443), timeout=10) as plain_socket,
            context.wrap_socket(plain_socket, server_hostname=HOST) as secured,
        ):
            shown = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
            found.add(str(shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value))
    return found


# ----------------------------------------------------------------------------------------------------------- what breaks


def _busy(traffic: Traffic) -> set[str]:
    """Tasks with more than one long answer under way."""
    return {task for task, heard in traffic.heard().items() if len(_under_way(heard)) > 1} & set(traffic.tasks())


def _under_way(heard: Heard) -> frozenset[str]:
    return heard.first - heard.last


def test_a_task_that_crashes_takes_only_what_it_had(traffic: Traffic) -> None:
    with traffic.load("task crashed") as load:
        eventually(lambda: bool(_busy(traffic)), every=0.02)
        name = min(_busy(traffic))
        victim = traffic.tasks()[name]
        victim.signal(signal.SIGKILL)
        eventually(lambda: not victim.alive(), every=0.001)
        gone = time.monotonic()
        load.more(500)
        traffic.settled()
    only_lost_with(traffic, load, {name}, gone=gone)
    assert load.failed, "it had long answers under way"


def test_an_agent_lost_with_all_its_tasks(traffic: Traffic) -> None:
    tasks = traffic.engine.tasks(traffic.app_id)
    host = min(task["host"] for task in tasks.values())
    dead = {name for name, task in tasks.items() if task["host"] == host}
    spec = next(a for a in traffic.engine.ask("GET", "/sandbox/agents")["agents"] if a["hostname"] == host)
    processes = [traffic.tasks()[name] for name in dead]
    with traffic.load("agent lost") as load:
        traffic.engine.ask("DELETE", f"/sandbox/agents/{host}?gone=true")
        eventually(lambda: not any(process.alive() for process in processes), every=0.001)
        gone = time.monotonic()
        load.more(500)
        traffic.settled()
    traffic.engine.ask("POST", "/sandbox/agents", {name: spec[name] for name in ("hostname", "cpus", "mem", "disk", "attributes")})
    only_lost_with(traffic, load, dead, gone=gone)


def test_haproxy_killed_comes_back_by_itself(traffic: Traffic) -> None:
    """Lost is what it had under way; its clients go to the other load balancer while it is away."""
    with traffic.load("HAProxy killed") as load:
        eventually(lambda: len(traffic.haproxies(1)) == 2)  # no worker of before a reload, no check of a configuration
        killed = traffic.haproxies(1)
        before = time.monotonic()
        for process in killed:
            process.signal(signal.SIGKILL)
        eventually(lambda: not any(process.alive() for process in killed), every=0.001)
        gone = time.monotonic()
        handed_out = frozenset[str]().union(*(heard.ended for heard in traffic.heard().values()))
        load.more(500)
        eventually(lambda: len(traffic.haproxies(1)) == 2)
        back = time.monotonic()
        load.more(500)
    address = traffic.sandbox.endpoints.lb_addresses[0]
    there = [r for r in load.requests if r.address == address and r.began <= gone and r.ended >= before]
    assert [r for r in load.failed if r not in there] == []
    # a client may read late what it was sent in time; what no task had handed out yet cannot have come through
    assert [r for r in there if not r.wrong and r.number not in handed_out] == []
    assert any(r.address == address and r.began > back and not r.wrong for r in load.requests)


def test_the_suite_sends_enough(request: pytest.FixtureRequest) -> None:
    module = request.module
    assert REQUESTS * (sum(name.startswith("test_") for name in vars(module)) - 1) >= 50_000
