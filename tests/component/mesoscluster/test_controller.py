"""The MesosCluster controller on fakes: what a person sees on the resource."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

import estate_world
from estate_room import ROOT, pass_time
from shuren.api.v1alpha1 import mesoscluster as api
from shuren.clients.fakes.zookeeper import FakeZooKeeper
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.mesoscluster.controller import MesosClusterController
from shuren.domain.cluster import Amounts, Login, MesosSummary
from shuren.domain.errors import Denied, Fenced, Unreachable
from shuren.domain.identity import ObjectKey
from shuren.ports.events import Severity
from shuren.ports.kubernetes import MESOS_CLUSTERS, SECRETS, Object
from shuren.runtime.controller import Outcome
from shuren.runtime.store import Store
from strict_kubernetes import StrictKubernetes

_KEY = ObjectKey(kind="MesosCluster", namespace="", name="bj1")
_SPEC: dict[str, Any] = {
    "marathon": {"urls": ["http://marathon:8080"]},
    "mesos": {"masters": ["http://mesos:5050"]},
    "zookeeper": {"hosts": ["zk:2181"], "root": "/shuren/bj1"},
}
_SUMMARY = MesosSummary(
    version="1.11.0", leader="mesos:5050", agents=2, total=Amounts(cpus=8, mem=1024, disk=10), used=Amounts(cpus=1.05, mem=100)
)


class Recorder:
    """Remembers events."""

    def __init__(self) -> None:
        self.events: list[tuple[Severity, str]] = []

    def record(self, regarding: Object, *, severity: Severity, reason: str, action: str, note: str) -> None:
        assert regarding["metadata"]["name"] == "bj1"
        assert action
        assert note
        self.events.append((severity, reason))


class World(estate_world.World):
    """One MesosCluster, its resource and its controller, over an estate."""

    def __init__(self) -> None:
        self.kubernetes = StrictKubernetes()
        self.store = Store()
        self.recorder = Recorder()
        self.read_secrets = True
        self.denied: Denied | None = None
        self.required: frozenset[ObjectKey] = frozenset()
        super().__init__(_SUMMARY)

    def begin(self) -> None:
        """A new operator process, with the controller."""
        super().begin()
        self.controller = MesosClusterController(
            store=self.store,
            kubernetes=self.kubernetes,
            estate=self.estate,
            references=self,
            recorder=self.recorder,
            leadership=self.lead,
            clock=self.clock,
        )

    async def restart(self) -> None:
        """The process ends and another one begins."""
        await self.estate.close()
        self.begin()

    def require(self, owner: ObjectKey, wanted: frozenset[ObjectKey]) -> Mapping[ObjectKey, Object | None] | None:
        """Secrets straight from the fake API server."""
        assert owner == _KEY
        self.required = wanted
        if self.denied is not None:
            raise self.denied
        if not self.read_secrets:
            return None
        known = {(s["metadata"]["namespace"], s["metadata"]["name"]): s for s in self.kubernetes.all(SECRETS)}
        return {key: known.get((key.namespace, key.name)) for key in wanted}

    def apply(self, **spec: Any) -> None:
        self.kubernetes.user_apply(
            MESOS_CLUSTERS,
            {
                "apiVersion": "paas.shurenyun.com/v1alpha1",
                "kind": "MesosCluster",
                "metadata": {"name": "bj1"},
                "spec": {**_SPEC, **spec},
            },
        )

    def secret(self, name: str, **data: str) -> None:
        encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.kubernetes.user_apply(SECRETS, {"kind": "Secret", "metadata": {"namespace": "ops", "name": name}, "data": encoded})

    def watch(self) -> None:
        """What a watch would bring."""
        items = self.kubernetes.all(MESOS_CLUSTERS)
        for item in items:
            self.store.put(_KEY, item)
        if not items:
            self.store.remove(_KEY)

    async def passes(self, count: int = 3, *, every: float = 1.0) -> Outcome:
        outcome = Outcome()
        for _ in range(count):
            self.watch()
            outcome = await self.controller.reconcile(_KEY)
            await pass_time(self.clock, every)
        self.watch()
        return outcome

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.kubernetes.all(MESOS_CLUSTERS)[0].get("status") or {})

    def condition(self, kind: str) -> dict[str, Any] | None:
        return next((dict(c) for c in self.status.get("conditions", ()) if c["type"] == kind), None)

    def truth(self, kind: str) -> tuple[str, str] | None:
        found = self.condition(kind)
        return None if found is None else (found["status"], found["reason"])


@asynccontextmanager
async def _world() -> AsyncIterator[World]:
    world = World()
    try:
        yield world
    finally:
        await world.estate.close()


async def test_a_good_cluster_becomes_ready_and_says_what_it_found() -> None:
    async with _world() as world:
        world.apply()
        outcome = await world.passes(4)
        assert world.truth("Ready") == ("True", "Connected")
        assert world.truth("MarathonReachable") == ("True", "Reachable")
        assert world.truth("ZooKeeperReachable") == ("True", "Reachable")
        assert world.truth("MesosReachable") == ("True", "Reachable")
        assert world.condition("Reconciling") is None
        assert world.condition("Stalled") is None
        status = world.status
        assert status["observedGeneration"] == 1
        assert status["marathon"]["reachable"] is True
        assert status["marathon"]["version"] == world.marathon.world.info.version
        assert status["mesos"] == {"reachable": True, "version": "1.11.0", "leader": "mesos:5050", "agents": 2}
        assert status["counts"] == {"apps": 1, "managed": 0, "tasks": 0, "deployments": 0}
        assert status["resources"]["total"]["cpus"] == 8
        assert status["resources"]["used"]["cpus"] == 1.2, "in steps of a twentieth"
        assert outcome.requeue_after == 30
        assert world.recorder.events == [(Severity.NORMAL, "Connected")]
        api.MesosClusterStatus.model_validate(status)


async def test_a_first_look_says_at_once_that_it_is_not_ready_yet() -> None:
    async with _world() as world:
        world.apply()
        await world.passes(1, every=0)
        assert world.truth("Ready") is not None
        assert world.truth("Reconciling") is not None


async def test_an_unchanged_world_is_not_written_again() -> None:
    async with _world() as world:
        world.apply()
        await world.passes(5)
        before = world.kubernetes.writes
        await world.passes(20, every=30)
        assert world.kubernetes.writes == before


async def test_a_marathon_that_is_away_for_a_moment_changes_nothing() -> None:
    async with _world() as world:
        world.apply()
        await world.passes(5)
        before = world.kubernetes.writes
        world.marathon.down = Unreachable("no leader")
        world.marathon.world.cut_streams()
        await world.passes(10, every=1)
        world.marathon.down = None
        await world.passes(10, every=1)
        changed = [entry for entry in world.kubernetes.log[before:] if "status" in entry]
        assert len(changed) <= 1, "only the time of the last full sync"
        assert world.truth("Ready") == ("True", "Connected")
        assert world.recorder.events == [(Severity.NORMAL, "Connected")]


async def test_a_marathon_that_stays_away_is_told_and_heals() -> None:
    async with _world() as world:
        world.apply(unreachableGraceSeconds=20)
        await world.passes(5)
        transition = world.condition("MarathonReachable")
        world.marathon.down = Unreachable("connection refused")
        world.marathon.world.cut_streams()
        await world.passes(30, every=1)
        assert world.truth("Ready") == ("False", "MarathonUnreachable")
        assert world.truth("Reconciling") == ("True", "MarathonUnreachable")
        assert world.condition("Stalled") is None
        ready = world.condition("Ready")
        assert ready is not None
        assert "connection refused" in ready["message"]
        assert world.status["marathon"]["reachable"] is False
        assert world.status["counts"]["apps"] == 1, "what was last known stays"
        world.marathon.down = None
        await world.passes(10, every=1)
        assert world.truth("Ready") == ("True", "Connected")
        assert world.recorder.events == [
            (Severity.NORMAL, "Connected"),
            (Severity.WARNING, "MarathonUnreachable"),
            (Severity.NORMAL, "Connected"),
        ]
        assert transition is not None
        back = world.condition("MarathonReachable")
        assert back is not None
        assert back["lastTransitionTime"] > transition["lastTransitionTime"]


async def test_a_marathon_that_never_answered_is_told_at_once() -> None:
    async with _world() as world:
        world.marathon.down = Unreachable("name or service not known")
        world.apply()
        await world.passes(3)
        assert world.truth("Ready") == ("False", "MarathonUnreachable")


async def test_refused_credentials_need_a_person() -> None:
    async with _world() as world:
        world.marathon.down = Denied("401 Unauthorized")
        world.apply()
        await world.passes(3)
        assert world.truth("Ready") == ("False", "MarathonDenied")
        stalled = world.condition("Stalled")
        assert stalled is not None
        assert "authSecretRef" in stalled["message"]


async def test_a_silent_mesos_does_not_make_the_cluster_unready() -> None:
    async with _world() as world:
        world.mesos.answer = Unreachable("no master")
        world.apply()
        await world.passes(5)
        assert world.truth("Ready") == ("True", "Connected")
        assert world.truth("MesosReachable") == ("False", "Unreachable")
        assert world.status["mesos"] == {"reachable": False}


async def test_a_missing_secret_is_waited_for_by_name_and_comes() -> None:
    async with _world() as world:
        world.apply(marathon={**_SPEC["marathon"], "authSecretRef": {"namespace": "ops", "name": "m"}})
        await world.passes(2)
        assert world.truth("Ready") == ("False", "SecretNotReady")
        ready = world.condition("Ready")
        assert ready is not None
        assert "ops/m" in ready["message"]
        assert world.condition("Stalled") is None
        assert world.factory.made == []
        world.secret("m", username="u")
        await world.passes(1)
        ready = world.condition("Ready")
        assert ready is not None
        assert "username and password" in ready["message"]
        world.secret("m", username="u", password="hush")
        await world.passes(4)
        assert world.truth("Ready") == ("True", "Connected")
        assert world.factory.made[0].rotations[0].marathon == Login(username="u", password="hush")
        assert "hush" not in str(world.kubernetes.all(MESOS_CLUSTERS))
        assert "hush" not in repr(world.factory.made[0].rotations)


async def test_a_missing_right_is_told_and_waited_for() -> None:
    async with _world() as world:
        world.secret("m", token="t")
        world.denied = Denied("secrets is forbidden")
        world.apply(marathon={**_SPEC["marathon"], "authSecretRef": {"namespace": "ops", "name": "m"}})
        await world.passes(2)
        assert world.truth("Ready") == ("False", "SecretsDenied")
        assert world.condition("Stalled") is None
        world.denied = None
        await world.passes(4)
        assert world.truth("Ready") == ("True", "Connected")


async def test_rotated_secrets_are_used_without_a_new_connection() -> None:
    async with _world() as world:
        world.secret("m", token="first")
        world.secret("z", username="u", password="p")
        world.apply(
            marathon={**_SPEC["marathon"], "authSecretRef": {"namespace": "ops", "name": "m"}},
            zookeeper={**_SPEC["zookeeper"], "authSecretRef": {"namespace": "ops", "name": "z"}},
        )
        await world.passes(4)
        assert world.required == {
            ObjectKey(kind="Secret", namespace="ops", name="m"),
            ObjectKey(kind="Secret", namespace="ops", name="z"),
        }
        world.secret("m", token="second")
        await world.passes(2)
        (connection,) = world.factory.made
        assert [c.marathon for c in connection.rotations] == [Login(token="first"), Login(token="second")]
        assert world.truth("Ready") == ("True", "Connected")


async def test_a_secret_that_vanishes_is_told_but_the_connection_stays() -> None:
    async with _world() as world:
        world.secret("m", token="t")
        world.apply(marathon={**_SPEC["marathon"], "authSecretRef": {"namespace": "ops", "name": "m"}})
        await world.passes(4)
        world.kubernetes.user_delete(SECRETS, "ops", "m")
        await world.passes(2)
        assert world.truth("Ready") == ("False", "SecretNotReady")
        cluster = world.estate.get("bj1")
        assert cluster is not None
        assert cluster.view.problem is None
        assert not world.factory.made[0].closed


async def test_certificates_come_from_secrets() -> None:
    async with _world() as world:
        world.secret("ca", ca_crt="PEM A")
        world.secret("me", tls_crt="PEM B")
        tls = {"caSecretRef": {"namespace": "ops", "name": "ca"}, "clientCertSecretRef": {"namespace": "ops", "name": "me"}}
        world.apply(marathon={"urls": ["https://m"], "tls": tls})
        await world.passes(2)
        ready = world.condition("Ready")
        assert ready is not None
        assert "tls.key" in ready["message"]
        world.secret("me", tls_crt="PEM B", tls_key="PEM C")
        await world.passes(2)
        material = world.factory.made[0].rotations[0].marathon_tls
        assert (material.ca, material.certificate, material.key) == (b"PEM A", b"PEM B", b"PEM C")


async def test_secrets_that_are_not_read_yet_are_waited_for_quietly() -> None:
    async with _world() as world:
        world.read_secrets = False
        world.apply()
        await world.passes(2)
        assert world.truth("Ready") == ("False", "ReadingSecrets")
        assert world.factory.made == []


async def test_a_spec_that_the_models_refuse_is_stalled_with_the_field() -> None:
    async with _world() as world:
        world.apply(zookeeper={"hosts": ["no port"], "root": "/shuren/bj1"})
        await world.passes(1)
        assert world.truth("Ready") == ("False", "InvalidSpec")
        stalled = world.condition("Stalled")
        assert stalled is not None
        assert "spec.zookeeper.hosts[0]" in stalled["message"]
        world.apply()
        await world.passes(4)
        assert world.truth("Ready") == ("True", "Connected")
        assert world.condition("Stalled") is None
        assert world.status["observedGeneration"] == 2


async def test_a_foreign_root_is_stalled() -> None:
    async with _world() as world:
        await FencedRoot(FakeZooKeeper(world.tree), ROOT).take_over(holder="x", installation="theirs")
        world.apply()
        await world.passes(4)
        assert world.truth("Ready") == ("False", "ForeignInstallation")
        assert world.truth("Stalled") == ("True", "ForeignInstallation")


async def test_tenancy_limits_and_names_reach_the_cluster() -> None:
    async with _world() as world:
        grant = {"namespaceSelector": {"matchLabels": {"team": "a"}}, "prefixes": ["/team-a"]}
        world.apply(
            tenancy={"namespaces": {"matchExpressions": [{"key": "paas", "operator": "Exists"}]}, "idPrefixes": [grant]},
            deletionGuard={"maxPercentPerMinute": 5, "alwaysAllowed": 1},
            dns={"zone": "mesos.example"},
            unreachableGraceSeconds=7,
        )
        await world.passes(1)
        cluster = world.estate.get("bj1")
        assert cluster is not None
        assert cluster.tenancy.namespaces.matches({"paas": ""})
        assert not cluster.tenancy.namespaces.matches({})
        assert cluster.tenancy.rules[0].prefixes == ("/team-a",)
        assert cluster.tenancy.rules[0].selector.matches({"team": "a"})
        assert (cluster.deletion_limit.share, cluster.deletion_limit.floor) == (0.05, 1)
        assert cluster.settings.dns_zone == "mesos.example"
        assert cluster.view.grace == 7


async def test_deletions_that_are_held_back_are_told() -> None:
    async with _world() as world:
        world.apply(deletionGuard={"maxPercentPerMinute": 0, "alwaysAllowed": 1})
        await world.passes(4)
        cluster = world.estate.get("bj1")
        assert cluster is not None
        await cluster.permit_deletion()
        await world.passes(1)
        assert world.truth("DeletionsHeld") == ("True", "TooManyDeletions")
        assert world.truth("Ready") == ("True", "Connected")
        await world.passes(2, every=61)
        assert world.condition("DeletionsHeld") is None


async def test_a_deleted_resource_ends_the_connection() -> None:
    async with _world() as world:
        world.apply()
        await world.passes(3)
        world.kubernetes.user_delete(MESOS_CLUSTERS, "", "bj1")
        await world.passes(1)
        assert world.estate.get("bj1") is None
        assert world.factory.made[0].closed
        assert world.required == frozenset()


async def test_a_resource_deleted_behind_the_watch_is_no_error() -> None:
    async with _world() as world:
        world.apply()
        world.watch()
        world.kubernetes.user_delete(MESOS_CLUSTERS, "", "bj1")
        assert await world.controller.reconcile(_KEY) == Outcome()


async def test_a_pass_before_the_watch_brings_its_own_write_knows_it_all_the_same() -> None:
    async with _world() as world:
        world.apply()
        await world.passes(5)
        world.apply(unreachableGraceSeconds=30)
        world.watch()
        await world.controller.reconcile(_KEY)
        assert world.status["observedGeneration"] == 2
        writes = len(world.kubernetes.log)
        await world.controller.reconcile(_KEY)
        assert world.kubernetes.log[writes:] == []


async def test_a_new_process_says_nothing_while_it_reads_what_the_former_one_knew() -> None:
    async with _world() as world:
        world.apply()
        await world.passes(5)
        writes, events = world.kubernetes.writes, list(world.recorder.events)
        await world.restart()
        world.marathon.down = Unreachable("slow today")
        await world.passes(20)
        assert world.kubernetes.writes == writes
        world.marathon.down = None
        await world.passes(10)
        changed = [entry for entry in world.kubernetes.log[writes:] if "status" in entry]
        assert len(changed) <= 1, "only the time of the last full sync"
        assert world.truth("Ready") == ("True", "Connected")
        assert world.recorder.events == events


async def test_a_new_process_that_gets_nowhere_says_so_after_the_grace() -> None:
    async with _world() as world:
        world.apply(unreachableGraceSeconds=20)
        await world.passes(5)
        await world.restart()
        world.marathon.down = Unreachable("connection refused")
        await world.passes(30)
        assert world.truth("Ready") == ("False", "MarathonUnreachable")


async def test_a_process_that_does_not_lead_any_more_writes_no_status() -> None:
    async with _world() as world:
        world.apply()
        await world.passes(5)
        world.marathon.down = Denied("401 Unauthorized")
        world.marathon.world.cut_streams()
        await pass_time(world.clock, 30.0)
        writes, events = world.kubernetes.writes, list(world.recorder.events)
        world.lead.leads = False
        with pytest.raises(Fenced):
            await world.passes(1)
        assert world.kubernetes.writes == writes
        assert world.recorder.events == events


async def test_numbers_that_change_all_the_time_are_shown_on_a_slow_beat() -> None:
    async with _world() as world:
        world.apply()
        await world.passes(5)
        world.marathon.world.foreign_put({"id": "/b", "cmd": "sleep 1", "instances": 1})
        world.marathon.world.settle()
        writes = world.kubernetes.writes
        outcome = await world.passes(5)
        assert world.kubernetes.writes == writes
        assert outcome.requeue_after is not None
        await pass_time(world.clock, outcome.requeue_after)
        await world.passes(1)
        assert world.status["counts"]["apps"] == 2
