"""A load through HAProxy: what is planned costs no request; what breaks costs what was under way there and no more.

Planned: roll-outs and scaling, and restarts of all that is not the path of the traffic, killed or stopped. The app finishes what it has on
SIGTERM, as the sample says.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from real_parts import running
from shuren.devenv.load import MIX
from shuren.devenv.options import Options
from shuren.devenv.processes import ProcessId
from traffic_room import INSTANCES, Traffic, more, only_in_flight
from waiting import eventually


@pytest.fixture(scope="module")
def _everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    me = ProcessId.of(os.getpid())
    options = Options(state_dir=tmp_path_factory.mktemp("lb"), agents=2, operators=1, load_balancers=1, owner=me)
    with running(options) as sandbox:
        traffic = Traffic(sandbox=sandbox)
        traffic.prepare()
        yield traffic


@pytest.fixture
def traffic(_everything: Traffic) -> Traffic:
    _everything.settled()
    return _everything


def test_a_rolling_update(traffic: Traffic) -> None:
    before = set(traffic.tasks())
    with traffic.load("rolling update") as tally:
        traffic.roll()
        traffic.settled()
        eventually(lambda: not before & set(traffic.tasks()))
    assert tally.failed == []


def test_scaling_up_and_down(traffic: Traffic) -> None:
    with traffic.load("scaling up and down") as tally:
        for instances in (INSTANCES + 2, INSTANCES):
            traffic.scale(instances)
            traffic.settled()
        eventually(lambda: len(traffic.tasks()) == INSTANCES)
    assert tally.failed == []


def test_the_operator_killed_in_the_middle_of_a_rolling_update(traffic: Traffic) -> None:
    with traffic.load("operator killed while it rolls") as tally:
        traffic.roll()
        traffic.sandbox.kill("operator")
        more(tally, 200)
        traffic.sandbox.start("operator")
        traffic.settled()
    assert tally.failed == []


@pytest.mark.parametrize("part", ["engine", "zookeeper"])
def test_a_restart_of_what_the_traffic_does_not_pass(traffic: Traffic, part: str) -> None:
    with traffic.load(f"{part} restarted") as tally:
        traffic.sandbox.stop(part)
        more(tally, 200)
        traffic.sandbox.start(part)
        traffic.settled()
    assert tally.failed == []


def test_the_agent_killed_and_what_it_missed_made_up_for(traffic: Traffic) -> None:
    with traffic.load("agent of the load balancer killed") as tally:
        haproxies = traffic.haproxies()
        traffic.sandbox.kill("lb")
        more(tally, 200)
        traffic.sandbox.start("lb")
        traffic.scale(INSTANCES + 1)
        traffic.settled()
        traffic.scale(INSTANCES)
        traffic.settled()
        assert traffic.haproxies() == haproxies
    assert tally.failed == []


def test_a_reload_for_a_new_listener(traffic: Traffic) -> None:
    before = set(traffic.haproxies())
    with traffic.load("HAProxy reloaded") as tally:
        traffic.add_listener("more", 8081)
        assert set(traffic.haproxies()) - before, "a new worker"
        more(tally, 200)
        traffic.sandbox.kubectl("-n", "traffic", "delete", "paasservice", "more", "--timeout=60s")
    assert tally.failed == []


def test_a_task_that_crashes_takes_only_what_it_had(traffic: Traffic) -> None:
    with traffic.load("task crashed") as tally:
        victim = traffic.tasks()[0]
        victim.signal(signal.SIGKILL)
        eventually(lambda: not victim.alive(), every=0.001)
        gone = time.monotonic()
        more(tally, 200)
        traffic.settled()
    only_in_flight(tally.failed, gone=gone)


def test_haproxy_killed_comes_back_by_itself(traffic: Traffic) -> None:
    """Every client loses what was on its connection, at most one request; connections are refused while it is away, and not after."""
    with traffic.load("HAProxy killed") as tally:
        killed = traffic.haproxies()
        for process in killed:
            process.signal(signal.SIGKILL)
        eventually(lambda: not any(process.alive() for process in killed))
        more(tally, 100)
        back = time.monotonic()
        more(tally, 200)
    lost = [f for f in tally.failed if f.sent]
    assert len(lost) <= len(MIX), [str(f) for f in lost]
    assert all(f.began < back for f in tally.failed)
