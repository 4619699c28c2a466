"""Values of Secrets are shown nowhere, whoever quotes them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from paasapp_world import World
from shuren.domain.errors import FieldError, Invalid, UnknownOutcome
from shuren.ports.kubernetes import CONTROLLER_REVISIONS

SECRET = 'gehe"im-\n47-ganz-lang'
ENV = [{"name": "PASSWORD", "secretKeyRef": {"name": "db", "key": "password"}}]


def shown(world: World) -> str:
    """All that people can read: the resource, its revisions, events."""
    return json.dumps([world.resource(), world.kubernetes.all(CONTROLLER_REVISIONS), world.recorder.events], ensure_ascii=False)


def assert_hidden(world: World, caplog: pytest.LogCaptureFixture | None = None) -> None:
    text = shown(world) + (caplog.text if caplog is not None else "")
    for piece in (SECRET, "gehe", "47-ganz", "ganz-lang"):
        assert piece not in text, text


async def world_with_secret(**spec: Any) -> World:
    world = World()
    world.secret("db", password=SECRET)
    world.apply(envRefs=ENV, **spec)
    await world.settle()
    return world


async def test_a_patch_that_tests_a_secret_does_not_tell_it() -> None:
    world = await world_with_secret(patches=[{"op": "test", "path": "/env/PASSWORD", "value": "guess"}])
    assert world.conditions()["Stalled"] == ("True", "InvalidSpec")
    assert "spec.patches[0]: test of /env/PASSWORD failed" in world.message()
    assert_hidden(world)


async def test_a_patch_may_copy_a_secret_and_it_is_hidden_there_too() -> None:
    copied = [{"op": "add", "path": "/labels", "value": {}}, {"op": "copy", "from": "/env/PASSWORD", "path": "/labels/password"}]
    world = await world_with_secret(patches=copied, management={"drift": "Warn"})
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["labels"] == {"password": SECRET}
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], "labels": {"password": "x", "more": SECRET}})
    world.marathon.settle()
    await world.settle()
    assert world.conditions()["InSync"] == ("False", "Drifted")
    assert {item["path"] for item in world.status()["drift"]["sample"]} == {"/labels/password", "/labels/more"}
    assert_hidden(world)


@pytest.mark.parametrize("form", [SECRET, json.dumps(SECRET), json.dumps({"env": {"PASSWORD": SECRET}}), "... " + SECRET[:9]])
async def test_what_marathon_quotes_when_it_refuses_is_hidden(form: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = World()
    world.marathon.judge = lambda _: [FieldError(path="/container/docker", message=f"'image' is undefined on object: {form}")]
    world.secret("db", password=SECRET)
    world.apply(envRefs=ENV)
    await world.round()
    await world.round()
    assert world.conditions()["Stalled"] == ("True", "RefusedByMarathon")
    assert "/container/docker: 'image' is undefined on object" in world.message()
    assert "(secret)" in world.message()
    assert_hidden(world, caplog)


@pytest.mark.parametrize("error", [Invalid(f"illegal constraint specification {SECRET}"), UnknownOutcome(f"PUT {SECRET}: lost")])
async def test_what_any_error_quotes_is_hidden(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = await world_with_secret()
    assert world.process is not None
    world.process.clusters["bj1"].marathon.fail_next(error, name="put_apps")  # type: ignore[arg-type]
    world.apply(envRefs=ENV, cmd="sleep 2")
    await world.round()
    assert_hidden(world, caplog)


async def test_what_a_failed_task_quotes_is_hidden_in_status_and_revisions() -> None:
    world = await world_with_secret(instances=2, rollout={"deadlineSeconds": 30})
    world.apply(envRefs=ENV, instances=2, cmd="sleep 2", rollout={"deadlineSeconds": 30})
    for _ in range(60):
        await world.round()
        for task in world.marathon.actual("/shop/web").tasks if world.marathon.actual("/shop/web") else ():  # type: ignore[union-attr]
            if world.marathon.definitions["/shop/web"]["cmd"] == "sleep 2" and task.state.active:
                world.marathon.crash_task(task.id, message=f"Failed to run docker run -e PASSWORD={SECRET} image")
        world.clock.shift(1.0)
        if "Failed" in world.revisions().values():
            break
    assert "Failed" in world.revisions().values()
    assert "Failed to run docker run -e PASSWORD=(secret) image" in shown(world)
    assert_hidden(world)


async def test_a_failure_is_hidden_although_the_spec_cannot_be_rendered_any_more() -> None:
    world = await world_with_secret()
    (task,) = world.marathon.actual("/shop/web").tasks  # type: ignore[union-attr]
    world.apply(envRefs=ENV, cpus="many")
    world.marathon.crash_task(task.id, message=f"Failed to run docker run -e PASSWORD={SECRET}")
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "InvalidSpec")
    assert "Failed to run docker run" in shown(world)
    assert_hidden(world)


async def test_a_failure_with_the_former_value_is_hidden_while_the_new_one_waits() -> None:
    world = await world_with_secret()
    (task,) = world.marathon.actual("/shop/web").tasks  # type: ignore[union-attr]
    world.marathon.crash_task(task.id, message=f"Failed to run docker run -e PASSWORD={SECRET}")
    world.apply(envRefs=ENV, management={"suspend": True})
    world.secret("db", password="another")
    await world.settle()
    assert world.conditions()["Ready"] == ("Unknown", "Suspended")
    assert_hidden(world)
