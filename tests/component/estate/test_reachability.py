"""A cluster whose parts stop answering, and answer again: what is told, to whom, and when."""

from __future__ import annotations

from estate_world import SUMMARY, estate_world, view_of
from shuren.domain.cluster import (
    PartView,
)
from shuren.domain.errors import Denied, Unreachable


async def test_apps_are_told_which_part_does_not_answer() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        world.marathon.down = Unreachable("connection refused")
        world.marathon.world.cut_streams()
        await world.pass_time(5)
        assert view_of(cluster).silence == "Marathon does not answer"
        world.marathon.down = Denied("401")
        await world.pass_time(10)
        assert view_of(cluster).silence == "Marathon refuses our credentials"
        world.marathon.down = None
        await world.pass_time(10)
        world.factory.made[0].session.disconnect()
        await world.pass_time(5)
        assert view_of(cluster).silence == "ZooKeeper does not answer"


async def test_apps_are_told_when_the_cluster_is_given_up_and_when_it_is_back() -> None:
    async with estate_world() as world:
        cluster = await world.ensure(unreachable_grace=60.0)
        await world.pass_time(2)
        world.heard.forget()
        world.marathon.down = Unreachable("connection refused")
        world.marathon.world.cut_streams()
        await world.pass_time(30)
        assert world.heard.reachability == []
        assert "test" in world.heard.clusters
        away = cluster.unreachable_for
        assert away is not None
        assert 25 < away <= 30
        await world.pass_time(40)
        assert world.heard.reachability == ["test"]
        world.marathon.down = None
        await world.pass_time(10)
        assert world.heard.reachability == ["test", "test"]
        assert cluster.view.unreachable_for is None
        assert cluster.app("/a") is not None


async def test_a_fail_over_of_seconds_is_not_told_to_apps() -> None:
    async with estate_world() as world:
        await world.ensure()
        await world.pass_time(2)
        world.heard.forget()
        world.marathon.down = Unreachable("no leader")
        world.marathon.world.cut_streams()
        await world.pass_time(10)
        world.marathon.down = None
        await world.pass_time(200)
        assert world.heard.reachability == []


async def test_who_asked_during_a_short_outage_is_told_as_soon_as_it_is_over() -> None:
    async with estate_world() as world:
        cluster = await world.ensure(unreachable_grace=60.0)
        await world.pass_time(2)
        world.marathon.down = Unreachable("no leader")
        world.marathon.world.cut_streams()
        await world.pass_time(2)
        assert view_of(cluster).unreachable_for is not None
        cluster.look_at("/a")
        world.heard.forget()
        await world.pass_time(5)
        assert world.heard.ids == frozenset()
        world.marathon.down = None
        await world.pass_time(10)
        assert view_of(cluster).unreachable_for is None
        assert "/a" in world.heard.ids
        assert world.heard.reachability == []


async def test_asking_while_zookeeper_is_away_does_not_go_round_in_circles() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        session = world.factory.made[0].session
        session.disconnect()
        await world.pass_time(1)
        world.heard.forget()
        for _ in range(5):
            cluster.look_at("/a")
            await world.pass_time(1)
        assert world.heard.apps == []
        session.reconnect()
        await world.pass_time(2)
        assert "/a" in world.heard.ids


async def test_a_lost_zookeeper_session_counts_as_unreachable() -> None:
    async with estate_world() as world:
        cluster = await world.ensure()
        await world.pass_time(2)
        assert view_of(cluster).unreachable_for is None
        world.factory.made[0].session.disconnect()
        await world.pass_time(10)
        away = view_of(cluster).unreachable_for
        assert away is not None
        assert 9 <= away <= 11
        world.factory.made[0].session.reconnect()
        await world.pass_time(20)
        assert view_of(cluster).unreachable_for is None


async def test_a_silent_mesos_is_shown_but_stops_nothing() -> None:
    async with estate_world() as world:
        world.mesos.answer = Unreachable("no master")
        cluster = await world.ensure()
        await world.pass_time(5)
        silent = cluster.mesos_view
        assert silent is not None
        assert silent.unreachable_for is not None
        assert silent.error == "no master"
        assert (cluster.view.connected, cluster.view.synced, cluster.view.unreachable_for) == (True, True, None)
        assert cluster.view.agents is None
        world.mesos.answer = SUMMARY
        await world.pass_time(31)
        assert cluster.mesos_view == PartView()
        assert cluster.view.agents == 2


async def test_a_cluster_whose_mesos_is_not_read_works_without_it() -> None:
    async with estate_world() as world:
        world.factory.mesos = None
        cluster = await world.ensure(mesos=None)
        await world.pass_time(60)
        assert cluster.obstacle is None
        assert (cluster.mesos_view, cluster.agents) == (None, None)
        assert (cluster.view.connected, cluster.view.synced, cluster.view.problem) == (True, True, None)
