"""Two replicas: one leads, the other takes over when it is killed, frozen or stopped, and there is never a second hand on anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shuren.devenv.parts import CLUSTER, ZOOKEEPER_ROOT
from shuren.devenv.probes import HttpProbe, ready
from shuren.devenv.state import PartStatus
from tenant import Tenant, epoch, leads, lease_holder, looking, now, sleeper, web
from zookeeper_log import unfenced

LEASE_SECONDS = 15.0


@pytest.fixture
def pair(unlucky: Tenant) -> Iterator[Tenant]:
    """A user, once there is a leader and somebody to follow it; afterwards every write to ZooKeeper is looked at."""
    unlucky.until(lambda: lease_holder(unlucky.rest) in {"operator-1", "operator-2"} and leads(unlucky.sandbox, _part(_leader(unlucky))))
    yield unlucky
    assert unfenced(unlucky.sandbox.place.root / "zookeeper" / "1" / "data", ZOOKEEPER_ROOT) == []


def _leader(tenant: Tenant) -> str:
    return lease_holder(tenant.rest)


def _other(name: str) -> str:
    return "operator-2" if name == "operator-1" else "operator-1"


def _part(name: str) -> str:
    return name.replace("-", "=")


def _taken_over(tenant: Tenant, by: str) -> None:
    tenant.until(lambda: lease_holder(tenant.rest) == by and epoch(tenant.sandbox)["holder"] == by)


def test_a_killed_leader_is_followed_and_the_follower_s_epoch_is_higher(pair: Tenant) -> None:
    leader = _leader(pair)
    pair.run("web", web("1"))
    before = epoch(pair.sandbox)
    assert before["holder"] == leader
    with looking(lambda: set(pair.tasks("web"))) as tasks:
        pair.apply("web", web("2"))
        pair.until(lambda: len(pair.versions("web")) == 2)

        pair.sandbox.kill(_part(leader))

        _taken_over(pair, _other(leader))
        pair.wait("web")
    assert pair.answers("web") == ["2", "2"]
    assert len(pair.versions("web")) == 2, "nothing was written twice"
    assert len(set().union(*tasks)) == 4, "two of each version"
    assert epoch(pair.sandbox)["n"] == before["n"] + 1


def test_what_a_frozen_leader_had_in_its_hand_is_put_right_and_it_does_no_more_when_it_goes_on(pair: Tenant) -> None:
    leader = _leader(pair)
    pair.run("web", sleeper())
    pair.run("gone", sleeper())
    # Marathon has no fence: the one request that was sent before it froze arrives when Marathon takes it
    pair.engine.ask("PUT", "/sandbox/faults", {"http": [{"path": "^/v2/apps", "methods": ["PUT"], "hold": True, "count": 1}]})
    pair.apply("web", sleeper(cmd="exec sleep 1111"))
    pair.until(lambda: pair.engine.ask("GET", "/sandbox/faults")["http"][0]["count"] == 0)
    pair.sandbox.pause(_part(leader))

    # what it would do on its old picture if it were let: undo the change, bring the deleted app back
    pair.apply("web", sleeper(cmd="exec sleep 2222"))
    pair.kubectl("delete", "paasapp", "gone", "--timeout=90s")
    pair.wait("web")
    follower = _other(leader)
    held = epoch(pair.sandbox)
    assert (lease_holder(pair.rest), held["holder"]) == (follower, follower)
    assert len(pair.versions("web")) == 2, "the follower's one write after the first"

    pair.engine.no_faults()
    pair.until(lambda: len(pair.versions("web")) == 4, about="web")
    assert "CorrectingDrift" in {event["reason"] for event in pair.events()}
    pair.wait("web")
    assert (pair.engine.app(pair.app_id("web")) or {})["cmd"] == "exec sleep 2222"
    versions, tasks = pair.versions("web"), set(pair.tasks("web"))
    log = _log(pair, leader)
    said = log.stat().st_size

    pair.sandbox.resume(_part(leader))

    pair.until(lambda: "not leading any more" in log.read_bytes()[said:].decode(errors="replace"))
    # the old one is awake, knows that it does not lead, and has seen the present world
    pair.until(lambda: not leads(pair.sandbox, _part(leader)))
    pair.run("after", sleeper())
    assert (lease_holder(pair.rest), epoch(pair.sandbox)) == (follower, held)
    assert pair.versions("web") == versions
    assert set(pair.tasks("web")) == tasks
    assert pair.engine.app(pair.app_id("gone")) is None
    assert set(pair.claims()) == {pair.app_id("web"), pair.app_id("after")}


def _log(tenant: Tenant, name: str) -> Path:
    return Path(tenant.sandbox.part(_part(name)).log)


def test_a_stopped_leader_hands_over_without_waiting_for_its_lease_to_run_out(pair: Tenant) -> None:
    leader = _leader(pair)
    pair.run("web", sleeper())
    stopped_at = now()

    pair.sandbox.stop(_part(leader))

    _taken_over(pair, _other(leader))
    assert now() - stopped_at < LEASE_SECONDS
    pair.apply("web", sleeper(cmd="exec sleep 3333"))
    pair.wait("web")
    assert "not leading any more: shutting down" in _log(pair, leader).read_text()


async def test_one_of_two_replicas_is_killed_and_comes_back_while_the_other_runs(pair: Tenant) -> None:
    """With the rights that are granted: what one asks for when it starts is refused as little as anything else."""
    sandbox = pair.sandbox
    cluster = sandbox.get("mesoscluster", CLUSTER)
    assert [one["status"] for one in cluster["status"]["conditions"] if one["type"] == "Ready"] == ["True"]
    assert cluster["spec"]["zookeeper"]["hosts"] == sandbox.endpoints.zookeeper_hosts.split(",")
    sandbox.kill("operator=1")
    assert sandbox.part("operator=1").status is PartStatus.KILLED
    second = sandbox.part("operator=2")
    assert second.status is PartStatus.RUNNING
    assert await ready(HttpProbe(url=f"http://127.0.0.1:{second.ports['metrics']}/healthz")) is None
    sandbox.start("operator=1")
    assert sandbox.part("operator=1").status is PartStatus.RUNNING
