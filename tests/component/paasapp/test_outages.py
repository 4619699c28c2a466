"""Marathon, ZooKeeper and the API server at their worst: away, slow, locked, full, refusing, forgetting, answering nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from paasapp_world import World
from shuren.domain.app.snapshot import Problem
from shuren.domain.errors import Conflict, Denied, FieldError, Invalid, Locked, Throttled, Unauthenticated, UnknownOutcome, Unreachable
from shuren.domain.guard import DeletionLimit
from shuren.ports.kubernetes import MESOS_CLUSTERS


def marathon_steps(world: World) -> list[str]:
    return [step.removeprefix("marathon ") for step in world.steps if step.startswith("marathon ")]


async def running(**spec: Any) -> World:
    world = World()
    world.apply(**spec)
    await world.settle()
    assert world.ready()
    world.steps.clear()
    return world


def away(world: World, seconds: float) -> None:
    """Marathon has been away for this long, and everybody is told."""
    world.site.unreachable_since = world.clock.monotonic() - seconds
    everybody(world)


def everybody(world: World) -> None:
    """What the estate calls when a cluster has changed for all its apps."""
    assert world.process is not None
    world.process.signalled.update(world.everyone())


async def test_a_fail_over_of_a_few_seconds_changes_no_status() -> None:
    world = await running(instances=2)
    before = world.status()
    away(world, 5)
    await world.round()
    assert world.status() == before
    assert world.steps == []


async def test_after_the_grace_ready_is_unknown_and_the_rest_stays_as_it_was() -> None:
    world = await running(instances=2)
    before = world.status()
    heard = list(world.recorder.events)
    away(world, 5)
    await world.settle()
    assert world.conditions()["Ready"] == ("Unknown", "ClusterUnreachable")
    assert world.message() == "MesosCluster bj1: Marathon does not answer; the app itself may well be running"
    assert world.status()["counts"] == before["counts"]
    assert world.status()["marathon"] == before["marathon"]
    await world.assert_quiet()
    world.site.unreachable_since = None
    everybody(world)
    await world.settle()
    assert world.ready()
    assert marathon_steps(world) == []
    assert world.recorder.events == heard, "the MesosCluster tells it, for all of its apps"


async def test_new_ones_are_told_why_nothing_happens_within_the_grace() -> None:
    world = World()
    await world.start()
    away(world, 5)
    world.apply()
    await world.round()
    assert world.conditions()["Ready"] == ("Unknown", "Pending")
    assert world.message() == "MesosCluster bj1: Marathon does not answer"


async def test_an_edit_while_marathon_is_away_is_done_when_it_is_back() -> None:
    world = await running()
    away(world, 1000)
    world.apply(cmd="sleep 2")
    await world.settle()
    assert marathon_steps(world) == []
    world.site.unreachable_since = None
    everybody(world)
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 2"


async def test_whoever_came_while_marathon_was_away_for_a_moment_does_not_wait_for_the_end_of_the_grace() -> None:
    """Nobody tells when a cluster is back within the grace, since nothing was told of its going."""
    world = await running()
    await world.round()
    world.delete()
    world.apply("late")
    world.site.unreachable_since = world.clock.monotonic()
    await world.round()
    world.site.unreachable_since = None
    process = world.process
    assert process is not None
    assert sorted((key.name, at - world.clock.monotonic()) for key, at in process.due.items()) == [("late", 5.0), ("web", 5.0)]
    world.clock.shift(5.0)
    await world.settle()
    assert world.ready("late")
    assert world.resource() is None


async def test_before_the_first_picture_nothing_is_decided() -> None:
    """An empty picture is not an empty Marathon."""
    world = await running()
    world.site.read = False
    await world.start()
    world.steps.clear()
    await world.round()
    world.delete()
    await world.round()
    assert world.steps == []
    assert world.resource() is not None


async def test_a_picture_older_than_our_own_write_is_not_believed() -> None:
    world = await running(instances=1)
    world.site.stale["/shop/web"] = (world.clock.monotonic(), world.marathon.actual("/shop/web"))
    world.clock.shift(1.0)
    world.apply(instances=1, cmd="sleep 2")
    for _ in range(10):
        await world.round()
        world.clock.shift(1.0)
    assert marathon_steps(world) == ["put_apps /shop/web"], "the old picture still shows the old command: writing again would restart twice"
    world.site.stale.clear()
    everybody(world)
    await world.settle()
    assert world.ready()


@pytest.mark.parametrize("error", [Unreachable("no answer"), UnknownOutcome("lost"), Conflict("odd")])
async def test_a_write_that_fails_is_tried_again(error: Exception) -> None:
    world = await running()
    assert world.process is not None
    world.process.clusters["bj1"].marathon.fail_next(error, name="put_apps", times=3)  # type: ignore[arg-type]
    world.apply(cmd="sleep 2")
    await world.settle()
    assert world.ready()


async def test_an_answer_that_was_lost_does_not_make_a_second_restart() -> None:
    world = await running()
    assert world.process is not None
    marathon = world.process.clusters["bj1"].marathon
    inner = marathon.hook

    def lose(moment: Any, what: str) -> None:
        if inner is not None:
            inner(moment, what)
        if moment.value == "after" and "put_apps" in what:
            marathon.hook = inner
            raise UnknownOutcome("timed out")

    marathon.hook = lose
    world.apply(cmd="sleep 2")
    await world.settle()
    assert world.ready()
    assert marathon_steps(world) == ["put_apps /shop/web"]


async def test_a_lock_that_the_picture_does_not_show_is_waited_for() -> None:
    world = await running()
    assert world.process is not None
    world.process.clusters["bj1"].marathon.fail_next(Locked("locked", deployments=("d-1",)), name="put_apps")
    world.apply(cmd="sleep 2")
    await world.settle()
    assert world.ready()


async def test_a_full_marathon_is_told_and_tried_later() -> None:
    world = await running()
    assert world.process is not None
    message = "Max number (100) of running deployments is achieved."
    world.process.clusters["bj1"].marathon.fail_next(Throttled(message, retry_after=20.0), name="put_apps")
    world.apply(cmd="sleep 2")
    await world.round()
    assert world.conditions()["Reconciling"] == ("True", "Throttled")
    assert message in world.message()
    await world.settle()
    assert world.ready()


async def test_missing_rights_are_told_and_tried_again() -> None:
    world = await running()
    assert world.process is not None
    world.process.clusters["bj1"].marathon.fail_next(Denied("Not Authorized to perform this action!"), name="put_apps")
    world.apply(cmd="sleep 2")
    await world.round()
    assert world.conditions()["Ready"] == ("Unknown", "AccessDenied")
    await world.settle()
    assert world.ready()


async def test_an_api_server_that_does_not_know_us_is_asked_again_soon_and_says_nothing_of_the_app() -> None:
    """A token that ended: the next one is in its file by then."""
    world = await running()
    before = world.status()
    world.kubernetes.fail("create", "controllerrevisions", Unauthenticated("create controllerrevisions: Unauthorized"))
    world.apply(cmd="sleep 2")
    with pytest.raises(Unauthenticated):
        await world.round()
    assert world.status() == before
    await world.round(everything=True)
    assert len(world.revisions()) == 2


async def test_what_only_marathon_can_judge_stalls_with_its_words_and_the_running_version_stays() -> None:
    world = await running(instances=2)
    before = world.marathon.actual("/shop/web")
    world.marathon.judge = lambda d: (
        [FieldError(path="/upgradeStrategy/minimumHealthCapacity", message="is greater than 1")] if d["cmd"] == "sleep 2" else []
    )
    world.apply(instances=2, cmd="sleep 2")
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "RefusedByMarathon")
    assert "/upgradeStrategy/minimumHealthCapacity: is greater than 1" in world.message()
    assert world.marathon.actual("/shop/web") == before
    calls = len(world.marathon.calls)
    for _ in range(5):
        await world.round(everything=True)
    assert len(world.marathon.calls) == calls, "what was refused is not sent again and again"
    world.apply(instances=2, cmd="sleep 3")
    await world.settle()
    assert world.ready()


async def test_a_refused_definition_is_tried_again_after_a_while_since_marathon_may_have_changed() -> None:
    world = World()
    world.marathon.judge = lambda _: [FieldError(path="/role", message="it is not allowed")]
    world.apply()
    await world.round()
    await world.round()
    assert world.conditions()["Stalled"] == ("True", "RefusedByMarathon")
    world.marathon.judge = lambda _: []
    world.clock.shift(301.0)
    await world.settle()
    assert world.ready()


async def test_a_refusal_without_fields_is_told_too() -> None:
    world = await running()
    assert world.process is not None
    world.process.clusters["bj1"].marathon.fail_next(Invalid("illegal constraint specification hostname,unique"), name="put_apps")
    world.apply(cmd="sleep 2")
    await world.round()
    assert "illegal constraint specification" in world.message()


# ---------------------------------------------------------------------------------------------------- deletion


async def test_deleting_waits_for_a_cluster_that_is_away_and_says_how_to_let_go() -> None:
    world = await running()
    away(world, 1000)
    world.delete()
    await world.settle()
    assert world.conditions()["Ready"] == ("Unknown", "ClusterUnreachable")
    assert "paas.shurenyun.com/force-orphan=true" in world.message()
    world.site.unreachable_since = None
    everybody(world)
    await world.settle()
    assert world.resource() is None
    assert world.marathon.definitions == {}


async def test_force_orphan_lets_go_of_a_cluster_that_is_gone_for_good() -> None:
    world = await running()
    await world.kubernetes.delete(MESOS_CLUSTERS, "", "bj1")
    world.delete()
    await world.settle()
    assert world.conditions()["Ready"] == ("Unknown", "ClusterUnreachable")
    world.apply(annotations={"paas.shurenyun.com/force-orphan": "true"})
    await world.settle()
    assert world.resource() is None
    assert "/shop/web" in world.marathon.definitions


async def test_force_orphan_goes_on_although_zookeeper_does_not_answer() -> None:
    world = await running()
    assert world.process is not None
    world.delete()
    world.apply(annotations={"paas.shurenyun.com/force-orphan": "true"})

    async def dead(*_args: object, **_kwargs: object) -> None:
        raise Unreachable("no ZooKeeper")

    world.process.clusters["bj1"].release = dead  # type: ignore[method-assign]  # the fake's own method
    await world.settle()
    assert world.resource() is None


async def test_deletion_when_the_app_is_gone_already() -> None:
    world = await running()
    world.marathon.foreign_delete("/shop/web")
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.claims() == {}


async def test_the_guard_slows_a_mass_deletion_down_and_says_so() -> None:
    world = World()
    for number in range(6):
        world.apply(f"app{number}")
    await world.settle()
    world.site.deletions = DeletionLimit(share=0.1, floor=2)
    for number in range(6):
        world.delete(f"app{number}")
    for _ in range(5):
        await world.round()
        world.clock.shift(1.0)
    assert len(world.marathon.definitions) == 4
    left = [item["metadata"]["name"] for item in (world.resource(f"app{n}") for n in range(6)) if item is not None]
    assert {world.conditions(name)["Ready"] for name in left} == {("Unknown", "DeletionGuard")}
    await world.settle()
    assert world.marathon.definitions == {}
    assert world.clock.monotonic() > 120


async def test_the_guard_counts_those_that_pass_at_the_same_moment() -> None:
    world = World()
    for number in range(4):
        world.apply(f"app{number}")
    await world.settle()
    world.site.deletions = DeletionLimit(share=0.0, floor=1)
    for number in range(4):
        world.delete(f"app{number}")
    await world.round()
    assert len(world.marathon.definitions) == 3


# ---------------------------------------------------------------------------------------------------- clusters and API server


async def test_a_cluster_that_cannot_be_used_is_pointed_at() -> None:
    world = await running()
    world.site.problem = Problem(reason="ForeignInstallation", message="/shuren/bj1 belongs to another installation")
    everybody(world)
    world.apply(cmd="sleep 2")
    await world.settle()
    assert world.conditions()["Ready"] == ("Unknown", "ClusterNotReady")
    assert "another installation" in world.message()
    assert marathon_steps(world) == []


@pytest.mark.parametrize("verb", ["apply-status", "patch", "create"])
async def test_an_api_server_that_fails_costs_time_only(verb: str) -> None:
    world = World()
    world.kubernetes.fail(verb, "*", Unreachable("etcdserver: request timed out"), times=3)
    world.apply()
    await world.settle()
    assert world.ready()


async def test_a_conflict_on_the_finalizer_is_looked_at_again() -> None:
    world = World()
    world.apply()
    world.kubernetes.fail("patch", "paasapps", Conflict("the object has been modified"))
    await world.settle()
    assert world.ready()


async def test_a_resource_that_goes_in_the_middle_of_a_pass_is_no_error() -> None:
    world = await running()
    process = world.process
    assert process is not None
    key = world.everyone()[0]
    process.sync()
    world.delete()
    await world.settle()
    assert await process.controller.reconcile(key) is not None
    assert world.claims() == {}
