"""From endpoints in ZooKeeper to servers in HAProxy and back to an acknowledgement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haproxy_room import WEB, endpoint, http, route, service, tcp
from lb_room import ME, Room, eventually
from shuren.clients.fakes.zookeeper import FakeZooKeeper
from shuren.domain.haproxy.servers import Admin
from shuren.domain.service.values import EndpointState

B = "shop.web:http"
NO_CHECK = {"enabled": False}


async def test_a_service_is_served_and_acknowledged(room: Room) -> None:
    wanted = await room.publish.route(route("web", http("web.example")))
    generation = await room.publish.endpoints(WEB, endpoint("a"), endpoint("b", port=31001))
    async with room.running():
        got = await room.acknowledged(WEB, endpoints=generation, route=wanted)
        assert (got.up, got.problem, got.sessions) == (2, "", {})
        assert {s.name: s.port for s in room.servers(B).values()} == {"a": 31000, "b": 31001}
    assert room.tree.node(ME) is not None
    assert room.tree.node(f"{ME}/live") is not None


async def test_changes_of_endpoints_need_no_reload(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        before = room.haproxy.pid
        await room.publish.endpoints(
            WEB, endpoint("a", state=EndpointState.DRAINING), endpoint("b", weight=7), endpoint("c", state=EndpointState.STARTING)
        )
        got = await room.acknowledged(WEB, endpoints=2)
        states = {s.name: (s.state, s.weight) for s in room.servers(B).values()}
        assert states == {"a": (Admin.DRAIN, 100), "b": (Admin.READY, 7), "c": (Admin.MAINT, 100)}
        assert got.up == 1
        await room.publish.endpoints(WEB, endpoint("b", weight=7))
        await room.acknowledged(WEB, endpoints=3)
        await eventually(lambda: set(room.servers(B)) == {"b"})
        assert (room.haproxy.pid, room.haproxy.starts) == (before, 1)


async def test_sessions_of_drained_endpoints_are_told_until_there_are_none(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"), endpoint("b"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1)
        room.haproxy.model.sessions[B, "a"] = 3
        await room.publish.endpoints(WEB, endpoint("a", state=EndpointState.DRAINING), endpoint("b"))
        got = await room.acknowledged(WEB, endpoints=2)
        assert got.sessions == {"a": 3}
        room.haproxy.model.sessions[B, "a"] = 0
        await eventually(lambda: (now := room.applied(WEB)) is not None and now.sessions == {})


async def test_a_server_with_connections_is_deleted_when_they_are_gone(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"), endpoint("b"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1)
        room.haproxy.model.sessions[B, "a"] = 1
        await room.publish.endpoints(WEB, endpoint("b"))
        await room.acknowledged(WEB, endpoints=2)
        assert room.servers(B)["a"].state is Admin.MAINT
        room.haproxy.model.sessions.clear()
        await eventually(lambda: "a" not in room.servers(B))


async def test_a_burst_is_one_change(room: Room) -> None:
    room.settings["coalesce"] = 0.05
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    async with room.running():
        await room.acknowledged(WEB, route=1)
        room.haproxy.model.done.clear()
        for count in range(1, 11):
            last = await room.publish.endpoints(WEB, *(endpoint(f"e{n}") for n in range(count)))
        await room.acknowledged(WEB, endpoints=last)
        added = [c for c in room.haproxy.model.done if c.startswith("add server")]
        assert len(added) == 10
        assert len({c.split()[2] for c in added}) == 10


async def test_endpoints_in_chunks(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    async with room.running():
        await room.acknowledged(WEB, route=1)
        for _ in range(3):
            last = await room.publish.endpoints(WEB, *(endpoint(f"e{n:03}") for n in range(100)), limit=1000)
        await room.acknowledged(WEB, endpoints=last)
        assert len(room.servers(B)) == 100


async def test_drift_is_put_right(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"), endpoint("b"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1)
        model = room.haproxy.model
        model.execute(f"set server {B}/a state maint")
        model.execute(f"del server {B}/a")
        model.execute(f"set server {B}/b weight 0")
        model.execute(f"add server {B}/stranger 10.9.9.9:1 id 5 weight 1")
        await eventually(lambda: {n: s.weight for n, s in room.servers(B).items()} == {"a": 100, "b": 100})
        assert room.haproxy.starts == 1


async def test_maps_that_somebody_changed_are_put_right(room: Room) -> None:
    await room.publish.route(route("web", http("web.example")))
    async with room.running():
        await room.acknowledged(WEB, route=1)
        before = list(room.haproxy.model.maps["http_any_80.map"])
        room.haproxy.model.maps["http_any_80.map"] = []
        await eventually(lambda: room.haproxy.model.maps["http_any_80.map"] == before)


async def test_a_checked_server_counts_once_its_check_passes(room: Room) -> None:
    await room.publish.route(route("web", http("web.example")))
    await room.publish.endpoints(WEB, endpoint("a"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1)
        room.haproxy.model.run_checks()
        await room.publish.endpoints(WEB, endpoint("a"), endpoint("b"))
        assert (await room.acknowledged(WEB, endpoints=2)).up == 1
        assert not room.servers(B)["b"].serves
        room.haproxy.model.run_checks()
        await eventually(lambda: (got := room.applied(WEB)) is not None and got.up == 2)


async def test_what_is_up_is_told_of_each_app_apart(room: Room) -> None:
    old, new = endpoint("a", app="/shop/web"), [endpoint(name, app="/shop/web-alt", weight=0) for name in "bc"]
    await room.publish.route(route("web", http("web.example"), http("web.example", name="admin", targetPort="admin", port=81)))
    await room.publish.endpoints(WEB, replace(old, ports={"admin": 9}))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1)
        room.haproxy.model.run_checks()
        await room.publish.endpoints(WEB, *(replace(e, ports={"admin": 9}) for e in (old, *new)))
        assert (await room.acknowledged(WEB, endpoints=2)).up_of == {"/shop/web": 1}
        room.haproxy.model.run_checks()
        await eventually(lambda: (got := room.applied(WEB)) is not None and got.up_of == {"/shop/web": 1, "/shop/web-alt": 2})


async def test_host_names_are_resolved_by_the_agent_and_followed(room: Room) -> None:
    room.addresses["db.example"] = ("10.0.0.1", "10.0.0.2")
    await room.publish.route(route("db", tcp(5432), healthCheck=NO_CHECK))
    generation = await room.publish.endpoints(service("db"), endpoint("db.example:5432", address="db.example", port=5432))
    async with room.running():
        await room.acknowledged(service("db"), endpoints=generation, route=1)
        await eventually(lambda: {s.address for s in room.servers("shop.db:tcp").values()} == {"10.0.0.1", "10.0.0.2"})
        room.addresses["db.example"] = ("10.0.0.2", "10.0.0.3")
        await eventually(lambda: {s.address for s in room.servers("shop.db:tcp").values()} == {"10.0.0.2", "10.0.0.3"})
        del room.addresses["db.example"]
        await room.publish.endpoints(
            service("db"), endpoint("db.example:5432", address="db.example", port=5432), endpoint("no:1", address="no.example", port=1)
        )
        await eventually(lambda: (got := room.applied(service("db"))) is not None and "no.example" in got.problem)
        got = room.applied(service("db"))
        assert got is not None
        assert got.problem == "cannot be resolved on this load balancer: no.example"
        assert {s.address for s in room.servers("shop.db:tcp").values()} == {"10.0.0.2", "10.0.0.3"}


async def test_counters_are_told_by_app(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a", app="/shop/web"), endpoint("b", app="/shop/web-canary"))
    async with room.running():
        await eventually(lambda: (got := room.applied(WEB)) is not None and bool(got.counters))
        got = room.applied(WEB)
        assert got is not None
        assert got.counters == {
            "requests": 14,
            "errors": 8,
            "latencyMs": 5,
            "backends": {name: {"requests": 7, "errors": 4, "latencyMs": 5} for name in ("/shop/web", "/shop/web-canary")},
        }


async def test_a_service_that_is_gone_is_forgotten_everywhere(room: Room) -> None:
    for name, age in (("web", 1), ("other", 2)):
        await room.publish.route(route(name, http(f"{name}.example"), age=age))
        await room.publish.endpoints(service(name), endpoint(name))
    async with room.running():
        await room.acknowledged(WEB, route=1)
        await room.acknowledged(service("other"), route=1)
        await room.publish.remove(service("other"))
        await eventually(lambda: "shop.other:http" not in room.haproxy.model.backends)
        await eventually(lambda: room.applied(service("other")) is None)
        assert room.applied(WEB) is not None


async def test_what_an_earlier_agent_said_of_services_that_are_gone_is_removed(room: Room) -> None:
    async with room.running():
        await eventually(lambda: room.tree.node(f"{ME}/live") is not None)
        await room.publish.route(route("web", http("web.example")))
        await room.acknowledged(WEB, route=1)
    await room.publish.remove(WEB)
    room.zookeeper.expire()
    room.zookeeper = FakeZooKeeper(room.tree)
    async with room.running():
        await eventually(lambda: room.applied(WEB) is None)


@pytest.mark.parametrize("what", ["routes", "endpoints"])
async def test_a_node_that_cannot_be_read_leaves_what_is_carried(room: Room, what: str) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        path = f"/shuren/test/routes/edge/{WEB}" if what == "routes" else f"/shuren/test/endpoints/{WEB}"
        await room.publish._put(path, b"not JSON")
        other = await room.publish.endpoints(service("other"), endpoint("x"))
        await room.publish.route(route("other", http("other.example"), age=2))
        await room.acknowledged(service("other"), endpoints=other, route=1)
        assert set(room.servers(B)) == {"a"}
