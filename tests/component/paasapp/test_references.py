"""Secrets and ConfigMaps: waited for, followed, never shown."""

from __future__ import annotations

import base64
from typing import Any

from paasapp_world import World
from shuren.domain.errors import Denied
from shuren.ports.kubernetes import CONFIG_MAPS, CONTROLLER_REVISIONS

PASSWORD = {"name": "PASSWORD", "secretKeyRef": {"name": "db", "key": "password"}}


async def test_a_missing_secret_is_waited_for_by_name() -> None:
    world = World()
    world.apply(envRefs=[PASSWORD])
    await world.settle()
    assert world.conditions()["Ready"] == ("False", "SecretMissing")
    assert "Stalled" not in world.conditions()
    assert "Secret db, key password" in world.message()
    assert world.claims() == {}
    await world.assert_quiet()
    world.secret("db", other="x")
    await world.settle()
    assert world.conditions()["Ready"] == ("False", "SecretMissing")
    world.secret("db", password="geheim")
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["env"] == {"PASSWORD": "geheim"}


async def test_a_running_app_stays_when_its_secret_vanishes() -> None:
    world = World()
    world.secret("db", password="geheim")
    world.apply(envRefs=[PASSWORD])
    await world.settle()
    calls = len(world.marathon.calls)
    world.secret("db", other="x")
    await world.settle()
    assert world.conditions()["Ready"] == ("False", "SecretMissing")
    assert len(world.marathon.calls) == calls
    assert world.marathon.definitions["/shop/web"]["env"] == {"PASSWORD": "geheim"}


async def test_optional_references_are_left_out_and_follow_later() -> None:
    world = World()
    world.apply(envRefs=[{"name": "FLAG", "configMapKeyRef": {"name": "flags", "key": "flag", "optional": True}}])
    await world.settle()
    assert world.ready()
    assert "env" not in world.marathon.definitions["/shop/web"]
    world.kubernetes.user_apply(CONFIG_MAPS, {"metadata": {"name": "flags", "namespace": "shop"}, "data": {"flag": "on"}})
    await world.settle()
    assert world.marathon.definitions["/shop/web"]["env"] == {"FLAG": "on"}


async def test_a_changed_config_map_rolls_the_app_as_a_revision_of_its_own() -> None:
    world = World()
    world.kubernetes.user_apply(CONFIG_MAPS, {"metadata": {"name": "conf", "namespace": "shop"}, "data": {"a": "1"}})
    world.apply(envRefs=[{"name": "A", "configMapKeyRef": {"name": "conf", "key": "a"}}])
    await world.settle()
    world.kubernetes.user_apply(CONFIG_MAPS, {"metadata": {"name": "conf", "namespace": "shop"}, "data": {"a": "2"}})
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["env"] == {"A": "2"}
    assert len(world.revisions()) == 2


async def test_a_value_that_is_no_text_is_refused_for_variables_and_taken_for_files() -> None:
    world = World()
    body = {"metadata": {"name": "bin", "namespace": "shop"}, "binaryData": {"k": base64.b64encode(b"\xff\xfe").decode()}}
    world.kubernetes.user_apply(CONFIG_MAPS, body)
    world.apply(envRefs=[{"name": "A", "configMapKeyRef": {"name": "bin", "key": "k"}}])
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "InvalidSpec")
    assert "spec.filesFrom" in world.message()
    world.apply(filesFrom=[{"path": "conf/k.bin", "configMapKeyRef": {"name": "bin", "key": "k"}}])
    await world.settle()
    assert world.ready()


async def test_values_are_shown_nowhere() -> None:
    world = World()
    world.secret("db", password="geheim-1")
    spec: dict[str, Any] = {"envRefs": [PASSWORD], "filesFrom": [{"path": "pw", "secretKeyRef": {"name": "db", "key": "password"}}]}
    world.apply(management={"drift": "Warn"}, **spec)
    await world.settle()
    world.secret("db", password="geheim-2")
    process = world.process
    assert process is not None
    process.sync()
    item = process.store.get(world.everyone()[0])
    assert item is not None
    _, plan = process.controller.plan(world.everyone()[0], item)
    assert "update /shop/web" in str(plan)
    await world.settle()
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], "env": {"PASSWORD": "geheim-3"}})
    world.marathon.settle()
    await world.settle()
    shown = str(plan) + repr(plan) + repr(world.resource()) + repr(world.kubernetes.all(CONTROLLER_REVISIONS)) + repr(world.recorder.events)
    assert "geheim" not in shown
    assert base64.b64encode(b"geheim-1").decode() not in shown
    assert world.conditions()["InSync"] == ("False", "Drifted")


async def test_equal_secrets_of_two_apps_do_not_show_as_equal() -> None:
    world = World()
    world.secret("db", password="same")
    world.apply("a", envRefs=[PASSWORD])
    world.apply("b", envRefs=[PASSWORD])
    await world.settle()
    digests = [item["data"]["digests"]["Secret/db/password"] for item in world.kubernetes.all(CONTROLLER_REVISIONS)]
    assert len(set(digests)) == 2


async def test_references_that_are_not_read_yet_leave_everything_as_it_is() -> None:
    world = World()
    world.secret("db", password="geheim")
    world.apply(envRefs=[PASSWORD])
    await world.settle()
    process = await world.start()
    process.references.read = False
    before = world.writes
    for _ in range(3):
        await world.round(everything=True)
    assert world.writes == before


async def test_a_missing_right_is_told_and_waited_for() -> None:
    world = World()
    world.secret("db", password="geheim")
    world.apply(envRefs=[PASSWORD])
    process = await world.start()
    process.references.denied = Denied("secrets is forbidden (needed: get, list, watch)")
    await world.settle()
    assert world.conditions()["Ready"] == ("False", "ReferencesDenied")
    assert "Stalled" not in world.conditions()
    assert "secrets is forbidden" in world.message()
    await world.round(everything=True)
    process.references.denied = None
    process.signalled.update(world.everyone())
    await world.settle()
    assert world.ready()


async def test_a_missing_right_does_not_hold_a_deletion_up() -> None:
    world = World()
    world.secret("db", password="geheim")
    world.apply(envRefs=[PASSWORD])
    await world.settle()
    process = await world.start()
    process.references.denied = Denied("secrets is forbidden")
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.marathon.definitions == {}
