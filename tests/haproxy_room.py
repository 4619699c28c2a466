"""Routes and endpoints that tests of load balancing share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from shuren.domain.haproxy.compose import Composition, Globals, Options, compose, read_routes
from shuren.domain.haproxy.materials import Materials
from shuren.domain.haproxy.servers import Admin, Server
from shuren.domain.service.values import Endpoint, EndpointSet, EndpointState, Route, ServiceName

Json = dict[str, Any]
MACHINE = Globals(api_socket="/run/api.sock", state_file="/run/servers.state", peer_socket="/run/peer.sock")
WEB = ServiceName(namespace="shop", name="web")


def service(name: str, namespace: str = "shop") -> ServiceName:
    return ServiceName(namespace=namespace, name=name)


def http(*hosts: str, port: int = 80, name: str = "http", **more: Any) -> Json:
    return {"name": name, "protocol": "HTTP", "port": port, **({"hosts": list(hosts)} if hosts else {}), **more}


def tcp(port: int, name: str = "tcp", **more: Any) -> Json:
    return {"name": name, "protocol": "TCP", "port": port, **more}


def route(name: str, *listeners: Json, age: int = 1, generation: int = 1, **settings: Any) -> Route:
    """The older a route, the smaller its `age`: it is the day on which it was made."""
    return Route(
        service=service(name),
        group="edge",
        generation=generation,
        uid=f"uid-{name}",
        since=f"2026-01-{age:02}T00:00:00Z",
        listener={"group": "edge", "listeners": list(listeners), **settings},
    )


def endpoint(
    name: str, *, state: EndpointState = EndpointState.READY, address: str = "10.0.0.1", port: int = 31000, **more: Any
) -> Endpoint:
    return Endpoint(id=name, address=address, port=port, state=state, **more)


def endpoints(*given: Endpoint, generation: int = 1) -> EndpointSet:
    return EndpointSet(generation=generation, endpoints=given)


def composed(*routes: Route, materials: Materials | None = None, options: Options | None = None, machine: Globals = MACHINE) -> Composition:
    allowed = options or Options()
    carried, problems = read_routes(routes, allowed)
    assert not problems, problems
    return compose(carried, machine=machine, materials=materials or Materials(), options=allowed)


def section(composition: Composition, header: str) -> list[str]:
    """Lines of one section."""
    return next([line.text for line in s.lines] for s in composition.document.sections if s.header == header)


def headers(composition: Composition) -> list[str]:
    return [s.header for s in composition.document.sections]


NAMES: Sequence[str] = ("a", "b", "c", "d", "e")
server_sets = st.lists(
    st.builds(
        Server,
        name=st.sampled_from(NAMES),
        address=st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1"]),
        port=st.sampled_from([80, 81]),
        admin=st.sampled_from(Admin),
        weight=st.sampled_from([0, 1, 100, 256]),
        check_port=st.sampled_from([0, 99]),
    ),
    unique_by=lambda s: s.name,
    max_size=5,
).map(tuple)
"""Servers that a backend shall have."""

JsonMap = Mapping[str, Any]
