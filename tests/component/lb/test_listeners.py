"""Listeners: one reload for what needs one, none for what does not, and nobody suffers from somebody else's mistake."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import pytest

from haproxy_room import WEB, endpoint, http, route, service, tcp
from lb_room import Room, eventually
from shuren.domain.service.values import EndpointState

NO_CHECK = {"enabled": False}


def _complains_of(word: str) -> Callable[[str], str]:
    """What HAProxy says when a line has this word, as it says it."""

    def blame(text: str) -> str:
        lines = [number for number, line in enumerate(text.splitlines(), start=1) if word in line]
        said = [f"[ALERT]    (17) : config : parsing [/state/gen-9/haproxy.cfg:{number}] : unknown keyword '{word}'." for number in lines]
        return "\n".join([*said, "[ALERT]    (17) : config : Fatal errors found in configuration."]) if said else ""

    return blame


def _mute(word: str) -> Callable[[str], str]:
    """HAProxy ends without a word of where."""
    return lambda text: "Segmentation fault" if word in text else ""


async def test_services_that_come_together_cost_one_reload(room: Room) -> None:
    async with room.running() as agent:
        await eventually(lambda: agent.running)
        for number in range(8):
            await room.publish.route(route(f"s{number}", http(f"s{number}.example")))
        for number in range(8):
            await room.acknowledged(service(f"s{number}"), route=1)
        assert room.haproxy.reloads == agent.balancer.reloads <= 3
        assert "new backend" in agent.balancer.last_reload or "frontend" in agent.balancer.last_reload


async def test_a_reload_carries_servers_and_their_states_over(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(
        WEB, endpoint("a"), endpoint("b", state=EndpointState.DRAINING), endpoint("c", state=EndpointState.STARTING)
    )
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        await room.publish.endpoints(WEB, endpoint("a", weight=3), endpoint("d"), endpoint("c", state=EndpointState.STARTING))
        await room.acknowledged(WEB, endpoints=2)
        states = {s.name: (s.id, s.state, s.weight) for s in room.servers("shop.web:http").values()}
        await room.publish.route(route("more", tcp(5432), age=2))
        await room.acknowledged(service("more"), route=1)
        assert {s.name: (s.id, s.state, s.weight) for s in room.servers("shop.web:http").values()} == states
        assert (
            "a 1" in re.sub(r" +", " ", (room.directory / "servers.state").read_text())
            or "shop.web:http" in (room.directory / "servers.state").read_text()
        )


async def test_a_host_that_moves_needs_no_reload(room: Room) -> None:
    await room.publish.route(route("web", http("web.example", "x.example")))
    await room.publish.route(route("other", http("other.example"), age=2))
    async with room.running():
        await room.acknowledged(WEB, route=1)
        await room.acknowledged(service("other"), route=1)
        pid = room.haproxy.pid
        await room.publish.route(route("web", http("web.example")))
        await room.publish.route(route("other", http("other.example", "x.example"), age=2))
        await room.acknowledged(WEB, route=2)
        await room.acknowledged(service("other"), route=2)
        assert dict(room.haproxy.model.maps["http_any_80.map"])["x.example/"] == "shop.other:http"
        assert room.haproxy.pid == pid


async def test_of_two_that_want_one_host_the_younger_is_told(room: Room) -> None:
    await room.publish.route(route("web", http("web.example")))
    await room.publish.route(route("young", http("web.example", "young.example"), age=2))
    async with room.running():
        await room.acknowledged(WEB, route=1)
        got = await room.acknowledged(service("young"), route=1)
        assert got.problem == "spec.loadBalancer.listeners[0]: web.example/ on port 80 belongs to shop.web, which is older"
        assert dict(room.haproxy.model.maps["http_any_80.map"]) == {"web.example/": "shop.web:http", "young.example/": "shop.young:http"}


@pytest.mark.parametrize("blame", [_complains_of, _mute], ids=["named", "mute"])
async def test_only_the_offender_is_left_out(room: Room, blame: Callable[[str], Callable[[str], str]]) -> None:
    room.program.blame = blame("hdr(X-Bad)")
    async with room.running():
        for number in range(5):
            await room.publish.route(route(f"s{number}", http(f"s{number}.example"), age=number + 1))
        await room.publish.route(route("bad", http("bad.example"), balance={"algorithm": "Header", "name": "X-Bad"}, age=9))
        for number in range(5):
            assert (await room.acknowledged(service(f"s{number}"), route=1)).problem == ""
        await eventually(lambda: (got := room.applied(service("bad"))) is not None and "HAProxy refuses it" in got.problem)
        got = await room.acknowledged(service("bad"), route=0)
        assert "gen-9" not in got.problem
        assert "shop.bad:http" not in room.haproxy.model.backends
        await room.publish.route(route("bad", http("bad.example"), age=9))
        assert (await room.acknowledged(service("bad"), route=2)).problem == ""


@pytest.mark.parametrize("blame", [_complains_of, _mute], ids=["named", "mute"])
async def test_a_change_that_is_refused_leaves_what_was_good(room: Room, blame: Callable[[str], Callable[[str], str]]) -> None:
    room.program.blame = blame("hdr(X-Bad)")
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        await room.publish.route(route("web", http("web.example"), balance={"algorithm": "Header", "name": "X-Bad"}))
        await eventually(lambda: (got := room.applied(WEB)) is not None and "HAProxy refuses it" in got.problem)
        await room.publish.endpoints(WEB, endpoint("a"), endpoint("b"))
        got = await room.acknowledged(WEB, endpoints=2)
        assert (got.route, got.up) == (1, 2)
        assert "X-Bad" not in room.haproxy.configuration.read_text()


async def test_a_route_that_says_nonsense_leaves_what_was_good(room: Room) -> None:
    await room.publish.route(route("web", http("web.example")))
    async with room.running():
        await room.acknowledged(WEB, route=1)
        await room.publish.route(route("web", http("web.example", paths=["no slash"])))
        await eventually(lambda: (got := room.applied(WEB)) is not None and "listeners[0].paths[0]" in got.problem)
        assert (await room.acknowledged(WEB, route=1)).route == 1
        assert "web.example/" in dict(room.haproxy.model.maps["http_any_80.map"])


async def test_a_configuration_that_haproxy_cannot_start_by_is_taken_back(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        good = room.haproxy.configuration.read_text()
        room.haproxy.refuses = lambda text: "cannot bind" if "5432" in text else ""
        await room.publish.route(route("db", tcp(5432), age=2))
        await eventually(lambda: (got := room.applied(service("db"))) is not None and "could not start with it" in got.problem)
        assert room.haproxy.configuration.read_text() == good
        last = await room.publish.endpoints(WEB, endpoint("a"), endpoint("b"))
        await room.acknowledged(WEB, endpoints=last)


async def test_a_port_that_another_program_has_is_never_tried(room: Room) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        await room.publish.route(route("web", http("web.example")))
        await room.publish.route(route("db", tcp(port, addresses=["127.0.0.1"]), age=2))
        async with room.running():
            await room.acknowledged(WEB, route=1)
            got = await room.acknowledged(service("db"))
            assert f"port {port} is in use on this load balancer by another program" in got.problem
            assert room.haproxy.failed == 0


async def test_ports_and_lines_that_are_not_allowed(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), backendLines=["option http-server-close"]))
    async with room.running():
        assert "takes none" in (await room.acknowledged(WEB, route=0)).problem


async def test_own_settings_that_haproxy_refuses_do_not_stop_endpoints(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), healthCheck=NO_CHECK))
    await room.publish.endpoints(WEB, endpoint("a"))
    async with room.running():
        await room.acknowledged(WEB, endpoints=1, route=1)
        room.program.blame = lambda _: "[ALERT]    (17) : config : parsing [haproxy.cfg:2] : out of luck"
        await room.publish.route(route("db", tcp(5432), age=2))
        last = await room.publish.endpoints(WEB, endpoint("a"), endpoint("b"))
        await room.acknowledged(WEB, endpoints=last)
        room.program.blame = lambda _: ""
        await room.acknowledged(service("db"), route=1)


# ------------------------------------------------------------------------------------------------------- certificates

USERS = b"joe:$6$salt$abcdefghijklmnop\n"


async def test_users_come_from_their_secret_and_changes_are_loaded(room: Room) -> None:
    await room.publish.route(route("web", http("web.example"), access={"basicAuth": {"realm": "R", "secretRef": {"name": "users"}}}))
    async with room.running():
        await eventually(lambda: (got := room.applied(WEB)) is not None and "there is no such Secret" in got.problem)
        assert "deny_status 503" in room.haproxy.configuration.read_text()
        room.secrets.content["users"] = USERS
        await eventually(lambda: (got := room.applied(WEB)) is not None and got.problem == "")
        assert "user joe" in room.haproxy.configuration.read_text()
        room.secrets.content["users"] = USERS.replace(b"joe", b"ann")
        await eventually(lambda: "user ann" in room.haproxy.configuration.read_text())
        del room.secrets.content["users"]
        await eventually(lambda: "user ann" in room.haproxy.configuration.read_text())


async def test_a_password_in_clear_is_refused_and_not_told(room: Room) -> None:
    room.secrets.content["users"] = b"joe:hush\n"
    await room.publish.route(route("web", http("web.example"), access={"basicAuth": {"realm": "R", "secretRef": {"name": "users"}}}))
    async with room.running():
        await eventually(lambda: (got := room.applied(WEB)) is not None and "is not name:hash" in got.problem)
        got = room.applied(WEB)
        assert got is not None
        assert "hush" not in got.problem
