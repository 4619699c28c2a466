"""What controllers and the runtime rely on in an API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.domain.errors import Conflict, Exists, Gone
from shuren.ports.kubernetes import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    LEASES,
    PAAS_APPS,
    Change,
    Expired,
    Kubernetes,
    Object,
    Resource,
    WatchEvent,
)

pytestmark = pytest.mark.contract

MANAGER = "shuren-contract"


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}


def app(name: str, **spec: Any) -> Object:
    body = {"clusterRef": {"name": "c"}, "cmd": "sleep 1", "instances": 1, **spec}
    return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasApp", "metadata": {"name": name}, "spec": body}


def ready(reason: str, generation: int = 1) -> Object:
    return {
        "type": "Ready",
        "status": "True",
        "reason": reason,
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": generation,
    }


def version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])


@asynccontextmanager
async def watching(kubernetes: Kubernetes, resource: Resource, *, since: str, **where: str) -> AsyncIterator[AsyncIterator[WatchEvent]]:
    """A watch whose connection ends with the block."""
    events = kubernetes.watch(resource, resource_version=since, **where)
    try:
        yield events
    finally:
        assert isinstance(events, AsyncGenerator)
        await events.aclose()


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[tuple[Change, str]]:
    """The next `count` events that are no bookmarks."""
    found: list[tuple[Change, str]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            event = await anext(events)
            if event.change is not Change.BOOKMARK:
                found.append((event.change, event.object["metadata"]["name"]))
    return found


class TestObjects:
    async def test_what_is_created_can_be_read_and_listed(self, kubernetes: Kubernetes, namespace: str) -> None:
        made = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a", {"k": "v"}))
        assert made["metadata"]["uid"]
        read = await kubernetes.get(CONFIG_MAPS, namespace, "a")
        assert read is not None
        assert (read["data"], version(read)) == ({"k": "v"}, version(made))
        page = await kubernetes.list(CONFIG_MAPS, namespace=namespace, name="a")
        assert [item["metadata"]["name"] for item in page.items] == ["a"]
        assert int(page.resource_version) >= version(made)

    async def test_what_is_not_there_reads_as_none(self, kubernetes: Kubernetes, namespace: str) -> None:
        assert await kubernetes.get(CONFIG_MAPS, namespace, "nothing") is None
        assert await kubernetes.get(PAAS_APPS, namespace, "nothing") is None
        assert (await kubernetes.list(PAAS_APPS, namespace=namespace)).items == []

    async def test_a_name_is_taken_once(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(CONFIG_MAPS, namespace, config_map("a"))
        with pytest.raises(Exists):
            await kubernetes.create(CONFIG_MAPS, namespace, config_map("a"))

    async def test_a_list_longer_than_a_chunk_is_whole(self, kubernetes: Kubernetes, namespace: str) -> None:
        for number in range(8):
            await kubernetes.create(CONFIG_MAPS, namespace, config_map(f"a{number}", labels={"of": "ours"}))
        page = await kubernetes.list(CONFIG_MAPS, namespace=namespace, label_selector="of=ours")
        assert [item["metadata"]["name"] for item in page.items] == [f"a{number}" for number in range(8)]

    async def test_lists_are_narrowed_by_label_and_name(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(CONFIG_MAPS, namespace, config_map("a", labels={"colour": "red"}))
        await kubernetes.create(CONFIG_MAPS, namespace, config_map("b", labels={"colour": "blue"}))
        by_label = await kubernetes.list(CONFIG_MAPS, namespace=namespace, label_selector="colour=red")
        by_name = await kubernetes.list(CONFIG_MAPS, namespace=namespace, name="b")
        assert [i["metadata"]["name"] for i in by_label.items + by_name.items] == ["a", "b"]

    async def test_metadata_alone_is_enough_to_compare(self, kubernetes: Kubernetes, namespace: str) -> None:
        made = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a", {"k": "v"}, labels={"of": "ours"}))
        page = await kubernetes.list(CONFIG_MAPS, namespace=namespace, label_selector="of=ours", metadata_only=True)
        (item,) = page.items
        assert "data" not in item
        assert (item["metadata"]["uid"], version(item)) == (made["metadata"]["uid"], version(made))


class TestWrites:
    async def test_replacing_is_a_compare_and_set(self, kubernetes: Kubernetes, namespace: str) -> None:
        first = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a", {"k": "1"}))
        second = await kubernetes.replace(CONFIG_MAPS, namespace, "a", {**first, "data": {"k": "2"}})
        assert version(second) > version(first)
        with pytest.raises(Conflict) as caught:
            await kubernetes.replace(CONFIG_MAPS, namespace, "a", {**first, "data": {"k": "3"}})
        assert not isinstance(caught.value, Exists | Gone)

    async def test_replacing_what_is_gone_says_so(self, kubernetes: Kubernetes, namespace: str) -> None:
        made = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a"))
        assert await kubernetes.delete(CONFIG_MAPS, namespace, "a")
        with pytest.raises(Conflict):
            await kubernetes.replace(CONFIG_MAPS, namespace, "a", made)

    async def test_deleting_twice_is_no_error_but_told(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(CONFIG_MAPS, namespace, config_map("a"))
        assert await kubernetes.delete(CONFIG_MAPS, namespace, "a")
        assert not await kubernetes.delete(CONFIG_MAPS, namespace, "a")

    async def test_only_the_object_that_was_meant_is_deleted(self, kubernetes: Kubernetes, namespace: str) -> None:
        made = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a"))
        with pytest.raises(Conflict):
            await kubernetes.delete(CONFIG_MAPS, namespace, "a", uid="00000000-0000-0000-0000-000000000000")
        assert await kubernetes.delete(CONFIG_MAPS, namespace, "a", uid=made["metadata"]["uid"])

    async def test_a_lease_is_held_by_compare_and_set(self, kubernetes: Kubernetes, namespace: str) -> None:
        spec = {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z", "leaseTransitions": 0}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": spec}
        made = await kubernetes.create(LEASES, namespace, body)
        taken = await kubernetes.replace(LEASES, namespace, "l", {**made, "spec": {**spec, "holderIdentity": "b"}})
        assert taken["spec"]["holderIdentity"] == "b"
        with pytest.raises(Conflict):
            await kubernetes.replace(LEASES, namespace, "l", {**made, "spec": {**spec, "holderIdentity": "c"}})


class TestJsonPatch:
    async def test_a_failed_test_is_a_conflict(self, kubernetes: Kubernetes, namespace: str) -> None:
        first = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a", {"k": "1"}))
        await kubernetes.replace(CONFIG_MAPS, namespace, "a", {**first, "data": {"k": "2"}})
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": first["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/data/k", "value": "3"},
        ]
        with pytest.raises(Conflict):
            await kubernetes.patch_json(CONFIG_MAPS, namespace, "a", operations)
        unchanged = await kubernetes.get(CONFIG_MAPS, namespace, "a")
        assert unchanged is not None
        assert unchanged["data"] == {"k": "2"}

    async def test_what_is_gone_cannot_be_patched(self, kubernetes: Kubernetes, namespace: str) -> None:
        with pytest.raises(Gone):
            await kubernetes.patch_json(PAAS_APPS, namespace, "a", [{"op": "add", "path": "/metadata/labels", "value": {}}])

    async def test_a_finalizer_holds_the_object_until_it_is_taken_off(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(PAAS_APPS, namespace, app("a"))
        add = [{"op": "add", "path": "/metadata/finalizers", "value": ["paas.shurenyun.com/app"]}]
        held = await kubernetes.patch_json(PAAS_APPS, namespace, "a", add)
        assert held["metadata"]["generation"] == 1
        assert await kubernetes.delete(PAAS_APPS, namespace, "a")
        leaving = await kubernetes.get(PAAS_APPS, namespace, "a")
        assert leaving is not None
        assert leaving["metadata"]["deletionTimestamp"]
        assert leaving["metadata"]["generation"] == 2
        take_off = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": leaving["metadata"]["resourceVersion"]},
            {"op": "remove", "path": "/metadata/finalizers"},
        ]
        await kubernetes.patch_json(PAAS_APPS, namespace, "a", take_off)
        assert await kubernetes.get(PAAS_APPS, namespace, "a") is None

    async def test_an_objects_status_is_not_changed_beside_its_subresource(self, kubernetes: Kubernetes, namespace: str) -> None:
        made = await kubernetes.create(PAAS_APPS, namespace, app("a"))
        changed = await kubernetes.patch_json(
            PAAS_APPS,
            namespace,
            "a",
            [
                {"op": "add", "path": "/status", "value": {"observedGeneration": 7}},
                {"op": "replace", "path": "/spec/instances", "value": 2},
            ],
        )
        assert "observedGeneration" not in changed.get("status", {})
        assert changed["metadata"]["generation"] == made["metadata"]["generation"] + 1


class TestStatus:
    async def test_applied_status_is_exactly_what_was_sent(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(PAAS_APPS, namespace, app("a"))
        whole = {"observedGeneration": 1, "cluster": "c", "conditions": [ready("Fine")]}
        first = await kubernetes.apply_status(PAAS_APPS, namespace, "a", whole, manager=MANAGER)
        assert first["status"] == whole
        assert first["metadata"]["generation"] == 1
        less = {"observedGeneration": 1, "conditions": [ready("Finer")]}
        second = await kubernetes.apply_status(PAAS_APPS, namespace, "a", less, manager=MANAGER)
        assert second["status"] == less
        assert version(second) > version(first)

    async def test_the_same_status_again_changes_nothing(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(PAAS_APPS, namespace, app("a"))
        status = {"observedGeneration": 1, "conditions": [ready("Fine")]}
        first = await kubernetes.apply_status(PAAS_APPS, namespace, "a", status, manager=MANAGER)
        second = await kubernetes.apply_status(PAAS_APPS, namespace, "a", status, manager=MANAGER)
        assert version(second) == version(first)

    async def test_a_spec_change_keeps_the_status(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(PAAS_APPS, namespace, app("a"))
        status = {"observedGeneration": 1, "conditions": [ready("Fine")]}
        await kubernetes.apply_status(PAAS_APPS, namespace, "a", status, manager=MANAGER)
        patch = [{"op": "replace", "path": "/spec/instances", "value": 3}]
        changed = await kubernetes.patch_json(PAAS_APPS, namespace, "a", patch)
        assert (changed["status"], changed["metadata"]["generation"]) == (status, 2)

    async def test_a_status_meets_changes_of_others_without_harm(self, kubernetes: Kubernetes, namespace: str) -> None:
        made = await kubernetes.create(PAAS_APPS, namespace, app("a"))
        uid = made["metadata"]["uid"]
        for instances in (2, 3):
            await kubernetes.patch_json(PAAS_APPS, namespace, "a", [{"op": "replace", "path": "/spec/instances", "value": instances}])
            status = {"observedGeneration": instances - 1}
            done = await kubernetes.apply_status(PAAS_APPS, namespace, "a", status, manager=MANAGER, uid=uid)
            assert (done["status"], done["spec"]["instances"]) == (status, instances)

    async def test_what_is_gone_gets_no_status(self, kubernetes: Kubernetes, namespace: str) -> None:
        with pytest.raises(Gone):
            await kubernetes.apply_status(PAAS_APPS, namespace, "nothing", {"observedGeneration": 1}, manager=MANAGER)
        with pytest.raises(Gone):
            await kubernetes.apply_status(PAAS_APPS, namespace, "nothing", {"observedGeneration": 1}, manager=MANAGER, uid="u")

    async def test_a_recreated_object_does_not_get_the_old_ones_status(self, kubernetes: Kubernetes, namespace: str) -> None:
        old = await kubernetes.create(PAAS_APPS, namespace, app("a"))
        await kubernetes.delete(PAAS_APPS, namespace, "a")
        new = await kubernetes.create(PAAS_APPS, namespace, app("a"))
        status = {"observedGeneration": 1}
        with pytest.raises(Conflict):
            await kubernetes.apply_status(PAAS_APPS, namespace, "a", status, manager=MANAGER, uid=old["metadata"]["uid"])
        done = await kubernetes.apply_status(PAAS_APPS, namespace, "a", status, manager=MANAGER, uid=new["metadata"]["uid"])
        assert done["status"] == status


class TestWatches:
    async def test_everything_after_the_list_is_told_in_order(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(CONFIG_MAPS, namespace, config_map("before"))
        since = (await kubernetes.list(CONFIG_MAPS, namespace=namespace, name="a")).resource_version
        async with watching(kubernetes, CONFIG_MAPS, since=since, namespace=namespace) as events:
            made = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a"))
            await kubernetes.replace(CONFIG_MAPS, namespace, "a", {**made, "data": {"k": "v"}})
            assert await take(events, 2) == [(Change.ADDED, "a"), (Change.MODIFIED, "a")]
            await kubernetes.delete(CONFIG_MAPS, namespace, "a")
            assert await take(events, 1) == [(Change.DELETED, "a")]

    async def test_one_object_can_be_watched_alone(self, kubernetes: Kubernetes, namespace: str) -> None:
        since = (await kubernetes.list(CONFIG_MAPS, namespace=namespace, name="b")).resource_version
        async with watching(kubernetes, CONFIG_MAPS, since=since, namespace=namespace, name="b") as events:
            await kubernetes.create(CONFIG_MAPS, namespace, config_map("a"))
            await kubernetes.create(CONFIG_MAPS, namespace, config_map("b"))
            assert await take(events, 1) == [(Change.ADDED, "b")]

    async def test_an_object_that_no_longer_matches_is_told_as_deleted(self, kubernetes: Kubernetes, namespace: str) -> None:
        made = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a", labels={"colour": "red"}))
        since = made["metadata"]["resourceVersion"]
        async with watching(kubernetes, CONFIG_MAPS, since=since, namespace=namespace, label_selector="colour=red") as events:
            made["metadata"]["labels"] = {"colour": "blue"}
            await kubernetes.replace(CONFIG_MAPS, namespace, "a", made)
            assert await take(events, 1) == [(Change.DELETED, "a")]

    async def test_a_version_that_is_no_longer_known_has_expired(self, kubernetes: Kubernetes, namespace: str) -> None:
        await kubernetes.create(PAAS_APPS, namespace, app("a"))
        if isinstance(kubernetes, FakeKubernetes):
            kubernetes.forget_history()
        async with watching(kubernetes, PAAS_APPS, since="1", namespace=namespace) as events:
            with pytest.raises(Expired):
                await take(events, 1)

    async def test_deleted_objects_are_told_with_a_newer_version(self, kubernetes: Kubernetes, namespace: str) -> None:
        made = await kubernetes.create(CONFIG_MAPS, namespace, config_map("a"))
        await kubernetes.delete(CONFIG_MAPS, namespace, "a")
        async with watching(kubernetes, CONFIG_MAPS, since=made["metadata"]["resourceVersion"], namespace=namespace, name="a") as events:
            last = (await seen_until(events, Change.DELETED))[-1]
        assert version(last.object) > version(made)
        assert last.object["metadata"]["uid"] == made["metadata"]["uid"]


class TestOwnership:
    async def test_what_an_object_owns_goes_with_it(self, kubernetes: Kubernetes, namespace: str) -> None:
        owner = await kubernetes.create(PAAS_APPS, namespace, app("a"))
        reference = {
            "apiVersion": "paas.shurenyun.com/v1alpha1",
            "kind": "PaasApp",
            "name": "a",
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
        revision = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": "a-1", "ownerReferences": [reference]},
            "revision": 1,
            "data": {"digest": "x"},
        }
        made = await kubernetes.create(CONTROLLER_REVISIONS, namespace, revision)
        since = made["metadata"]["resourceVersion"]
        async with watching(kubernetes, CONTROLLER_REVISIONS, since=since, namespace=namespace, name="a-1") as events:
            await kubernetes.delete(PAAS_APPS, namespace, "a")
            # the real garbage collector looks for new kinds only every 30 s
            assert await seen_until(events, Change.DELETED, seconds=90)


async def seen_until(events: AsyncIterator[WatchEvent], change: Change, *, seconds: float = 20) -> list[WatchEvent]:
    """All events up to the first of that kind."""
    seen: list[WatchEvent] = []
    async with asyncio.timeout(seconds):
        while not seen or seen[-1].change is not change:
            seen.append(await anext(events))
    return seen
