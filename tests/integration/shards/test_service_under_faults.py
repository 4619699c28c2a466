"""A sharded key-value service (`shardkv`) while clients read and write without end: whatever befalls it, no acknowledged write is lost, no
read is stale, and nobody who was replaced is heard.

Every call is recorded. After each run, the history of each key must be linearizable, and no call may have been served under a fence below
one that had been answered under before it began. A reply that is older than the members' bound is discarded and its outcome unknown.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardkv.cluster import SESSION_SECONDS, Cluster, Run
from shardkv.operators import RealOperator, ThinOperator, wait_until
from shuren.devenv.background import Sandbox
from zookeeper_process import JAR, Ensemble

pytestmark = pytest.mark.usefixtures("unmeasured_programs")


class Stage:
    """The cluster that all tests here use, one after the other and in any order."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        self._count += 1
        place = self._directory / str(self._count)
        place.mkdir()
        self.thin = ThinOperator(place)
        self.cluster = Cluster(place, self.thin)
        try:
            self.cluster.begin(members=4, callers=2)
        except BaseException:
            self.end()
            raise

    def mended(self) -> Cluster:
        """As if nothing had befallen it before; another one if it cannot be mended, so that one test's failure is no other's."""
        try:
            self.thin.mend()
            self.cluster.mend()
        except (AssertionError, OSError):
            self.end()
            self._begin()
        return self.cluster

    def end(self) -> None:
        self.cluster.end()
        self.thin.end()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if not JAR.exists():
        pytest.skip("Debian's zookeeper is not installed (apt-get install zookeeper)")
    one = Stage(tmp_path_factory.mktemp("shardkv"))
    try:
        yield one
    finally:
        one.end()


@pytest.fixture
def cluster(stage: Stage) -> Cluster:
    return stage.mended()


@pytest.fixture
def ensemble(stage: Stage, cluster: Cluster) -> Ensemble:
    return stage.thin.ensemble


def _judge(run: Run, name: str, more: str = "") -> None:
    verdict = run.verdict()
    print(f"\n{name}: {verdict}{'; ' if more else ''}{more}")  # noqa: T201  what each fault was survived with
    assert verdict.faults == {}
    assert verdict.acknowledged > 50


def _busiest(cluster: Cluster) -> int:
    """The member that leads most shards."""
    return max(cluster.placed, key=cluster.leads)


def test_a_member_is_killed_and_comes_back_in_place(cluster: Cluster) -> None:
    """SIGKILL, and a start with the same disk before the delay: standbys take over, nothing is copied anew."""
    with cluster.traffic("killed") as run:
        number = _busiest(cluster)
        held, led = [row for row in cluster.rows() if number in row], cluster.leads(number)
        cluster.members[number].kill()
        # what the operator says is as of its last look: callers may be a moment ahead of it
        wait_until(lambda: cluster.leads(number) == 0, "standbys lead its shards")
        run.all_keys_answer()
        assert len([row for row in cluster.rows() if number in row]) == len(held), "its copies stay its own"
        cluster.members[number].start()
        cluster.rest()
    _judge(run, "killed, back in place", f"its {led} shards went to standbys and back")


def test_a_member_is_killed_for_good(cluster: Cluster) -> None:
    """SIGKILL, and nobody comes: after the delay its copies are made anew elsewhere. Then it is back with an old disk."""
    with cluster.traffic("lost") as run:
        number = _busiest(cluster)
        cluster.want(delay=0)
        cluster.members[number].kill()
        wait_until(lambda: not any(number in row for row in cluster.rows()), "its copies made anew")
        status = cluster.rest()
        cluster.want(delay=6.0)
        cluster.members[number].start()
        wait_until(lambda: cluster.leads(number), "it leads again")
        cluster.rest()
    _judge(run, "killed for good", f"{status['moves']} replicas made anew, at least {status['bound']}")


def test_a_member_is_stopped_beyond_its_session_and_resumed(cluster: Cluster) -> None:
    with cluster.traffic("stopped") as run:
        number = _busiest(cluster)
        cluster.members[number].signal(signal.SIGSTOP)
        wait_until(lambda: cluster.leads(number) == 0, "standbys lead its shards")
        run.all_keys_answer()
        cluster.members[number].signal(signal.SIGCONT)
        cluster.rest()
        wait_until(lambda: cluster.leads(number), "it leads again")
    _judge(run, "stopped beyond its session", f"session {SESSION_SECONDS} s")


def test_a_member_and_callers_are_cut_off_from_zookeeper(cluster: Cluster) -> None:
    """Both go on to see each other: the callers route by an old table to a member that has been replaced and does not know it."""
    with cluster.traffic("cut off") as run:
        number = _busiest(cluster)
        proxies = [cluster.members[number].proxy, cluster.callers[0].proxy]
        for proxy in proxies:
            proxy.cut()
        wait_until(lambda: cluster.leads(number) == 0, "standbys lead its shards")
        time.sleep(SESSION_SECONDS)
        for proxy in proxies:
            proxy.heal()
        cluster.rest()
        wait_until(lambda: cluster.leads(number), "it leads again")
    _judge(run, "cut off from ZooKeeper")


def test_a_member_is_added_and_one_removed(cluster: Cluster) -> None:
    with cluster.traffic("members") as run:
        new = cluster.add()
        cluster.want(members=[*cluster.placed, new])
        joined = cluster.rest()
        assert joined["proven"], "no table needs fewer moves"
        assert cluster.leads(new)
        leaver = cluster.placed[0]
        cluster.want(draining=[cluster.members[leaver].id])
        left = cluster.rest()
        assert left["proven"]
        assert not any(leaver in row for row in cluster.rows())
        cluster.members[leaver].stop()
        cluster.want(members=[n for n in cluster.placed if n != leaver], draining=[])
        cluster.rest()
    moved = f"{joined['moves']} and {left['moves']} replicas moved, bounds {joined['bound']} and {left['bound']}, none can do with fewer"
    _judge(run, "added and removed", moved)


def test_the_operator_is_killed_at_every_write_of_a_migration(cluster: Cluster) -> None:
    """After each single write to ZooKeeper, of moves and of publications: every life of the operator makes one, until a member is empty."""
    deaths = cluster.directory / "deaths"
    deaths.unlink(missing_ok=True)
    with cluster.traffic("operator") as run:
        leaver = cluster.placed[-1]
        cluster.want(draining=[cluster.members[leaver].id], deaths=str(deaths))
        cluster.rest()
        assert not any(leaver in row for row in cluster.rows())
        cluster.want(draining=[], deaths=None)
        cluster.rest()
    died_after = deaths.read_text().split("\n")[:-1]
    kinds = Counter(name.partition(":")[0] for name in died_after)
    # whether a primary also goes to somebody who has no copy yet, the plan decides
    moved = {f"replica {state}" for state in ("prepare", "catch-up", "drop")} | {"primary catch-up", "primary forward", "primary activate"}
    assert set(kinds) >= moved | {"remove", "publish pieces", "publish head", "forget"}
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    _judge(run, "operator killed", f"{len(died_after)} times, after each of its writes: {told}")


def test_the_leader_of_zookeeper_is_killed(cluster: Cluster, ensemble: Ensemble) -> None:
    """While a member is being emptied."""
    with cluster.traffic("leader") as run:
        leaver = cluster.placed[-1]
        cluster.want(draining=[cluster.members[leaver].id])
        wait_until(lambda: cluster.status.get("active"), "moves under way")
        number = ensemble.leader()
        assert number is not None
        ensemble.kill(number)
        wait_until(lambda: ensemble.leader() not in {None, number}, "another leader")
        cluster.rest()
        run.all_keys_answer()
        ensemble.start(number)
        cluster.want(draining=[])
        cluster.rest()
        wait_until(ensemble.all_serve, "three ZooKeeper servers")
    _judge(run, "leader of ZooKeeper killed")


def test_the_map_is_split_while_a_member_is_away(cluster: Cluster) -> None:
    """Twice as many shards: both partitionings, then the new one alone; who was killed finds its disk laid out by the old one."""
    with cluster.traffic("split") as run:
        (old,) = cluster.partitionings
        new = {"name": f"{old['name']}x2", "shards": old["shards"] * 2}
        away = _busiest(cluster)
        cluster.members[away].kill()
        wait_until(lambda: cluster.leads(away) == 0, "standbys lead its shards")
        cluster.want(partitionings=[old, new])
        wait_until(lambda: cluster.status.get("partitioning") == new["name"], "the map split")
        assert cluster.status["retiring"] == old["name"]
        run.all_keys_answer()
        cluster.members[away].start()
        cluster.rest()
        rows = cluster.rows()
        assert [sorted(row) for row in rows[::2]] == [sorted(row) for row in rows[1::2]]
        cluster.want(partitionings=[new])
        wait_until(lambda: cluster.status.get("retiring") == "", "the old partitioning retired")
        at_rest = cluster.rest()
        held = Counter(number for row in cluster.rows() for number in row)
        assert max(held.values()) - min(held.values()) <= 1
    _judge(run, "split", f"{old['shards']} to {new['shards']} shards, then {at_rest['moves']} replicas moved, at least {at_rest['bound']}")


def test_a_careless_member_would_be_found_out(cluster: Cluster) -> None:
    """The proof of the proof: one that does not ask its lease is cut off, and callers that are cut off too go on to ask it."""
    before = list(cluster.placed)
    careless = cluster.add(module="careless")
    cluster.want(members=[*before, careless])
    cluster.rest()
    with cluster.traffic("careless") as run:
        proxies = [cluster.members[careless].proxy, cluster.callers[0].proxy]
        for proxy in proxies:
            proxy.cut()
        wait_until(lambda: cluster.leads(careless) == 0, "standbys lead its shards")
        time.sleep(SESSION_SECONDS)
        for proxy in proxies:
            proxy.heal()
    verdict = run.verdict()
    print(f"\na careless member: {verdict}")  # noqa: T201
    assert any("no order explains" in why for why in verdict.faults.values())
    assert any("had served under" in why for why in verdict.faults.values())


def test_all_at_once_under_the_real_operator(operated: Sandbox, operated_namespace: str, tmp_path: Path) -> None:
    """A ShardMap on the real API server: a member is killed, one stopped beyond its session, one comes, one is emptied, the map split."""
    real = RealOperator(operated, operated_namespace)
    cluster = Cluster(tmp_path, real)
    try:
        cluster.begin(members=4, callers=2)
        with cluster.traffic("real") as run:
            killed = _busiest(cluster)
            cluster.members[killed].kill()
            wait_until(lambda: cluster.leads(killed) == 0, "standbys lead its shards")
            cluster.members[killed].start()
            wait_until(lambda: cluster.leads(killed), "it leads again")
            cluster.rest()
            stopped = _busiest(cluster)
            cluster.members[stopped].signal(signal.SIGSTOP)
            wait_until(lambda: cluster.leads(stopped) == 0, "standbys lead its shards")
            run.all_keys_answer()
            cluster.members[stopped].signal(signal.SIGCONT)
            cluster.rest()
            new = cluster.add()
            cluster.want(members=[*cluster.placed, new])
            wait_until(lambda: cluster.leads(new), "it leads")
            joined = cluster.rest()
            cluster.want(draining=[cluster.members[0].id])
            cluster.rest()
            assert not any(0 in row for row in cluster.rows())
            (old,) = cluster.partitionings
            cluster.want(draining=[], partitionings=[old, {"name": "p2", "shards": old["shards"] * 2}])
            wait_until(lambda: cluster.status.get("partitioning") == "p2", "the map split")
            run.all_keys_answer()
            cluster.want(partitionings=cluster.partitionings[1:])
            cluster.rest()
            assert len(cluster.rows()) == 2 * old["shards"]
        _judge(run, "the real operator", f"{joined['moves']} replicas moved for the one that came, at least {joined['bound']}")
    finally:
        cluster.end()
        real.end()
