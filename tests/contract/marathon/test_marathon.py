"""What the operator relies on in a Marathon: the one in memory, our engine, a real one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shuren.clients.marathon.client import MarathonClient
from shuren.domain.commit import half_done
from shuren.domain.errors import Gone, Invalid, Locked, Unreachable
from shuren.domain.marathon.diff import difference
from shuren.domain.marathon.normalise import normalise
from shuren.domain.marathon.state import ActualApp, Deployment, DeploymentRef, TaskState
from shuren.ports.marathon import Marathon

pytestmark = pytest.mark.contract

_PATIENCE = 30.0


def definition(app_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": app_id, "cmd": "sleep 1000", "cpus": 0.01, "mem": 16, "instances": 1} | fields


async def until(marathon: Marathon, app_id: str, *, running: int) -> ActualApp:
    """The app once it has exactly so many running tasks and nothing is deployed."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            app = await marathon.app(app_id)
            if app is not None and not app.deployments and sum(t.state is TaskState.RUNNING for t in app.tasks) == running == app.instances:
                return app
            await asyncio.sleep(0.05)


async def test_info_names_version_and_framework(marathon: Marathon) -> None:
    info = await marathon.info()
    assert info.version.startswith("1.")
    assert info.framework_id
    assert info.leader


async def test_an_app_is_created_and_listed_as_it_was_written(marathon: Marathon, app_id: str) -> None:
    wanted = definition(app_id, env={"A": "1"}, labels={"team": "网"}, instances=2)
    await marathon.put_apps([wanted])
    app = await until(marathon, app_id, running=2)
    assert not difference(normalise(wanted), normalise(app.definition))
    (listed,) = [a for a in await marathon.apps() if a.id == app_id]
    assert listed.definition == app.definition
    assert {t.id for t in listed.tasks} == {t.id for t in app.tasks}


async def test_the_same_definition_again_changes_no_task(marathon: Marathon, app_id: str) -> None:
    await marathon.put_apps([definition(app_id)])
    before = await until(marathon, app_id, running=1)
    await marathon.put_apps([definition(app_id)])
    after = await until(marathon, app_id, running=1)
    assert after.version == before.version
    assert after.tasks == before.tasks


async def test_a_missing_app_is_none(marathon: Marathon) -> None:
    assert await marathon.app("/contract/nothing") is None
    assert await marathon.delete_app("/contract/nothing") is None
    with pytest.raises(Gone):
        await marathon.restart("/contract/nothing")


async def test_a_refused_definition_names_the_field(marathon: Marathon, app_id: str) -> None:
    with pytest.raises(Invalid) as caught:
        await marathon.put_apps([definition(app_id, cpus=-1)])
    assert [error.path for error in caught.value.errors] == ["/cpus"]
    assert await marathon.app(app_id) is None


async def test_one_bad_member_refuses_the_array_and_is_named_by_its_index(marathon: Marathon, app_id: str) -> None:
    with pytest.raises(Invalid) as caught:
        await marathon.put_apps([definition(app_id), definition(app_id + "-b", instances=-1)])
    assert caught.value.errors[0].path.startswith("(1)")
    assert await marathon.app(app_id) is None


async def test_a_running_deployment_locks_the_app(marathon: Marathon, app_id: str) -> None:
    stuck = definition(app_id, cpus=10_000)
    first = await marathon.put_apps([stuck])
    with pytest.raises(Locked) as caught:
        await marathon.put_apps([stuck | {"instances": 2}])
    assert caught.value.deployments == (first.id,)
    await marathon.put_apps([definition(app_id)], force=True)
    await until(marathon, app_id, running=1)


async def test_why_nothing_starts_is_in_the_queue(marathon: Marathon, app_id: str) -> None:
    await marathon.put_apps([definition(app_id, cpus=10_000)])
    async with asyncio.timeout(_PATIENCE):
        while True:
            items = {item.app_id: item for item in await marathon.queue()}
            if app_id in items and items[app_id].rejections.get("InsufficientCpus"):
                break
            await asyncio.sleep(0.05)
    assert items[app_id].count == 1
    assert items[app_id].overdue


async def test_scaling_down_by_exact_tasks_kills_only_these(marathon: Marathon, app_id: str) -> None:
    await marathon.put_apps([definition(app_id, instances=3)])
    before = await until(marathon, app_id, running=3)
    victim = before.tasks[1].id
    assert await marathon.kill_tasks([victim], scale=True) is not None
    after = await until(marathon, app_id, running=2)
    assert {t.id for t in after.tasks} == {t.id for t in before.tasks} - {victim}


async def test_an_older_version_can_be_restored(marathon: Marathon, app_id: str) -> None:
    await marathon.put_apps([definition(app_id, env={"V": "1"})])
    first = await until(marathon, app_id, running=1)
    await marathon.put_apps([definition(app_id, env={"V": "2"})])
    await until(marathon, app_id, running=1)
    kept = await marathon.app_at(app_id, first.version)
    assert kept is not None
    assert kept["env"] == {"V": "1"}
    await marathon.restore(app_id, first.version)
    back = await until(marathon, app_id, running=1)
    assert back.definition["env"] == {"V": "1"}
    assert await marathon.app_at(app_id, "2001-01-01T00:00:00.000Z") is None


async def test_events_tell_of_a_deployment(marathon: Marathon, app_id: str) -> None:
    events = marathon.events()
    seen = [(await anext(events)).type]
    assert seen == ["event_stream_attached"]
    ref = await marathon.put_apps([definition(app_id)])
    async with asyncio.timeout(_PATIENCE):
        async for event in events:
            if event.type == "deployment_success" and event.data["id"] == ref.id:
                break
            seen.append(event.type)
    assert "status_update_event" in seen


async def test_a_cancelled_deployment_leaves_the_app(marathon: Marathon, app_id: str) -> None:
    ref = await marathon.put_apps([definition(app_id, cpus=10_000)])
    assert await marathon.cancel_deployment(ref.id, force=True) is None
    assert await marathon.app(app_id) is not None
    assert await marathon.cancel_deployment(ref.id, force=False) is None


# ------------------------------------------------------------------------------------------------ several apps in one write


async def held_by(marathon: Marathon, ref: DeploymentRef) -> Deployment | None:
    """The deployment of a write, if it still runs."""
    return next((d for d in await marathon.deployments() if d.id == ref.id), None)


async def test_an_array_is_one_deployment_that_locks_all_its_apps_until_the_slowest_is_done(marathon: Marathon, app_id: str) -> None:
    stuck, free = app_id + "-stuck", app_id + "-free"
    ref = await marathon.put_apps([definition(stuck, cpus=10_000), definition(free)])
    shared = await held_by(marathon, ref)
    assert shared is not None
    assert set(shared.affected_apps) == {stuck, free}
    with pytest.raises(Locked) as caught:
        await marathon.put_apps([definition(free, cmd="sleep 999")])
    assert caught.value.deployments == (ref.id,)
    await marathon.put_apps([definition(app_id + "-other")])


async def test_forcing_one_app_of_a_shared_deployment_ends_it_for_all_but_new_ones_still_start(marathon: Marathon, app_id: str) -> None:
    stuck, free = app_id + "-stuck", app_id + "-free"
    ref = await marathon.put_apps([definition(stuck, cpus=10_000), definition(free, instances=2)])
    await marathon.put_apps([definition(stuck)], force=True)
    assert await held_by(marathon, ref) is None
    await until(marathon, free, running=2)
    await until(marathon, stuck, running=1)


async def test_a_cancelled_restart_leaves_old_tasks_and_only_another_restart_finishes_it(marathon: Marathon, app_id: str) -> None:
    careful = {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.0}
    await marathon.put_apps([definition(app_id, instances=2, upgradeStrategy=careful)])
    await until(marathon, app_id, running=2)
    changed = definition(app_id, instances=2, upgradeStrategy=careful, cpus=10_000)
    ref = await marathon.put_apps([changed])
    await marathon.cancel_deployment(ref.id, force=True)
    app = await marathon.app(app_id)
    assert app is not None
    waiting = sum(item.count for item in await marathon.queue() if item.app_id == app_id)
    assert half_done(app, waiting)
    again = await marathon.put_apps([changed])
    assert await held_by(marathon, again) is None, "the same definition again is nothing to do"
    restarted = await marathon.restart(app_id)
    assert await held_by(marathon, restarted) is not None


async def test_instances_change_by_partial_updates_of_several_apps_without_replacing_tasks(marathon: Marathon, app_id: str) -> None:
    ids = [f"{app_id}-{i}" for i in range(3)]
    await marathon.put_apps([definition(i, env={"KEPT": "yes"}) for i in ids])
    before = [await until(marathon, i, running=1) for i in ids]
    await marathon.patch_apps([{"id": i, "instances": 2} for i in ids])
    for was in before:
        now = await until(marathon, was.id, running=2)
        assert {t.id for t in was.tasks} < {t.id for t in now.tasks}
        assert now.definition["env"] == {"KEPT": "yes"}
        assert now.last_config_change_at == was.last_config_change_at
        assert now.version > was.version


async def test_a_full_write_resets_what_it_leaves_out(marathon: Marathon, app_id: str) -> None:
    await marathon.put_apps([definition(app_id, instances=2, env={"A": "1"}, user="root")])
    await until(marathon, app_id, running=2)
    body = definition(app_id)
    del body["instances"]
    await marathon.put_apps([body])
    app = await until(marathon, app_id, running=1)
    assert "env" not in app.definition
    assert "user" not in app.definition


async def test_a_service_port_that_marathon_chose_is_kept(marathon: Marathon, app_id: str) -> None:
    wanted = definition(app_id, portDefinitions=[{"port": 0, "protocol": "tcp", "name": "http"}])
    await marathon.put_apps([wanted])
    before = await until(marathon, app_id, running=1)
    await marathon.put_apps([wanted | {"cmd": "sleep 999"}])
    after = await until(marathon, app_id, running=1)
    assert after.definition["portDefinitions"] == before.definition["portDefinitions"]
    assert not difference(normalise(wanted | {"cmd": "sleep 999"}), normalise(after.definition))


async def test_a_killed_task_comes_back_as_the_next_incarnation_of_its_instance(marathon: Marathon, app_id: str) -> None:
    await marathon.put_apps([definition(app_id)])
    before = await until(marathon, app_id, running=1)
    assert await marathon.kill_tasks([before.tasks[0].id]) is None
    async with asyncio.timeout(_PATIENCE):
        while True:
            app = await until(marathon, app_id, running=1)
            if app.tasks[0].id != before.tasks[0].id:
                break
            await asyncio.sleep(0.05)
    instance, _, number = before.tasks[0].id.rpartition(".")
    assert app.tasks[0].id == f"{instance}.{int(number) + 1}"
    assert app.instances == 1


async def test_a_deleted_app_is_gone_from_the_list_at_once(marathon: Marathon, app_id: str) -> None:
    await marathon.put_apps([definition(app_id)])
    await until(marathon, app_id, running=1)
    assert await marathon.delete_app(app_id) is not None
    assert await marathon.app(app_id) is None
    assert app_id not in {app.id for app in await marathon.apps()}


async def test_rolling_back_a_deployment_brings_the_former_definition_back(marathon: Marathon, app_id: str) -> None:
    await marathon.put_apps([definition(app_id)])
    await until(marathon, app_id, running=1)
    ref = await marathon.put_apps([definition(app_id, cpus=10_000)])
    assert await marathon.cancel_deployment(ref.id, force=False) is not None
    app = await until(marathon, app_id, running=1)
    assert app.definition["cpus"] == 0.01


async def test_another_url_is_tried_when_one_does_not_answer(url: str) -> None:
    client = MarathonClient(["http://127.0.0.1:9", url])
    assert (await client.info()).version
    await client.close()
    nobody = MarathonClient(["http://127.0.0.1:9"])
    with pytest.raises(Unreachable):
        await nobody.info()
    await nobody.close()
