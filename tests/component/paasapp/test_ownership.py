"""Who may have which app id: claims, tenancy, namesakes, changes of the id, moves between clusters."""

from __future__ import annotations

import pytest

from paasapp_scenarios import broken
from paasapp_world import FINALIZER, World
from shuren.domain.errors import NotOurs
from shuren.domain.tenancy import Operator, PrefixRule, Requirement, Selector, Tenancy
from shuren.ports.kubernetes import MESOS_CLUSTERS, NAMESPACES, PAAS_APPS


def marathon_steps(world: World) -> list[str]:
    return [step.removeprefix("marathon ") for step in world.steps if step.startswith("marathon ")]


async def test_the_older_claim_wins_and_the_younger_is_told_whose_it_is() -> None:
    world = World()
    world.apply("old", id="/shop/site")
    await world.settle()
    world.apply("young", id="/shop/site", cmd="sleep 5")
    await world.settle()
    assert world.ready("old")
    assert world.conditions("young")["Stalled"] == ("True", "OwnedByOther")
    assert "shop/old" in world.message("young")
    assert world.marathon.definitions["/shop/site"]["cmd"] == "sleep 1000"
    await world.assert_quiet()
    world.delete("old")
    await world.settle()
    assert world.ready("young"), "the younger goes on when the id is free"


async def test_two_new_resources_at_once_never_make_two_apps() -> None:
    world = World()
    world.apply("a", id="/shop/site")
    world.apply("b", id="/shop/site")
    await world.settle()
    assert sorted(world.conditions(n).get("Ready", ("", ""))[1] for n in ("a", "b")) == ["OwnedByOther", "Ready"]
    assert marathon_steps(world) == ["put_apps /shop/site"]


async def test_the_claim_of_a_resource_that_vanished_is_taken_over_by_its_namesake() -> None:
    """Somebody removed the finalizer by hand and deleted; the app still runs, and the same name comes again."""
    world = World()
    world.apply()
    await world.settle()
    before = world.marathon.actual("/shop/web")
    await world.kubernetes.patch_json(PAAS_APPS, "shop", "web", [{"op": "add", "path": "/metadata/finalizers", "value": []}])
    world.delete()
    assert world.resource() is None
    await world.settle()
    assert world.claims() == {"/shop/web": "shop/web"}
    world.apply()
    await world.settle()
    assert world.ready()
    after = world.marathon.actual("/shop/web")
    assert before is not None
    assert after is not None
    assert [t.id for t in after.tasks] == [t.id for t in before.tasks], "nothing restarts"


async def test_the_claim_of_a_resource_that_vanished_frees_the_id_for_others_under_the_rules_of_adoption() -> None:
    world = World()
    world.apply("gone", id="/shop/site")
    await world.settle()
    await world.kubernetes.patch_json(PAAS_APPS, "shop", "gone", [{"op": "add", "path": "/metadata/finalizers", "value": []}])
    world.delete("gone")
    world.apply("heir", id="/shop/site")
    await world.settle()
    assert world.conditions("heir")["Stalled"] == ("True", "NotAdopted")
    world.apply("heir", id="/shop/site", management={"adoption": "AdoptIfIdentical"})
    await world.settle()
    assert world.ready("heir")
    assert world.claims() == {"/shop/site": "shop/heir"}


async def test_a_stale_store_does_not_steal_a_living_claim() -> None:
    """The store has not heard of the holder; the API server is asked before a claim is taken over."""
    world = World()
    world.apply("holder", id="/shop/site")
    await world.settle()
    world.apply("thief", id="/shop/site", management={"adoption": "Adopt"})
    process = await world.start()
    process.sync()
    for key in process.store.keys(PAAS_APPS.kind):
        if key.name == "holder":
            process.store.remove(key)
    thief = next(key for key in process.store.keys(PAAS_APPS.kind) if key.name == "thief")
    calls = len(world.marathon.calls)
    with pytest.raises(Exception, match="exists"):
        await process.controller.reconcile(thief)
    assert world.claims() == {"/shop/site": "shop/holder"}
    assert len(world.marathon.calls) == calls


async def test_losing_the_race_for_a_claim_touches_nothing() -> None:
    world = World()
    world.apply()
    process = await world.start()
    cluster = process.clusters["bj1"]

    async def lost(*_args: object, **_kwargs: object) -> None:
        raise NotOurs("/shop/web is claimed by PaasApp other/web (uid x)")

    cluster.take = lost  # type: ignore[method-assign]  # the fake's own method: another resource was faster
    await world.round()
    assert marathon_steps(world) == []


# ---------------------------------------------------------------------------------------------------- tenancy


async def test_an_id_outside_the_namespaces_prefixes_is_refused_and_nothing_is_claimed() -> None:
    world = World()
    world.apply(id="/bank/web")
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "NotAllowed")
    assert "spec.tenancy.idPrefixes" in world.message()
    assert world.claims() == {}
    world.site.tenancy = Tenancy(rules=(PrefixRule(selector=Selector(), prefixes=("/bank",)),))
    world.kubernetes.user_apply(MESOS_CLUSTERS, {"metadata": {"name": "bj1"}, "spec": {"tenancy": 1}})
    await world.settle()
    assert world.ready()


async def test_a_namespace_that_may_not_use_the_cluster_is_refused_until_it_is_labelled() -> None:
    world = World()
    world.site.tenancy = Tenancy(namespaces=Selector(requirements=(Requirement(key="mesos", operator=Operator.EXISTS),)))
    world.apply()
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "NotAllowed")
    world.kubernetes.user_apply(NAMESPACES, {"metadata": {"name": "shop", "labels": {"mesos": "yes"}}})
    await world.settle()
    assert world.ready()


async def test_a_patch_cannot_move_the_app_out_of_its_id() -> None:
    world = World()
    world.apply(patches=[{"op": "replace", "path": "/id", "value": "/bank/web"}])
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "InvalidSpec")
    assert marathon_steps(world) == []


# ---------------------------------------------------------------------------------------------------- another id, another cluster


async def test_a_new_id_means_the_new_app_first_and_the_old_one_after_it_is_healthy() -> None:
    world = World()
    world.apply(instances=2)
    await world.settle()
    world.steps.clear()
    world.apply(instances=2, id="/shop/site")
    await world.round()
    await world.round()
    assert set(world.marathon.definitions) == {"/shop/web", "/shop/site"}
    assert not world.ready()
    await world.settle()
    assert marathon_steps(world) == ["put_apps /shop/site", "delete_app /shop/web"]
    assert world.claims() == {"/shop/site": "shop/web"}
    assert world.status()["marathon"]["id"] == "/shop/site"


async def test_a_new_id_that_fails_leaves_the_old_app_running() -> None:
    world = World()
    world.marathon.behave = broken
    world.apply()
    await world.settle()
    world.apply(id="/shop/site", cmd="unplaced 1", rollout={"deadlineSeconds": 60})
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "RolloutFailed")
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 1000"
    world.apply(cmd="sleep 1000")
    await world.settle()
    assert world.ready()
    assert set(world.marathon.definitions) == {"/shop/web"}


async def test_deleting_in_the_middle_of_an_id_change_takes_both() -> None:
    world = World()
    world.apply()
    await world.settle()
    world.apply(id="/shop/site")
    await world.round()
    assert len(world.claims()) == 2
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.claims() == {}
    assert world.marathon.definitions == {}


async def test_moving_to_another_cluster_deletes_in_the_old_one_last() -> None:
    world = World(sites=("bj1", "bj2"))
    world.apply()
    await world.settle()
    world.steps.clear()
    world.apply(cluster="bj2")
    await world.settle()
    assert world.ready()
    assert marathon_steps(world) == ["put_apps /shop/web", "delete_app /shop/web"]
    assert world.claims("bj1") == {}
    assert world.claims("bj2") == {"/shop/web": "shop/web"}
    assert world.status()["cluster"] == "bj2"


async def test_moving_away_from_a_cluster_that_is_down_works_and_says_what_is_left() -> None:
    world = World(sites=("bj1", "bj2"))
    world.apply()
    await world.settle()
    world.sites["bj1"].unreachable_since = world.clock.monotonic()
    world.apply(cluster="bj2")
    await world.settle()
    assert world.conditions()["Ready"] == ("True", "Ready")
    assert world.conditions()["Reconciling"] == ("True", "LeavingCluster")
    assert world.status()["cluster"] == "bj1", "the finalizer must still ask the old cluster"
    await world.assert_quiet()
    world.sites["bj1"].unreachable_since = None
    await world.settle()
    assert "Reconciling" not in world.conditions()
    assert world.sites["bj1"].marathon.definitions == {}


async def test_a_cluster_that_does_not_exist_is_waited_for() -> None:
    world = World(sites=("bj1", "bj2"))
    await world.kubernetes.delete(MESOS_CLUSTERS, "", "bj2")
    world.apply(cluster="bj2")
    await world.settle()
    assert world.conditions() == {
        "Ready": ("False", "ClusterNotFound"),
        "Reconciling": ("True", "ClusterNotFound"),
        "InSync": ("Unknown", "NotCompared"),
    }
    item = world.resource()
    assert item is not None
    assert FINALIZER not in item["metadata"].get("finalizers", ())
    world.kubernetes.user_apply(MESOS_CLUSTERS, {"metadata": {"name": "bj2"}, "spec": {}})
    await world.settle()
    assert world.ready()
