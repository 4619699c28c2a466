"""What the load balancer does while one of its neighbours is away, and when it comes back itself."""

from __future__ import annotations

import socket

import pytest

from haproxy_room import WEB, endpoint, http, route, service
from lb_room import ME, ROOT, Room, eventually
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.domain.errors import UnknownOutcome, Unreachable
from shuren.domain.service.values import EndpointState
from shuren.ports.zookeeper import Create

B = "shop.web:http"
NO_CHECK = {"enabled": False}


async def _one_service(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"), endpoint("b"))


# ---------------------------------------------------------------------------------------------------------- ZooKeeper


async def test_without_zookeeper_it_goes_on_and_drift_is_still_put_right(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        room.zookeeper.disconnect()
        room.haproxy.model.execute(f"set server {B}/a state maint")
        await eventually(lambda: all(s.serves for s in room.servers(B).values()))
        await room.publish.endpoints(WEB, endpoint("b"))
        room.zookeeper.reconnect()
        await room.acknowledged(WEB, endpoints=2)


async def test_a_lost_session_is_made_up_for(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1)
        room.zookeeper.expire()
        assert room.tree.node(f"{ME}/live") is None
        await room.publish.endpoints(WEB, endpoint("c"))
        room.zookeeper.reconnect()
        await room.acknowledged(WEB, endpoints=2)
        await eventually(lambda: room.tree.node(f"{ME}/live") is not None)


async def test_a_start_without_zookeeper_serves_what_was_last_good(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        await eventually(lambda: room.remembers(WEB, endpoints=1))
    await room.haproxy.stop()
    async with room.running(zookeeper=False):
        await eventually(lambda: set(room.servers(B)) == {"a", "b"})
        assert all(s.serves for s in room.servers(B).values())


async def test_a_zookeeper_that_has_lost_everything_takes_nothing_away(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        await eventually(lambda: room.remembers(WEB, endpoints=1))
    room.tree = ZooTree()
    room.zookeeper = FakeZooKeeper(room.tree)
    room.publish = type(room.publish)(FakeZooKeeper(room.tree))
    async with room.running() as agent:
        await eventually(lambda: room.tree.node(f"{ME}/live") is not None)
        assert agent.world.routes.keys() == {WEB}
        assert set(room.servers(B)) == {"a", "b"}
        # the operator has been there again: now it counts
        await room.publish.prepare()
        await eventually(lambda: B not in room.haproxy.model.backends)


@pytest.mark.parametrize("error", [Unreachable("away"), UnknownOutcome("sent")])
async def test_a_write_that_failed_is_written_again(room: Room, error: Exception) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1)
        assert isinstance(error, (Unreachable, UnknownOutcome))
        await room.publish.endpoints(WEB, endpoint("a"))
        room.zookeeper.fail_next(error, times=2)
        await room.acknowledged(WEB, endpoints=2)


# ------------------------------------------------------------------------------------------------------------- HAProxy


async def test_a_haproxy_that_ended_is_started_with_everything(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        await room.publish.endpoints(WEB, endpoint("b", weight=5), endpoint("c", state=EndpointState.DRAINING))
        await room.acknowledged(WEB, endpoints=2)
        await room.program.kill()
        await eventually(lambda: room.haproxy.starts == 2)
        assert {s.name: (s.weight, s.serves) for s in room.servers(B).values()}["b"] == (5, True)
        await room.publish.endpoints(WEB, endpoint("d"))
        await room.acknowledged(WEB, endpoints=3)


async def test_a_haproxy_that_somebody_else_started_anew_is_attached_to(room: Room) -> None:
    room.settings["attach_only"] = True
    await _one_service(room)
    async with room.running() as agent:
        await eventually(lambda: agent.world.synced)
        assert not agent.running
        # what the operator of the host does: start HAProxy with a configuration of ours, or with none
        gen = room.directory / "gen-1"
        gen.mkdir()
        (gen / "haproxy.cfg").write_text("global\n")
        (room.directory / "current").symlink_to("gen-1")
        await room.haproxy.start()
        await room.acknowledged(WEB, endpoints=1, route=1)
        await room.program.kill()
        await eventually(lambda: not agent.running)
        assert room.haproxy.starts == 1
        await room.publish.endpoints(WEB, endpoint("z"))
        await room.haproxy.start()
        await room.acknowledged(WEB, endpoints=2)
        assert set(room.servers(B)) == {"z"}


async def test_a_haproxy_with_another_configuration_gets_ours(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        room.haproxy.model.backends.clear()
        await eventually(lambda: set(room.servers(B)) == {"a", "b"})
        assert room.haproxy.starts == 1
        assert room.haproxy.reloads >= 1


async def test_sessions_on_a_worker_of_before_a_reload_hold_a_drain_up(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        room.haproxy.model.sessions[B, "a"] = 2
        await room.publish.route(route("more", http("more.example"), age=2))
        await room.acknowledged(service("more"), route=1)
        assert len(room.haproxy.old) == 1
        await room.publish.endpoints(WEB, endpoint("a", state=EndpointState.DRAINING), endpoint("b"))
        got = await room.acknowledged(WEB, endpoints=2)
        # two sessions, and one more for the idle clients that the old worker may have: it still believes the server ready
        assert got.sessions == {"a": 3}
        room.haproxy.old.clear()
        await eventually(lambda: (now := room.applied(WEB)) is not None and now.sessions == {})


# --------------------------------------------------------------------------------------------------------- the agent


async def test_an_agent_that_comes_back_attaches_without_a_reload(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        await eventually(lambda: room.remembers(WEB, endpoints=1))
    pid = room.haproxy.pid
    await room.publish.endpoints(WEB, endpoint("c"))
    room.zookeeper.expire()
    room.zookeeper = FakeZooKeeper(room.tree)
    async with room.running():
        await room.acknowledged(WEB, endpoints=2, route=1)
        assert set(room.servers(B)) == {"c"}
    assert (room.haproxy.pid, room.haproxy.starts, room.haproxy.reloads) == (pid, 1, 0)


async def test_a_haproxy_that_went_on_alone_is_not_set_back_to_what_lies_on_the_disk(room: Room) -> None:
    """The tasks that the disk still has were killed since: requests would meet closed ports until ZooKeeper was heard."""
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        await eventually(lambda: room.remembers(WEB, endpoints=1))
        room.settings["write_interval"] = 3600.0
    room.zookeeper = FakeZooKeeper(room.tree)
    async with room.running():
        await room.publish.endpoints(WEB, endpoint("c"))
        await room.acknowledged(WEB, endpoints=2)
        await eventually(lambda: set(room.servers(B)) == {"c"})
    assert room.remembers(WEB, endpoints=1), "what the agent was about to write when it was killed"
    room.zookeeper = FakeZooKeeper(room.tree)
    room.zookeeper.disconnect()
    async with room.running():
        room.haproxy.asked.clear()
        await eventually(lambda: "show backend" in room.haproxy.asked)
        assert room.servers(B)["c"].serves
        assert set(room.servers(B)) == {"c"}
        await room.publish.endpoints(WEB, endpoint("d"))
        room.zookeeper.reconnect()
        await room.acknowledged(WEB, endpoints=3)
        assert set(room.servers(B)) == {"d"}


async def test_an_agent_that_does_not_know_haproxy_any_more_keeps_its_ports(room: Room) -> None:
    """They are in use, by the very HAProxy that it drives."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        port = own.getsockname()[1]
        await room.publish.route(route("web", http("web.example", port=port, addresses=["127.0.0.1"])))
        (room.directory / "gen-1").mkdir()
        (room.directory / "gen-1" / "haproxy.cfg").write_text("global\n")
        (room.directory / "current").symlink_to("gen-1")
        await room.haproxy.start()
        async with room.running():
            assert (await room.acknowledged(WEB, route=1)).problem == ""
            assert B in room.haproxy.model.backends


async def test_an_agent_that_comes_back_before_its_old_session_has_ended_takes_its_place(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1)
        await eventually(lambda: room.tree.node(f"{ME}/live") is not None)
    before = room.zookeeper
    room.zookeeper = FakeZooKeeper(room.tree)
    async with room.running():
        await room.publish.endpoints(WEB, endpoint("c"))
        await room.acknowledged(WEB, endpoints=2)
        before.expire()
        assert room.tree.node(f"{ME}/live") is not None


async def test_a_second_load_balancer_of_the_same_name_keeps_silent_and_serves(room: Room) -> None:
    await room.operator.ensure_path(f"{ME}/applied")
    await room.operator.commit([Create(path=f"{ME}/live", data=b'{"host":"elsewhere","pid":1}', ephemeral=True)])
    await _one_service(room)
    async with room.running():
        await eventually(lambda: set(room.servers(B)) == {"a", "b"})
        assert room.applied(WEB) is None
        room.operator.expire()
        await room.acknowledged(WEB, endpoints=1)


async def test_files_in_use_follow_the_servers(room: Room) -> None:
    await _one_service(room)
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        await room.publish.endpoints(WEB, endpoint("z"))
        await room.acknowledged(WEB, endpoints=2)
        await eventually(lambda: "server z " in room.haproxy.configuration.read_text())
        assert "server a " not in room.haproxy.configuration.read_text()


async def test_its_metrics_say_how_it_stands(room: Room) -> None:
    await _one_service(room)
    async with room.running() as agent:
        await room.acknowledged(WEB, endpoints=1, route=1)
        assert agent.gauges() == {
            "synced": 1.0,
            "haproxy_running": 1.0,
            "services": 1,
            "services_with_problems": 0,
            "servers": 2,
            "servers_up": 2,
            "servers_waiting": 0,
            "servers_leaving": 0,
            "old_workers": 0,
        }
        assert room.tree.node(f"{ROOT}/edge/lb/lb1") is not None
