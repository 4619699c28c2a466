"""The ordinary life of a PaasApp on fakes: created, changed, scaled, adopted, deleted; and what the policies forbid."""

from __future__ import annotations

from typing import Any

import pytest

from paasapp_scenarios import broken
from paasapp_world import FINALIZER, World
from shuren.clients.fakes.marathon_tasks import Behaviour
from shuren.domain.app.snapshot import Problem
from shuren.domain.app.work import SETTLE
from shuren.domain.errors import FieldError
from shuren.ports.kubernetes import CONTROLLER_REVISIONS, NAMESPACES


def marathon_steps(world: World) -> list[str]:
    return [step.removeprefix("marathon ") for step in world.steps if step.startswith("marathon ")]


async def running(**spec: Any) -> World:
    world = World()
    world.marathon.behave = broken
    world.apply(**spec)
    await world.settle()
    assert world.ready(), world.conditions()
    world.steps.clear()
    return world


async def test_finalizer_then_claim_then_marathon_then_record() -> None:
    world = World()
    world.apply()
    await world.round()
    steps = [s for s in world.steps if not s.startswith("zookeeper Create /shuren/bj1/") or "/owners/" in s]
    outside = [s.split()[0] + " " + s.split()[1].split("/")[0] for s in steps if not s.endswith("/shuren") and not s.endswith("/bj1")]
    assert outside == [
        "patch paasapps",
        "zookeeper Create",
        "marathon put_apps",
        "apply-status[shuren-status] paasapps",
    ]
    item = world.resource()
    assert item is not None
    assert item["metadata"]["finalizers"] == [FINALIZER]
    await world.round()
    assert world.steps[len(steps) :] != []
    assert any(step.startswith("create controllerrevisions") for step in world.steps)


async def test_while_others_wait_the_first_status_is_left_to_the_pass_that_follows() -> None:
    world = World()
    world.crowded = True
    world.apply()
    await world.round()
    assert "/shop/web" in world.marathon.definitions
    assert [step for step in world.steps if "apply-status" in step] == []
    await world.round()
    assert len([step for step in world.steps if "apply-status" in step]) == 1


async def test_while_others_wait_a_suspended_app_is_not_created() -> None:
    world = World()
    world.crowded = True
    world.apply(management={"suspend": True})
    await world.round()
    assert world.marathon.definitions == {}
    assert world.conditions()["Suspended"] == ("True", "Suspended")


async def test_while_others_wait_a_refusal_is_told_at_once_and_what_else_is_known_after_it() -> None:
    world = World()
    world.crowded = True
    world.adviser = lambda _definition, _cluster: (Problem(reason="Trap", message="a trap"),)
    world.marathon.judge = lambda _: [FieldError(path="/cpus", message="too many")]
    world.apply()
    await world.round()
    assert world.conditions()["Stalled"] == ("True", "RefusedByMarathon")
    assert "Advice" not in world.conditions()
    world.clock.shift(SETTLE)
    await world.round()
    assert world.conditions()["Stalled"] == ("True", "RefusedByMarathon")
    assert world.conditions()["Advice"] == ("True", "Trap")


async def test_nothing_is_done_about_a_new_app_until_it_is_seen_and_nothing_that_happens_meanwhile_is_lost() -> None:
    world = World()
    world.crowded = True
    world.site.stale["/shop/web"] = (float("-inf"), None)
    world.apply()
    await world.round()
    written = len(world.steps)
    assert "/shop/web" in world.marathon.definitions
    await world.round()
    await world.round()
    assert len(world.steps) == written, "the picture is from before the create"
    world.apply(cmd="sleep 2000")
    await world.round()
    assert len(world.steps) == written, "nor can an edit be judged by it"
    world.site.unreachable_since = world.clock.monotonic() - 100.0
    await world.round()
    assert world.conditions()["Ready"] == ("Unknown", "ClusterUnreachable")
    world.site.unreachable_since = None
    world.site.stale.clear()
    await world.round()
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 2000"
    world.delete()
    for _ in range(6):
        await world.round()
        world.clock.shift(1.0)
    assert "/shop/web" not in world.marathon.definitions


async def test_the_first_pass_gives_a_status_at_once() -> None:
    world = World()
    world.site.read = False
    world.apply()
    await world.round()
    assert world.conditions() == {"Ready": ("Unknown", "Pending"), "Reconciling": ("True", "Pending"), "InSync": ("Unknown", "NotCompared")}


async def test_the_default_id_is_namespace_and_name_and_spec_id_overrides_it() -> None:
    assert "/shop/web" in (await running()).marathon.definitions
    assert "/shop/front/web" in (await running(id="/shop/front/web")).marathon.definitions


async def test_a_change_is_one_full_write() -> None:
    world = await running(instances=2, env={"A": "1"}, labels={"x": "y"})
    world.apply(instances=2, cmd="sleep 2")
    await world.settle()
    assert marathon_steps(world) == ["put_apps /shop/web"]
    definition = world.marathon.definitions["/shop/web"]
    assert "env" not in definition, "a full write leaves nothing of what the spec does not say any more"
    assert definition["labels"] == {}


async def test_scaling_up_is_a_partial_write_that_restarts_nothing() -> None:
    world = await running(instances=1, resourceLimits={"mem": 512})
    before = {t.id for t in world.marathon.actual("/shop/web").tasks}  # type: ignore[union-attr]
    world.apply(instances=3, resourceLimits={"mem": 512})
    await world.settle()
    assert marathon_steps(world) == ["patch_apps /shop/web"]
    after = world.marathon.actual("/shop/web")
    assert after is not None
    assert before <= {t.id for t in after.tasks}
    assert after.definition["resourceLimits"] == {"mem": 512}
    assert len(world.revisions()) == 1, "scaling makes no revision"


async def test_scaling_down_kills_the_tasks_that_the_victims_decision_names() -> None:
    world = await running(instances=3, killSelection="OLDEST_FIRST")
    app = world.marathon.actual("/shop/web")
    assert app is not None
    oldest = min(app.tasks, key=lambda t: t.staged_at or "").id
    world.apply(instances=2, killSelection="OLDEST_FIRST")
    await world.settle()
    assert marathon_steps(world) == ["kill_tasks /shop/web"]
    left = world.marathon.actual("/shop/web")
    assert left is not None
    assert oldest not in {t.id for t in left.tasks}
    assert left.instances == 2


async def test_instances_that_never_got_a_task_go_before_tasks_are_killed() -> None:
    world = await running(instances=1)
    world.marathon.behave = lambda _: Behaviour.UNPLACED
    world.apply(instances=4)
    for _ in range(4):
        await world.round()
    world.apply(instances=1)
    await world.settle()
    assert [s for s in marathon_steps(world) if s.startswith("kill")] == []
    assert world.ready()


async def test_zero_instances_is_ready_and_says_stopped() -> None:
    world = await running(instances=2)
    world.apply(instances=0)
    await world.settle()
    assert world.conditions()["Ready"] == ("True", "Stopped")
    assert world.status()["ready"] == "0/0"


async def test_deleting_is_counted_then_takes_app_then_claim_then_finalizer() -> None:
    world = await running()
    world.delete()
    await world.settle()
    assert [s for s in world.steps if "status" not in s] == [
        "zookeeper Create /shuren/bj1/deletions",
        "marathon delete_app /shop/web",
        "zookeeper SetData /shuren/bj1/owners/86",
        "patch paasapps/web",
    ]
    assert world.resource() is None
    assert world.kubernetes.all(CONTROLLER_REVISIONS) == [], "revisions go with their owner"


async def test_deleting_before_anything_was_made_needs_nothing() -> None:
    world = World()
    world.site.read = False
    world.apply()
    await world.round()
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert marathon_steps(world) == []


async def test_deleting_in_the_middle_of_a_hanging_roll_out_is_not_held_up() -> None:
    world = await running(instances=2)
    world.apply(instances=2, cmd="unplaced 1")
    await world.round()
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert marathon_steps(world)[-1] == "delete_app /shop/web force"


async def test_deleting_waits_for_a_deployment_of_several_apps() -> None:
    world = await running(instances=1)
    world.marathon.behave = lambda d: Behaviour.STUCK if d["cmd"] == "stuck" else Behaviour.RUNS
    world.marathon.update([{"id": "/other/x", "cmd": "stuck", "instances": 1}, {**world.marathon.definitions["/shop/web"], "instances": 2}])
    world.delete()
    await world.round()
    await world.round()
    assert world.conditions()["Ready"] == ("Unknown", "Locked")
    for plan in list(world.marathon.plans):
        world.marathon.cancel(plan)
    await world.settle()
    assert world.resource() is None
    assert "/other/x" in world.marathon.definitions


# ---------------------------------------------------------------------------------------------------- adoption


@pytest.mark.parametrize(
    ("adoption", "same", "reason"),
    [("Refuse", True, "NotAdopted"), ("Refuse", False, "NotAdopted"), ("AdoptIfIdentical", False, "NotIdentical")],
)
async def test_an_existing_app_is_refused(adoption: str, same: bool, reason: str) -> None:  # noqa: FBT001 - a table
    world = World()
    world.marathon.foreign_put({"id": "/shop/web", "cmd": "sleep 1000" if same else "sleep 1", "instances": 1})
    world.marathon.settle()
    world.apply(management={"adoption": adoption})
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", reason)
    assert "spec.management.adoption" in world.message()
    assert marathon_steps(world) == []
    assert world.claims() == {}
    item = world.resource()
    assert item is not None
    assert "finalizers" not in item["metadata"]
    await world.assert_quiet()


async def test_adopting_an_identical_app_restarts_nothing_and_it_can_be_gone_back_to() -> None:
    world = World()
    world.marathon.behave = broken
    world.marathon.foreign_put({"id": "/shop/web", "cmd": "sleep 1000", "instances": 2})
    world.marathon.settle()
    before = world.marathon.actual("/shop/web")
    world.apply(instances=2, management={"adoption": "AdoptIfIdentical"})
    await world.settle()
    assert world.ready()
    assert world.marathon.actual("/shop/web") == before
    assert ("Adopted", "took over the app as it is; nothing restarts") in world.recorder.events
    world.apply(instances=2, cmd="unplaced 1")
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "RolledBack")
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 1000"


async def test_adopting_changes_an_app_only_when_told_so() -> None:
    world = World()
    world.marathon.foreign_put({"id": "/shop/web", "cmd": "sleep 1", "instances": 1})
    world.marathon.settle()
    world.apply(management={"adoption": "Refuse"})
    await world.settle()
    world.apply(management={"adoption": "Adopt"})
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 1000"


# ---------------------------------------------------------------------------------------------------- policies


async def test_observe_only_writes_nothing_but_status() -> None:
    world = World()
    world.marathon.foreign_put({"id": "/shop/web", "cmd": "sleep 1", "instances": 2})
    world.marathon.settle()
    world.apply(management={"policy": "ObserveOnly"})
    await world.settle()
    item = world.resource()
    assert item is not None
    assert "finalizers" not in item["metadata"]
    assert world.claims() == {}
    assert world.conditions() == {"Ready": ("True", "Ready"), "InSync": ("False", "Drifted")}
    assert world.status()["counts"]["running"] == 2
    assert {s["path"] for s in world.status()["drift"]["sample"]} == {"/cmd", "/instances"}
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert "/shop/web" in world.marathon.definitions


async def test_observing_what_is_not_there() -> None:
    world = World()
    world.apply(management={"policy": "ObserveOnly"})
    await world.settle()
    assert world.conditions()["Ready"] == ("False", "ObserveOnly")
    assert marathon_steps(world) == []


@pytest.mark.parametrize("management", [{"deletion": "Orphan"}, {"policy": "NoDelete"}])
async def test_what_must_not_be_deleted_runs_on_unclaimed(management: dict[str, str]) -> None:
    world = await running(instances=2, management=management)
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.claims() == {}
    assert world.marathon.definitions["/shop/web"]["instances"] == 2


async def test_suspended_nothing_is_changed_and_ready_tells_whether_something_waits() -> None:
    world = await running(instances=2)
    world.apply(instances=2, management={"suspend": True})
    await world.settle()
    assert world.conditions()["Ready"] == ("True", "Ready")
    assert world.conditions()["Suspended"] == ("True", "Suspended")
    world.apply(instances=2, cmd="sleep 2", management={"suspend": True})
    await world.settle()
    assert world.conditions()["Ready"] == ("Unknown", "Suspended")
    assert "Reconciling" not in world.conditions()
    assert "update /shop/web (/cmd)" in world.message()
    assert marathon_steps(world) == []
    await world.assert_quiet()
    world.apply(instances=2, cmd="sleep 2")
    await world.settle()
    assert world.ready()
    assert "Suspended" not in world.conditions()


async def test_suspended_nothing_is_deleted_until_it_is_resumed() -> None:
    world = await running()
    world.apply(management={"suspend": True})
    await world.settle()
    world.delete()
    await world.settle()
    assert world.conditions()["Ready"] == ("Unknown", "Suspended")
    assert marathon_steps(world) == []
    world.apply()
    await world.settle()
    assert world.resource() is None


async def test_suspending_in_the_middle_of_a_roll_out_holds_the_roll_back() -> None:
    world = await running(instances=1)
    world.apply(instances=1, cmd="unplaced 1", rollout={"deadlineSeconds": 60})
    await world.round()
    world.apply(instances=1, cmd="unplaced 1", rollout={"deadlineSeconds": 60}, management={"suspend": True})
    world.steps.clear()
    await world.settle()
    assert marathon_steps(world) == []
    assert "roll /shop/web back" in world.message()
    world.apply(instances=1, cmd="unplaced 1", rollout={"deadlineSeconds": 60})
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "RolledBack")


# ---------------------------------------------------------------------------------------------------- order


async def test_an_app_waits_until_what_it_depends_on_is_ready() -> None:
    world = World()
    world.apply("web", dependsOn=[{"name": "db"}])
    await world.settle()
    assert world.conditions("web")["Ready"] == ("False", "DependencyNotReady")
    assert "db (does not exist)" in world.message("web")
    world.apply("db")
    await world.settle()
    assert world.ready("web")
    assert [s for s in marathon_steps(world) if s.startswith("put")] == ["put_apps /shop/db", "put_apps /shop/web"]


async def test_a_circle_of_dependencies_is_told_and_not_waited_for() -> None:
    world = World()
    world.apply("a", dependsOn=[{"name": "b"}])
    world.apply("b", dependsOn=[{"name": "a"}])
    await world.settle()
    assert world.conditions("a")["Stalled"] == ("True", "DependencyCircle")
    assert "a -> b -> a" in world.message("a")
    world.apply("b")
    await world.settle()
    assert world.ready("a")
    assert world.ready("b")


async def test_a_pass_between_the_end_of_the_resource_and_the_news_of_it_asks_for_nothing() -> None:
    """The API server answers the write that ends a resource with the version from before it."""
    world = await running()
    world.delete()
    process = world.process
    assert process is not None
    key = world.everyone()[0]
    while world.resource() is not None:
        await process.pass_over(key)
        world.marathon.settle()
    world.steps.clear()
    await process.controller.reconcile(key)
    assert world.steps == []


async def test_in_a_namespace_that_is_going_nothing_is_begun_and_deletion_goes_on() -> None:
    """The namespace controller may take revisions away before the app: what failed must not be tried again meanwhile."""
    world = await running(cmd="sleep 1")
    world.apply(cmd="exit fails", rollout={"deadlineSeconds": 30})
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "RolledBack")
    held: dict[str, Any] = {"op": "add", "path": "/metadata/finalizers", "value": ["kubernetes"]}
    await world.kubernetes.patch_json(NAMESPACES, "", "shop", [held])
    world.kubernetes.user_delete(NAMESPACES, "", "shop")
    for item in world.kubernetes.all(CONTROLLER_REVISIONS):
        world.kubernetes.user_delete(CONTROLLER_REVISIONS, "shop", item["metadata"]["name"])
    world.steps.clear()
    await world.settle()
    assert world.steps == []
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.marathon.definitions == {}
