"""What the operator relies on in a source of events: an eventual call for every change, and an honest `synced`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from eventsource_world import Running, World, until
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS, Object

pytestmark = pytest.mark.contract

Start = Callable[..., Running]


def app(name: str, instances: int = 1) -> Object:
    spec = {"clusterRef": {"name": "c"}, "cmd": "sleep 1", "instances": instances}
    return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasApp", "metadata": {"name": name}, "spec": spec}


def key(world: World, name: str) -> ObjectKey:
    return ObjectKey(kind="PaasApp", namespace=world.namespace, name=name)


async def scale(world: World, name: str, instances: int) -> Object:
    return await world.kubernetes.patch_json(
        PAAS_APPS, world.namespace, name, [{"op": "replace", "path": "/spec/instances", "value": instances}]
    )


def instances(running: Running, of: ObjectKey) -> int | None:
    item = running.sink.store.get(of)
    return None if item is None else item["spec"]["instances"]


async def test_what_exists_at_the_start_is_there_once_it_says_synced(world: World, start: Start) -> None:
    for number in range(12):
        await world.kubernetes.create(PAAS_APPS, world.namespace, app(f"a{number}"))
    running = start()
    assert not running.source.synced()
    await until(running.source.synced)
    assert {k.name for k in running.sink.store.keys("PaasApp")} == {f"a{number}" for number in range(12)}
    assert {call for call, _ in running.sink.calls} == {"initial"}


async def test_nothing_at_all_is_synced_too(start: Start) -> None:
    running = start()
    await until(running.source.synced)
    assert running.sink.store.keys("PaasApp") == ()


async def test_the_user_of_the_process_needs_no_name(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container it is often a number that stands in no /etc/passwd."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)

    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    running = start()
    await until(running.source.synced)


async def test_every_change_arrives(world: World, start: Start) -> None:
    running = start()
    await until(running.source.synced)
    await world.kubernetes.create(PAAS_APPS, world.namespace, app("a"))
    await until(lambda: instances(running, key(world, "a")) == 1)
    await scale(world, "a", 7)
    await until(lambda: instances(running, key(world, "a")) == 7)
    await world.kubernetes.delete(PAAS_APPS, world.namespace, "a")
    await until(lambda: running.sink.store.get(key(world, "a")) is None)
    assert ("initial", key(world, "a")) not in running.sink.calls


async def test_a_storm_ends_in_the_last_state(world: World, start: Start) -> None:
    running = start()
    await until(running.source.synced)
    await world.kubernetes.create(PAAS_APPS, world.namespace, app("a"))
    for number in range(2, 40):
        await scale(world, "a", number)
    await until(lambda: instances(running, key(world, "a")) == 39)


async def test_deleted_and_made_anew_is_another_object(world: World, start: Start) -> None:
    running = start()
    await until(running.source.synced)
    old = await world.kubernetes.create(PAAS_APPS, world.namespace, app("a"))
    await world.kubernetes.delete(PAAS_APPS, world.namespace, "a")
    new = await world.kubernetes.create(PAAS_APPS, world.namespace, app("a"))
    assert old["metadata"]["uid"] != new["metadata"]["uid"]

    def arrived() -> bool:
        item = running.sink.store.get(key(world, "a"))
        return item is not None and item["metadata"]["uid"] == new["metadata"]["uid"]

    await until(arrived)


async def test_a_finalizer_shows_the_object_leaving_and_gone(world: World, start: Start) -> None:
    running = start()
    await until(running.source.synced)
    made = app("a")
    made["metadata"]["finalizers"] = ["paas.shurenyun.com/app"]
    await world.kubernetes.create(PAAS_APPS, world.namespace, made)
    await world.kubernetes.delete(PAAS_APPS, world.namespace, "a")

    def leaving() -> bool:
        item = running.sink.store.get(key(world, "a"))
        return item is not None and "deletionTimestamp" in item["metadata"]

    await until(leaving)
    await world.kubernetes.patch_json(PAAS_APPS, world.namespace, "a", [{"op": "remove", "path": "/metadata/finalizers"}])
    await until(lambda: running.sink.store.get(key(world, "a")) is None)


async def test_cluster_wide_kinds_come_whatever_namespaces_were_chosen(world: World, start: Start) -> None:
    name = f"c-{world.namespace}"
    running = start()
    await until(running.source.synced)
    spec = {"marathon": {"urls": ["http://marathon.invalid:8080"]}, "zookeeper": {"hosts": ["z.invalid:2181"], "root": "/shuren"}}
    body = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "MesosCluster", "metadata": {"name": name}, "spec": spec}
    await world.kubernetes.create(MESOS_CLUSTERS, "", body)
    cluster = ObjectKey(kind="MesosCluster", namespace="", name=name)
    await until(lambda: running.sink.store.get(cluster) is not None)
    await world.kubernetes.delete(MESOS_CLUSTERS, "", name)
    await until(lambda: running.sink.store.get(cluster) is None)


async def test_other_namespaces_are_not_looked_at_unless_all_are(world: World, start: Start) -> None:
    narrow, wide = start(), start(everywhere=True)
    await until(narrow.source.synced)
    await until(wide.source.synced)
    await world.kubernetes.create(PAAS_APPS, "default", app(f"stranger-{world.namespace}"))
    await world.kubernetes.create(PAAS_APPS, world.namespace, app("a"))
    stranger = ObjectKey(kind="PaasApp", namespace="default", name=f"stranger-{world.namespace}")
    await until(lambda: wide.sink.store.get(stranger) is not None and wide.sink.store.get(key(world, "a")) is not None)
    await until(lambda: narrow.sink.store.get(key(world, "a")) is not None)
    assert narrow.sink.store.get(stranger) is None
    await world.kubernetes.delete(PAAS_APPS, "default", stranger.name)


async def test_calls_are_made_in_the_loop_that_runs_it(world: World, start: Start) -> None:
    await world.kubernetes.create(PAAS_APPS, world.namespace, app("a"))
    running = start()
    await until(running.source.synced)
    assert running.sink.loops == {id(asyncio.get_running_loop())}


async def test_it_ends_when_told_and_tells_nothing_more(world: World, start: Start) -> None:
    running = start()
    await until(running.source.synced)
    running.task.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait({running.task})
    before = list(running.sink.calls)
    await world.kubernetes.create(PAAS_APPS, world.namespace, app("late"))
    assert await world.kubernetes.get(PAAS_APPS, world.namespace, "late") is not None
    assert running.sink.calls == before
