"""The classes of mistakes that operators are known for, one named test each, as far as they concern apps.

1-3 are what Sieve perturbs, 4-7 what Acto drives, the rest our own additions. 4 is `test_fields.py`, a whole table; of 12 and 23 the
clients' side is in `tests/contract`; 18 belongs to shard maps.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paasapp_scenarios import STORIES, Story, broken, tell
from paasapp_world import World
from shuren.clients.fakes.crash import Moment
from shuren.domain.app.snapshot import FINALIZER
from shuren.domain.errors import Denied, Fenced, UnknownOutcome, Unreachable
from shuren.domain.tenancy import Operator, Requirement, Selector, Tenancy
from shuren.ports.kubernetes import CONTROLLER_REVISIONS, MESOS_CLUSTERS, PAAS_APPS


async def _settle(world: World) -> None:
    await world.settle()


def calls(world: World) -> int:
    return sum(1 for call in world.marathon.calls if call.error is None)


async def test_01_intermediate_state_is_finished_after_a_crash() -> None:
    """Every write of every story: tests/model/paasapp. Here the worst one: claimed, recorded, and then nothing."""
    world = World()
    world.apply()
    await world.start()
    assert world.process is not None
    world.process.clusters["bj1"].marathon.fail_next(Unreachable("dead"), name="put_apps")
    await world.round()
    assert world.claims() == {"/shop/web": "shop/web"}
    await world.start()
    await world.settle()
    assert world.ready()


async def test_02_a_store_that_went_back_in_time_deletes_nothing() -> None:
    """The process sees a resource of the past: deleted, with the uid of then. The claim of now has another uid and holds."""
    world = World()
    world.apply()
    await world.settle()
    old = world.resource()
    assert old is not None
    world.delete()
    await world.settle()
    world.apply()
    await world.settle()
    before = calls(world)
    process = await world.start()
    process.sync()
    key = world.everyone()[0]
    process.store.remove(key)
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    process.store.put(key, old)
    with pytest.raises(Exception, match="uid"):
        await process.controller.reconcile(key)
    assert calls(world) == before
    assert world.ready()


async def test_03_deleted_and_made_again_unseen_is_a_new_resource() -> None:
    world = World()
    world.apply(instances=2)
    await world.settle()
    await world.kubernetes.patch_json(PAAS_APPS, "shop", "web", [{"op": "add", "path": "/metadata/finalizers", "value": []}])
    world.delete()
    world.apply(instances=3)
    await world.settle()
    assert world.ready()
    item = world.resource()
    assert item is not None
    assert item["metadata"]["finalizers"] == [FINALIZER]
    assert world.marathon.definitions["/shop/web"]["instances"] == 3


async def test_03_scaled_there_and_back_unseen_does_nothing() -> None:
    world = World()
    world.apply(instances=3)
    await world.settle()
    before = calls(world)
    world.apply(instances=2)
    world.apply(instances=3)
    await world.settle()
    assert world.ready()
    assert calls(world) == before


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "cmd": st.sampled_from(["sleep 1", "sleep 2"]),
        "instances": st.integers(0, 3),
        "env": st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "2"])),
        "labels": st.dictionaries(st.sampled_from(["x", "y"]), st.just("z")),
        "cpus": st.sampled_from([0.1, 1, 2]),
        "constraints": st.just([["hostname", "UNIQUE"]]),
        "portDefinitions": st.lists(st.just({"port": 0, "name": "http"}), max_size=1),
        "taskKillGracePeriodSeconds": st.integers(1, 5),
        "user": st.just("nobody"),
    },
)


@settings(max_examples=40, deadline=None)
@given(history=st.lists(FIELDS, min_size=2, max_size=4))
def test_05_any_history_ends_as_if_only_the_last_spec_had_been(history: list[dict[str, object]]) -> None:
    """No old port, label or variable is left over."""

    async def run(specs: list[dict[str, object]]) -> object:
        world = World()
        for spec in specs:
            world.apply("web", **spec)  # type: ignore[arg-type]  # drawn fields
            await world.settle()
        definition = dict(world.marathon.definitions["/shop/web"])
        ports = [{k: v for k, v in p.items() if k != "port"} for p in definition.get("portDefinitions", ())]
        return {k: v for k, v in definition.items() if k not in {"version", "versionInfo"}} | {"portDefinitions": ports}

    assert asyncio.run(run(history)) == asyncio.run(run(history[-1:]))


@pytest.mark.parametrize(
    "bad", [{"cmd": "unplaced 1"}, {"healthChecks": [{"protocol": "COMMAND"}]}, {"id": "/bank/web"}, {"instances": -1}]
)
async def test_06_going_back_to_a_good_spec_heals_without_a_hand(bad: dict[str, object]) -> None:
    world = World()
    world.marathon.behave = broken
    world.apply(instances=1)
    await world.settle()
    world.apply(**{"instances": 1, "rollout": {"deadlineSeconds": 60}, **bad})  # type: ignore[arg-type]  # a table of bad fields
    await world.settle()
    assert not world.ready()
    world.apply(instances=1)
    await world.settle()
    assert world.ready()
    assert set(world.marathon.definitions) == {"/shop/web"}


async def test_07_changes_during_a_change_end_at_the_last() -> None:
    world = World()
    for number in range(6):
        world.apply(instances=1 + number % 3, cmd=f"sleep {number + 1}")
        await world.round()
        world.clock.shift(0.5)
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 6"


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
async def test_08_a_second_pass_writes_nothing(story: Story) -> None:
    world = World(sites=story.sites)
    await tell(story, world, settle=_settle)
    await world.assert_quiet()


async def test_09_an_unread_marathon_is_no_order_to_create_or_delete() -> None:
    world = World()
    world.apply()
    await world.settle()
    world.site.read = False
    world.site.stale["/shop/web"] = (float("inf"), None)
    before = calls(world)
    await world.start()
    for _ in range(5):
        await world.round(everything=True)
        world.clock.shift(10.0)
    assert calls(world) == before


async def test_10_a_deposed_leader_that_does_not_know_it_changes_nothing_for_good() -> None:
    world = World()
    world.apply()
    old = await world.start()
    await world.start()
    key = world.everyone()[0]
    with pytest.raises(Fenced):
        await old.pass_over(key)
    assert world.marathon.definitions == {}, "without the claim nothing is sent to Marathon"
    await world.settle()
    assert world.ready()


async def test_11_a_leader_stopped_between_claim_and_write_and_woken_late_is_put_right() -> None:
    """Marathon has no conditional write: what a stopped leader still sends is found by the next pass of the new one."""
    world = World()
    world.apply(cmd="sleep 1")
    await world.settle()
    old = world.process
    assert old is not None
    item = world.resource()
    assert item is not None
    world.apply(cmd="sleep 2")
    await world.start()
    await world.settle()
    await old.clusters["bj1"].writes.change({"id": "/shop/web", "cmd": "sleep 1", "instances": 1}, force=False)
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 2"


async def test_11_a_leader_that_was_stopped_and_knows_it_sends_nothing() -> None:
    world = World()
    world.apply()
    old = await world.start()
    old.lead.leads = False
    with pytest.raises(Fenced):
        await old.pass_over(world.everyone()[0])
    assert calls(world) == 0
    item = world.resource()
    assert item is not None
    assert "status" not in item


async def test_12_the_lost_answer_to_a_claim_makes_neither_two_claims_nor_two_apps() -> None:
    """ZooKeeper has done it and nobody heard; then the session is gone, and a new one sees what there is."""
    world = World()
    world.apply()
    process = await world.start()
    lost = iter((UnknownOutcome("connection lost"),))

    def lose(moment: Moment, what: str) -> None:
        if moment is Moment.AFTER and "/owners/" in what and (error := next(lost, None)) is not None:
            raise error

    session = process.clusters["bj1"]._zookeeper
    session.hook = lose
    await world.round()
    session.disconnect()
    await world.round()
    session.expire()
    await world.round()
    session.reconnect()
    await world.settle()
    assert world.ready()
    assert world.claims() == {"/shop/web": "shop/web"}
    assert sum(call.name == "put_apps" and call.error is None for call in world.marathon.calls) == 1


async def test_13_locked_full_and_away_all_pass() -> None:
    """One by one in test_outages; here all at once."""
    world = World()
    world.apply()
    process = await world.start()
    for name in ("put_apps", "patch_apps"):
        process.clusters["bj1"].marathon.fail_next(Unreachable("502"), name=name, times=2)
    world.kubernetes.fail("apply-status", "paasapps", Unreachable("503"), times=2)
    await world.settle()
    assert world.ready()


async def test_14_one_id_in_two_clusters_is_two_apps() -> None:
    world = World(sites=("bj1", "bj2"))
    world.apply("a", id="/shop/site", cluster="bj1")
    world.apply("b", id="/shop/site", cluster="bj2")
    await world.settle()
    assert world.ready("a")
    assert world.ready("b")


async def test_15_deleting_while_creating() -> None:
    world = World()
    world.apply(instances=3)
    await world.round()
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.marathon.definitions == {}
    assert world.claims() == {}


async def test_16_suspending_and_resuming_in_the_middle_of_a_roll_out() -> None:
    world = World()
    world.apply(instances=2)
    await world.settle()
    world.apply(instances=2, cmd="sleep 2")
    await world.round()
    world.apply(instances=2, cmd="sleep 3", management={"suspend": True})
    await world.settle()
    assert world.conditions()["Ready"] == ("Unknown", "Suspended")
    world.apply(instances=2, cmd="sleep 3")
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 3"


@pytest.mark.parametrize("seconds", [-86_400.0, 86_400.0])
async def test_17_a_wall_clock_that_jumps_changes_nothing(seconds: float) -> None:
    world = World()
    world.apply(instances=2, rollout={"deadlineSeconds": 60})
    await world.settle()
    before = calls(world)
    world.clock.jump(seconds)
    process = await world.start()
    process.sync()
    await world.settle()
    assert world.ready()
    assert calls(world) == before
    world.apply(instances=2, cmd="sleep 2", rollout={"deadlineSeconds": 60})
    await world.settle()
    assert world.ready()


@pytest.mark.parametrize(
    "state", [{}, {"observedGeneration": 99, "fromTheFuture": {"x": 1}, "conditions": [{"type": "Later", "status": "True"}]}]
)
async def test_19_the_status_of_an_older_or_newer_release_is_no_reason_to_touch_an_app(state: dict[str, object]) -> None:
    world = World()
    world.apply(instances=2)
    await world.settle()
    before = calls(world)
    item = world.resource()
    assert item is not None
    await world.kubernetes.patch_json(PAAS_APPS, "shop", "web", [{"op": "add", "path": "/status", "value": state}])
    for revision in world.kubernetes.all(CONTROLLER_REVISIONS):
        note = [{"op": "add", "path": "/metadata/labels/later", "value": "x"}]
        await world.kubernetes.patch_json(CONTROLLER_REVISIONS, "shop", revision["metadata"]["name"], note)
    await world.start()
    await world.settle()
    assert world.ready()
    assert calls(world) == before
    assert len(world.revisions()) == 1


async def test_20_one_that_never_comes_to_rest_holds_nobody_up() -> None:
    """What the queue does about it: tests/unit/runtime. Here: its failures are its own."""
    world = World()
    world.marathon.behave = broken
    world.apply("bad", cmd="unplaced 1", instances=3)
    await world.round()
    world.apply("worse", id="/shop/bad")
    for number in range(5):
        world.apply(f"good-{number}", instances=1)
    await world.settle()
    assert all(world.ready(f"good-{number}") for number in range(5))
    assert not world.ready("bad")
    assert world.conditions("worse")["Ready"][0] == "False"


async def test_21_what_came_and_went_leaves_nothing_behind() -> None:
    world = World()
    process = await world.start()

    async def come_and_go(name: str) -> None:
        world.secret("s", password="x")
        world.apply(name, instances=1, envRefs=[{"name": "P", "secretKeyRef": {"name": "s", "key": "password"}}])
        await world.settle()
        assert world.ready(name)
        world.delete(name)
        await world.settle()

    def remembered() -> dict[str, int]:
        held = vars(process.controller).items()
        return {name: len(value) for name, value in held if hasattr(value, "__len__")} | {
            "due": len(process.due),
            "signalled": len(process.signalled),
            "tasks": len(asyncio.all_tasks()),
            "objects": sum(len(process.store.keys(kind)) for kind in ("PaasApp", "ControllerRevision")),
        }

    await come_and_go("first")
    before = remembered()
    for number in range(30):
        await come_and_go(f"app-{number}")
    after = remembered()
    assert after.pop("_written") <= 20, "forgotten now and then, not each by each"
    del before["_written"]
    assert after == before
    assert world.claims() == {}
    assert world.revisions() == {}


async def test_22_a_missing_right_in_kubernetes_is_not_swallowed() -> None:
    world = World()
    world.apply()
    world.kubernetes.fail("patch", "paasapps", Denied("cannot patch paasapps/finalizers"))
    await world.round()
    assert "cannot patch paasapps/finalizers" in world.message()
    assert calls(world) == 0


async def test_23_what_no_watch_has_told_is_found_all_the_same() -> None:
    """A silent watch or a gap (410): the store learns of it late, from a list. Nothing was done meanwhile, and nothing is done twice."""
    world = World()
    world.apply("kept")
    world.apply("gone")
    await world.settle()
    process = world.process
    assert process is not None
    world.delete("gone")
    world.apply("kept", cmd="sleep 2")
    world.apply("kept", cmd="sleep 3")
    for key in world.everyone():
        await process.controller.reconcile(key)
    assert set(world.marathon.definitions) == {"/shop/gone", "/shop/kept"}
    await world.settle()
    assert world.ready("kept")
    assert {i: d["cmd"] for i, d in world.marathon.definitions.items()} == {"/shop/kept": "sleep 3"}


async def test_24_a_namespace_that_lost_its_right_keeps_its_apps_and_can_delete_them() -> None:
    world = World()
    world.apply()
    await world.settle()
    world.site.tenancy = Tenancy(namespaces=Selector(requirements=(Requirement(key="mesos", operator=Operator.EXISTS),)))
    world.kubernetes.user_apply(MESOS_CLUSTERS, {"metadata": {"name": "bj1"}, "spec": {"tenancy": 1}})
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "NotAllowed")
    assert "/shop/web" in world.marathon.definitions
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.marathon.definitions == {}


@pytest.mark.parametrize("name", ["a" * 200, "a.b-c", "web-1.2"])
async def test_25_long_and_dotted_names(name: str) -> None:
    world = World()
    world.apply(name)
    await world.settle()
    assert world.ready(name)
    assert f"/shop/{name}" in world.marathon.definitions


@pytest.mark.parametrize("bad", ["/Shop/Web", "/shop/网站", "/shop/web_1", "/shop/tasks"])
async def test_25_ids_that_marathon_would_refuse_are_refused_before(bad: str) -> None:
    world = World()
    world.apply(id=bad)
    await world.settle()
    assert world.conditions()["Stalled"][1] == "InvalidSpec"
    assert "spec.id" in world.message()
    assert world.claims() == {}
