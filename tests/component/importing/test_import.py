"""A whole estate is imported, planned and adopted: nothing in Marathon changes, and afterwards nothing is left to do."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from estate_corpus import definitions
from estate_room import Heard, settings
from lead import Lead
from served_engine import Served, until
from shuren.cli.importing import Imported, Wish, read
from shuren.clients.clock import SystemClock
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.marathon.client import MarathonClient
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.cluster import Cluster
from shuren.controllers.estate.connection import Identity
from shuren.controllers.estate.survey import look
from shuren.controllers.paasapp.controller import PaasAppController
from shuren.controllers.preview import LookedUp, Preview
from shuren.domain.cluster import Credentials
from shuren.domain.identity import ObjectKey
from shuren.domain.preview.whole import WholePlan
from shuren.ports.kubernetes import CONTROLLER_REVISIONS, MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, SECRETS, Object, Resource
from shuren.runtime.store import Store
from strict_kubernetes import StrictKubernetes

KINDS = (PAAS_APPS, MESOS_CLUSTERS, NAMESPACES, CONTROLLER_REVISIONS)
CLUSTER = "test"


class Estate:
    """An engine with its apps, a Kubernetes, a ZooKeeper: all that an import touches."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.client = MarathonClient([served.url], timeout=60.0)
        self.kubernetes = StrictKubernetes()
        self.tree = ZooTree()
        self.accepted: list[str] = []

    async def fill(self) -> None:
        for definition in definitions():
            status, _ = await self.served.call("POST", "/v2/apps", definition)
            if status == 201:
                self.accepted.append(definition["id"])
        await until(self._quiet, seconds=60)

    async def _quiet(self) -> bool:
        """Whatever can be placed runs."""
        waiting = {item["app"]["id"] for item in (await self.served.get("/v2/queue"))["queue"] if item["count"]}
        return all(set(d["affectedApps"]) & waiting for d in await self.served.get("/v2/deployments"))

    async def picture(self) -> dict[str, Any]:
        """Every app with version and tasks: what must not change."""
        apps = (await self.served.get("/v2/apps?embed=apps.tasks"))["apps"]
        return {
            a["id"]: {**{k: v for k, v in a.items() if not k.startswith("tasks") and k != "deployments"}, "tasks": _tasks(a)} for a in apps
        }

    def apply(self, found: Imported) -> None:
        self.kubernetes.user_apply(MESOS_CLUSTERS, {"metadata": {"name": CLUSTER}, "spec": {}})
        self.kubernetes.user_apply(NAMESPACES, {"metadata": {"name": "estate"}})
        for item in found.every():
            resource = {r.kind: r for r in (PAAS_APPS, SECRETS)}[item["kind"]]
            body = json.loads(json.dumps(item))
            if resource is SECRETS:
                body["data"] = {k: _coded(v) for k, v in body.pop("stringData").items()}
            self.kubernetes.user_apply(resource, body)

    def store(self) -> Store:
        store = Store()
        for resource in KINDS:
            for item in self.kubernetes.all(resource):
                store.put(key_of(resource, item), copy.deepcopy(item))
        return store

    @property
    def root(self) -> FencedRoot:
        return FencedRoot(FakeZooKeeper(self.tree), f"/shuren/{CLUSTER}")

    async def plan(self) -> WholePlan:
        survey = await look(settings=settings(CLUSTER), marathon=self.client, mesos=None, zookeeper=self.root, clock=SystemClock())
        store = self.store()
        preview = Preview(
            kubernetes=self.kubernetes,
            store=store,
            clusters=_Only(survey),
            references=LookedUp(self.kubernetes),
            clock=SystemClock(),
        )
        return await preview.plan(store.keys(PAAS_APPS.kind))

    async def adopt(self) -> None:
        """The operator's own passes, on its own picture of the cluster, until they ask for nothing more."""
        store = self.store()
        references = LookedUp(self.kubernetes)
        cluster = Cluster(
            settings=settings(CLUSTER),
            credentials=Credentials(),
            connection=_Connection(self.client, self.root),
            leadership=Lead(),
            identity=Identity(holder="operator", installation="test"),
            listener=Heard(),
            clock=SystemClock(),
        )
        controller = PaasAppController(
            kubernetes=self.kubernetes, store=store, clusters=_Only(cluster), references=references, leadership=Lead(), clock=SystemClock()
        )
        cluster.start()
        cluster.take_over()
        try:
            await until(lambda: cluster.synced and cluster.leading, seconds=60)
            for _ in range(5):
                for key in store.keys(PAAS_APPS.kind):
                    await controller.reconcile(key)
                self._sync(store)
                await references.fetch()
        finally:
            await cluster.stop()

    def _sync(self, store: Store) -> None:
        """The watch brings what was written."""
        for resource in (PAAS_APPS, CONTROLLER_REVISIONS):
            for item in self.kubernetes.all(resource):
                store.put(key_of(resource, item), copy.deepcopy(item))


class _Only:
    """One cluster."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    def get(self, name: str) -> Any:
        return self._cluster if name == CLUSTER else None

    def names(self) -> tuple[str, ...]:
        return (CLUSTER,)


class _Connection:
    """To a real engine and a ZooKeeper in memory."""

    mesos = None

    def __init__(self, marathon: MarathonClient, zookeeper: FencedRoot) -> None:
        self.marathon = marathon
        self.zookeeper = zookeeper

    async def rotate(self, credentials: Credentials) -> None:
        raise AssertionError(credentials)

    async def close(self) -> None:
        await self.zookeeper.close()


def key_of(resource: Resource, item: Object) -> ObjectKey:
    metadata = item["metadata"]
    return ObjectKey(kind=resource.kind, namespace=metadata.get("namespace", ""), name=metadata["name"])


def _tasks(app: Any) -> list[str]:
    return sorted(task["id"] for task in app["tasks"] if task["state"] in {"TASK_RUNNING", "TASK_STAGING", "TASK_STARTING"})


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
async def estate(tmp_path: Path) -> AsyncIterator[Estate]:
    async with Served.of(tmp_path, agents=4) as served:
        made = Estate(served)
        await made.fill()
        yield made
        await made.client.close()


async def test_two_hundred_apps_are_taken_over_as_they_are(estate: Estate) -> None:
    assert len(estate.accepted) >= 200
    before = await estate.picture()
    found = await read(estate.client, Wish(cluster=CLUSTER, namespace="estate", services=False))
    # Marathon takes a service port above 65535, which nobody could use; the schema does not
    assert [about for about, _ in found.refused] == ["/estate/corpus/ports-large-number"]
    taken = set(estate.accepted) - {about for about, _ in found.refused}
    assert found.resources.keys() == taken
    estate.apply(found)

    first = await estate.plan()
    assert not first.unknown
    assert {type(action).__name__ for _, f in first.apps for action in f.actions} <= {
        "AddFinalizer",
        "ClaimId",
        "RecordRevision",
        "MarkRevision",
    }
    assert not first.changes
    assert all(not f.tasks.replaced and not f.tasks.removed and not f.tasks.started for _, f in first.apps)

    await estate.adopt()
    assert await estate.picture() == before
    after = await estate.plan()
    assert {f.snapshot.claim.app_id for _, f in after.apps if f.snapshot.claim is not None} == taken
    assert {str(a) for _, f in after.apps for a in f.actions if type(a).__name__ != "MarkRevision"} == set()
    assert not after.changes
    shown = json.dumps([str(item) for item in found.resources.values()])
    assert "marker-of-a-secret" not in shown


async def test_what_has_no_equal_is_named(tmp_path: Path) -> None:
    async with Served.of(tmp_path) as served:
        await served.put("/shop/web", instances=0)
        container = {"name": "a", "exec": {"command": {"shell": "sleep 1"}}, "resources": {"cpus": 0.1, "mem": 8}}
        status, _ = await served.call("POST", "/v2/pods", {"id": "/shop/pod", "containers": [container]})
        assert status == 201
        client = MarathonClient([served.url])
        try:
            found = await read(client, Wish(cluster=CLUSTER, namespace="shop"))
        finally:
            await client.close()
    assert list(found.resources) == ["/shop/web"]
    assert [about for about, _ in found.refused] == ["/shop/pod"]
    assert "pod" in found.refused[0][1]
