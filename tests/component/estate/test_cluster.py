"""A cluster and the registry: connecting, leading, changed settings, claims and the guard on deletions."""

from __future__ import annotations

import asyncio

import pytest

from estate_room import ROOT, turns
from estate_world import estate_world, view_of
from shuren.clients.fakes.crash import Moment
from shuren.clients.fakes.zookeeper import FakeZooKeeper
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.roster import Roster, Unconnected
from shuren.domain.cluster import (
    Blocked,
    Credentials,
    Login,
    MarathonSettings,
    MesosSettings,
    Obstacle,
    TlsMaterial,
)
from shuren.domain.errors import Denied, Fenced, Invalid, NotOurs, Throttled, Unreachable
from shuren.domain.guard import DeletionLimit
from shuren.domain.identity import ObjectKey
from shuren.domain.tenancy import Tenancy

_KEY = ObjectKey(kind="PaasApp", namespace="shop", name="web")


async def test_a_connected_cluster_is_read_and_led() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        view = cluster.view
        assert (view.connected, view.synced, view.unreachable_for, view.problem, view.agents) == (True, True, None, None, 2)
        assert cluster.epoch == 1
        assert cluster.app("/a") is not None
        assert cluster.app_count == 1
        assert cluster.counts is not None
        assert "test" in world.heard.all
        assert world.estate.get("test") is cluster
        assert world.estate.get("other") is None


async def test_asking_again_for_the_same_does_nothing() -> None:
    async with estate_world() as world:
        first = await world.ensure()
        await world.pass_time(2)
        world.heard.forget()
        assert await world.ensure() is first
        await turns()
        assert world.heard.all == []
        assert len(world.factory.made) == 1
        assert len(world.factory.made[0].rotations) == 1


async def test_new_credentials_are_used_without_a_new_connection() -> None:
    async with estate_world() as world:
        await world.ensure()
        await world.pass_time(2)
        rotated = Credentials(marathon=Login(username="u", password="p"))
        await world.ensure(rotated)
        assert len(world.factory.made) == 1
        assert world.factory.made[0].rotations[-1] == rotated
        assert not world.factory.made[0].closed


async def test_what_only_a_new_session_can_use_makes_one_after_the_old_has_handed_over() -> None:
    for rotated in (
        Credentials(zookeeper=Login(username="u", password="new")),
        Credentials(marathon_tls=TlsMaterial(ca=b"new")),
        Credentials(zookeeper_tls=TlsMaterial(ca=b"new")),
    ):
        async with estate_world() as world:
            await world.ensure(Credentials(zookeeper=Login(username="u", password="old")))
            await world.pass_time(2)
            fresh = await world.ensure(rotated)
            old, new = world.factory.made
            assert old.rotations[-1] == rotated
            assert new.rotations == [rotated]
            assert old.closed
            assert not new.closed
            await world.pass_time(2)
            assert (fresh.synced, fresh.leading, fresh.epoch) == (True, True, 2)
            assert world.estate.get("test") is fresh


async def test_a_standby_leaves_the_handing_over_to_the_leader() -> None:
    async with estate_world() as world:
        world.lead.leads = False
        await world.ensure(Credentials(zookeeper=Login(username="u", password="old")))
        await world.ensure(Credentials(zookeeper=Login(username="u", password="new")))
        old, _ = world.factory.made
        assert len(old.rotations) == 1
        assert old.closed


async def test_while_nothing_can_be_handed_over_the_old_session_stays() -> None:
    async with estate_world() as world:
        cluster = await world.ensure(Credentials(zookeeper=Login(username="u", password="old")))
        await world.pass_time(2)
        world.factory.made[0].refuse = Unreachable("no ZooKeeper")
        with pytest.raises(Unreachable):
            await world.ensure(Credentials(zookeeper=Login(username="u", password="new")))
        assert world.estate.get("test") is cluster
        assert [connection.closed for connection in world.factory.made] == [False, True]
        world.factory.made[0].refuse = Denied("the old password is no good any more")
        fresh = await world.ensure(Credentials(zookeeper=Login(username="u", password="new")))
        assert world.estate.get("test") is fresh
        assert [connection.closed for connection in world.factory.made] == [True, True, False]


async def test_certificates_that_are_none_leave_the_old_session() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        world.factory.refuse = Invalid("spec.zookeeper.tls: a certificate in the Secret cannot be used")
        for _ in range(2):
            with pytest.raises(Invalid):
                await world.ensure(Credentials(zookeeper_tls=TlsMaterial(ca=b"nonsense")))
        assert world.estate.get("test") is cluster
        assert not world.factory.made[0].closed


async def test_the_guard_remembers_across_connections() -> None:
    async with estate_world() as world:
        cluster = await world.ensure(deletions=DeletionLimit(share=0, floor=1))
        await world.pass_time(2)
        await cluster.permit_deletion()
        assert cluster.deletion_wait > 0
        fresh = await world.ensure(Credentials(zookeeper=Login(username="u", password="p")), deletions=DeletionLimit(share=0, floor=1))
        assert fresh.deletion_wait > 0


async def test_the_version_of_zookeeper_is_read_once_per_session() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(1)
        assert cluster.zookeeper_version == "3.8.0"
        assert "test" in world.heard.clusters


async def test_settings_that_need_no_connection_are_taken_over() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        world.heard.forget()
        await world.ensure(unreachable_grace=5.0, deletions=DeletionLimit(share=0, floor=1))
        assert len(world.factory.made) == 1
        assert cluster.view.grace == 5.0
        assert cluster.deletion_limit.floor == 1
        assert cluster.tenancy == Tenancy()
        assert world.heard.all == ["test"]


async def test_another_address_is_another_connection_and_the_old_one_ends() -> None:
    async with estate_world() as world:
        first = await world.ensure()
        await world.pass_time(2)
        second = await world.ensure(marathon=MarathonSettings(urls=("http://elsewhere",)))
        assert second is not first
        assert world.factory.made[0].closed
        await world.pass_time(2)
        assert second.synced
        assert second.epoch == 2


async def test_a_new_connection_begins_when_nothing_of_the_old_one_works_any_more() -> None:
    """Else the old one could raise the epoch over the new one's, which would be fenced."""
    async with estate_world() as world:
        old = await world.ensure()
        await world.pass_time(5)
        may_end = asyncio.Event()

        async def slow_to_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await may_end.wait()

        old._tasks.append(asyncio.create_task(slow_to_end()))
        await turns()
        renewing = asyncio.create_task(world.ensure(mesos=MesosSettings(masters=("http://another",))))
        await turns()
        assert world.estate.get("test") is old
        may_end.set()
        fresh = await renewing
        assert fresh is not old
        await world.pass_time(5)
        assert fresh.leading
        assert world.factory.made[0].closed


async def test_a_pass_that_is_given_up_while_it_waits_for_the_end_of_a_connection_is_given_up() -> None:
    async with estate_world() as world:
        old = await world.ensure()
        may_end = asyncio.Event()

        async def slow_to_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await may_end.wait()

        old._tasks.append(asyncio.create_task(slow_to_end()))
        await turns()
        closing = asyncio.create_task(old.close())
        await turns()
        closing.cancel()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await closing


async def test_settings_that_cannot_be_used_leave_the_connection_as_it_was() -> None:
    async with estate_world() as world:
        first = await world.ensure()
        world.factory.refuse = Invalid("no certificate")
        with pytest.raises(Invalid):
            await world.ensure(marathon=MarathonSettings(urls=("https://elsewhere",)))
        assert world.estate.get("test") is first
        assert not world.factory.made[0].closed


async def test_a_cluster_that_is_gone_is_forgotten() -> None:
    async with estate_world() as world:
        await world.ensure()
        await world.estate.remove("test")
        await world.estate.remove("test")
        assert world.estate.clusters == ()
        assert world.factory.made[0].closed


async def test_a_follower_reads_but_does_not_lead_until_it_does() -> None:
    async with estate_world() as world:
        world.lead.leads = False
        cluster = await world.ensure()
        await world.pass_time(5)
        assert (cluster.view.synced, cluster.view.connected) == (True, False)
        assert world.tree.node(f"{ROOT}/epoch") is None
        with pytest.raises(Fenced):
            await cluster.take("/x", uid="u", key=_KEY)
        world.lead.leads = True
        world.estate.start_leading()
        await world.pass_time(2)
        assert cluster.view.connected
        await cluster.take("/x", uid="u", key=_KEY)
        claim = cluster.claim("/x")
        assert claim is not None
        assert (claim.namespace, claim.name, claim.epoch) == ("shop", "web", 1)


async def test_apps_are_told_once_in_a_term_when_everything_can_be_decided() -> None:
    """Ten thousand passes that find that nothing can be decided yet would keep what they wait for from happening."""
    async with estate_world() as world:
        world.lead.leads = False
        cluster = await world.ensure()
        await world.pass_time(5)
        assert cluster.view.synced
        assert (world.heard.all, world.heard.apps) == ([], [])
        world.lead.leads = True
        world.estate.start_leading()
        await world.pass_time(2)
        assert (world.heard.all, world.heard.apps) == (["test"], [])
    async with estate_world() as world:
        await world.ensure()
        await world.pass_time(5)
        assert (world.heard.all, world.heard.apps) == (["test"], []), "also when the epoch is there before the picture"


async def test_whoever_was_fenced_does_not_raise_the_epoch_again_in_the_same_term() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        successor = FencedRoot(FakeZooKeeper(world.tree), ROOT)
        await successor.take_over(holder="two", installation="here")
        with pytest.raises(Fenced):
            await cluster.take("/x", uid="u", key=_KEY)
        await world.pass_time(120)
        assert not cluster.leading
        assert cluster.epoch == 0
        world.estate.start_leading()
        await world.pass_time(2)
        assert cluster.epoch == 3


async def test_in_a_new_term_the_epoch_of_the_former_one_is_not_written_with() -> None:
    """A pass that did would meet the fence of whoever led in between, and give the new term up."""
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        assert (cluster.leading, cluster.epoch) == (True, 1)
        world.lead.leads = False
        await FencedRoot(FakeZooKeeper(world.tree), ROOT).take_over(holder="two", installation="here")
        await world.pass_time(2)
        world.lead.leads = True
        world.estate.start_leading()
        assert (cluster.leading, cluster.view.connected) == (False, False)
        await world.pass_time(2)
        assert (cluster.leading, cluster.view.connected, cluster.epoch) == (True, True, 3)


async def test_a_root_of_another_installation_is_left_alone_and_told() -> None:
    async with estate_world() as world:
        await FencedRoot(FakeZooKeeper(world.tree), ROOT).take_over(holder="x", installation="somebody else's")
        before = world.tree.dump()
        cluster = await world.ensure()
        await world.pass_time(40)
        found = cluster.obstacle
        assert found is not None
        assert (found.kind, found.reason) == (Blocked.STALLED, "ForeignInstallation")
        assert view_of(cluster).problem is not None
        assert world.heard.all == ["test"], "apps are told why nothing happens"
        assert world.tree.dump() == before
        world.tree._nodes[f"{ROOT}/meta"].data = b'{"installation":"here"}'
        await world.pass_time(40)
        assert view_of(cluster).problem is None
        assert cluster.leading


async def test_a_root_that_zookeeper_lets_us_read_but_not_write_is_told() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()

        def refuse(moment: Moment, what: str) -> None:
            if moment is Moment.BEFORE and what.endswith(("/shuren", "/meta")):
                raise Denied("/shuren: its ACL excludes us")

        world.factory.made[0].session.hook = refuse
        await world.pass_time(5)
        found = cluster.obstacle
        assert found is not None
        assert (found.kind, found.reason) == (Blocked.STALLED, "ZooKeeperDenied")
        assert "/shuren: its ACL excludes us" in found.message
        world.factory.made[0].session.hook = None
        await world.pass_time(40)
        assert view_of(cluster).problem is None
        assert cluster.leading


async def test_claims_are_given_back_by_their_holder_only() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        await cluster.take("/x", uid="u", key=_KEY)
        with pytest.raises(NotOurs):
            await cluster.take("/x", uid="v", key=_KEY)
        await cluster.release("/x", uid="v")
        assert [c.app_id for c in cluster.claims_of("u")] == ["/x"]
        await cluster.release("/x", uid="u")
        assert cluster.claim("/x") is None


async def test_deletions_beyond_the_guard_wait_and_the_cluster_says_so() -> None:
    async with estate_world() as world:
        cluster = await world.ensure(deletions=DeletionLimit(share=0, floor=2))
        await world.pass_time(2)
        world.heard.forget()
        for _ in range(2):
            assert cluster.deletion_wait == 0
            await cluster.permit_deletion()
        assert 59 <= cluster.deletion_wait <= 60
        with pytest.raises(Throttled) as refused:
            await cluster.permit_deletion()
        assert refused.value.retry_after == pytest.approx(0.1), "whoever came too late looks again at once, and then waits and says so"
        assert world.heard.clusters == ["test"]
        await world.pass_time(61)
        assert cluster.deletion_wait == 0


async def test_a_written_app_is_read_again_and_shown_from_then_on() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        await cluster.writes.change({"id": "/a", "cmd": "sleep 2", "instances": 0}, force=False)
        written = world.clock.monotonic()
        await world.pass_time(0.2)
        assert cluster.shows("/a", written)
        app = cluster.app("/a")
        assert app is not None
        assert app.definition["cmd"] == "sleep 2"


async def test_the_delay_of_a_waiting_app_counts_from_now() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        world.marathon.world.foreign_put({"id": "/b", "cmd": "sleep 1", "instances": 1, "backoffSeconds": 60})
        world.marathon.world.settle()
        await world.pass_time(1)
        app = cluster.app("/b")
        assert app is not None
        world.marathon.world.crash_task(app.tasks[0].id)
        await world.pass_time(0.5)
        first = cluster.queue_item("/b")
        assert first is not None
        assert not first.overdue
        world.clock.shift(0.25)
        later = cluster.queue_item("/b")
        assert later is not None
        assert later.delay_seconds == pytest.approx(first.delay_seconds - 0.25)


# ---------------------------------------------------------------------------------------------------- the roster


async def test_the_roster_tells_missing_from_not_connected_yet() -> None:
    async with estate_world() as world:
        declared = {"test", "later"}
        roster = Roster(estate=world.estate, declared=lambda: declared)
        cluster = await world.ensure()
        assert roster.get("test") is cluster
        assert roster.get("nowhere") is None
        assert roster.names() == ("later", "test")
        later = roster.get("later")
        assert isinstance(later, Unconnected)
        assert (later.view.exists, later.view.connected, later.view.synced, later.view.problem) == (True, False, False, None)
        world.estate.block("later", Obstacle(kind=Blocked.WAITING, reason="SecretNotReady", message="Secret x/y does not exist"))
        blocked = roster.get("later")
        assert blocked is not None
        assert blocked.view.problem is not None
        assert blocked.view.problem.reason == "SecretNotReady"
        declared.remove("test")
        assert roster.get("test") is cluster, "until the controller has taken it out"


async def test_nothing_is_known_of_and_written_to_a_cluster_that_is_not_connected() -> None:
    cluster = Unconnected(name="later")
    assert cluster.app("/a") is None
    assert cluster.deployment("/a") is None
    assert cluster.queue_item("/a") is None
    assert cluster.claim("/a") is None
    assert cluster.claims_of("u") == ()
    assert cluster.app_count == 0
    assert not cluster.shows("/a", 0)
    assert cluster.deletion_wait == float("inf")
    assert cluster.tenancy == Tenancy()
    assert cluster.deletion_limit == DeletionLimit()
    cluster.look_at("/a")
    writes = cluster.writes
    for attempt in (
        cluster.permit_deletion(),
        cluster.take("/a", uid="u", key=_KEY),
        cluster.release("/a", uid="u"),
        writes.create({"id": "/a"}),
        writes.change({"id": "/a"}, force=False),
        writes.scale("/a", {"instances": 1}, force=False),
        writes.kill("/a", ("t",), force=False),
        writes.restart("/a"),
        writes.restore("/a", "v"),
        writes.definition_at("/a", "v"),
        writes.cancel("d"),
        writes.delete("/a", force=False),
    ):
        with pytest.raises(Unreachable, match="later"):
            await attempt
