"""The form of service records in ZooKeeper (docs/zookeeper.md): JSON, fields left out when empty, unknown ones ignored when read.

Decoders never raise on what a newer writer may have added: an endpoint in a state nobody knows is left out, an unknown field is ignored.
What is no record at all is Invalid, and readers keep what they had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shuren.domain.errors import Invalid
from shuren.domain.service.values import (
    Applied,
    Endpoint,
    EndpointSet,
    EndpointState,
    LoadBalancer,
    MesosNames,
    Names,
    Route,
    ServiceName,
    TaskAddress,
    TaskNames,
)

ENDPOINTS = "/endpoints"
ROUTES = "/routes"
NAMES = "/names"
TASKS = "/tasks"
MESOS = "/mesos"
LOAD_BALANCERS = "/edge/lb"

CHUNK = 512 * 1024
"""Bytes of endpoints up to which they lie in the head itself, and of each chunk beyond."""

_STATES = {state.value: state for state in EndpointState}


def escaped(app_id: str) -> str:
    """An app id as the name of a node: the first `/` is dropped, others become `.`, a dot becomes `%2E` and `%` becomes `%25`."""
    return app_id.strip("/").replace("%", "%25").replace(".", "%2E").replace("/", ".")


def unescaped(name: str) -> str:
    """The inverse of `escaped`."""
    return "/" + name.replace(".", "/").replace("%2E", ".").replace("%25", "%")


# ---------------------------------------------------------------------------------------------------- endpoints


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The head of a service's endpoints: all of them, or (with `chunks`) how many children `<generation>-<n>` hold them."""

    generation: int
    chunks: int = 0
    endpoints: tuple[Endpoint, ...] = ()
    shares: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """What is written for an EndpointSet: the head's data, and the data of each child by name."""

    head: bytes
    children: Mapping[str, bytes]


def chunk_name(generation: int, index: int) -> str:
    """The name of a chunk below the head. The generation in it keeps a reader of an older head from mixing two."""
    return f"{generation}-{index}"


def encode_endpoints(given: EndpointSet, *, limit: int = CHUNK) -> Encoded:
    """Head and chunks of a set. Chunks are to be written before the head, and those of older generations deleted after."""
    items = [_endpoint_document(e) for e in given.endpoints]
    told: dict[str, Any] = {"generation": given.generation} | ({"shares": dict(given.shares)} if given.shares else {})
    whole = _dump(told | {"endpoints": items})
    if len(whole) <= limit:
        return Encoded(head=whole, children={})
    chunks: list[list[bytes]] = [[]]
    size = 0
    for item in items:
        data = _dump(item)
        if chunks[-1] and size + len(data) > limit:
            chunks.append([])
            size = 0
        chunks[-1].append(data)
        size += len(data) + 1
    children = {chunk_name(given.generation, i): b"[" + b",".join(chunk) + b"]" for i, chunk in enumerate(chunks)}
    return Encoded(head=_dump(told | {"chunks": len(chunks)}), children=children)


def decode_head(data: bytes) -> Head:
    """Invalid when it is none."""
    document = _object(data, "a head of endpoints")
    try:
        chunks = int(document.get("chunks", 0))
        shares = {str(app): int(share) for app, share in document.get("shares", {}).items()}
        found = _endpoints(document.get("endpoints", []))
        return Head(generation=int(document["generation"]), chunks=chunks, endpoints=found, shares=shares)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Invalid(f"a head of endpoints cannot be read: {error!r}") from error


def decode_endpoints(head: Head, chunks: Sequence[bytes] = ()) -> EndpointSet:
    """The whole set; `chunks` in order, as many as the head says."""
    if len(chunks) != head.chunks:
        raise Invalid(f"generation {head.generation} has {head.chunks} chunks of endpoints, not {len(chunks)}")
    found = list(head.endpoints)
    for data in chunks:
        try:
            found += _endpoints(json.loads(data))
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(f"a chunk of endpoints of generation {head.generation} cannot be read: {error!r}") from error
    return EndpointSet(generation=head.generation, endpoints=tuple(found), shares=head.shares)


def _endpoint_document(e: Endpoint) -> dict[str, Any]:
    document: dict[str, Any] = {"id": e.id, "address": e.address, "port": e.port, "state": e.state.value, "weight": e.weight}
    document |= {key: value for key, value in (("task", e.task), ("app", e.app), ("agent", e.agent), ("zone", e.zone)) if value}
    if e.ports:
        document["ports"] = dict(sorted(e.ports.items()))
    return document


def _endpoints(items: Any) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(
            id=str(item["id"]),
            address=str(item["address"]),
            port=int(item["port"]),
            state=_STATES[item["state"]],
            weight=int(item.get("weight", 100)),
            task=str(item.get("task", "")),
            app=str(item.get("app", "")),
            agent=str(item.get("agent", "")),
            zone=str(item.get("zone", "")),
            ports={str(name): int(port) for name, port in item.get("ports", {}).items()},
        )
        for item in items
        if item["state"] in _STATES
    )


# ---------------------------------------------------------------------------------------------------- routes, names


def encode_route(route: Route) -> bytes:
    """Data of `/routes/<group>/<ns>.<svc>`."""
    return _dump({"generation": route.generation, "uid": route.uid, "since": route.since, "listener": route.listener})


def decode_route(data: bytes, *, service: ServiceName, group: str) -> Route:
    """Invalid when it is none."""
    document = _object(data, f"the route of {service}")
    try:
        return Route(
            service=service,
            group=group,
            generation=int(document["generation"]),
            uid=str(document.get("uid", "")),
            since=str(document.get("since", "")),
            listener=dict(document["listener"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(f"the route of {service} cannot be read: {error!r}") from error


def encode_names(names: Names) -> bytes:
    """Data of `/names/<ns>.<svc>`."""
    return _dump({"names": list(names.names), "protocol": names.protocol})


def decode_names(data: bytes, *, service: ServiceName) -> Names:
    """Invalid when it is none."""
    document = _object(data, f"the names of {service}")
    try:
        names = tuple(str(name) for name in document["names"])
        return Names(service=service, names=names, protocol=str(document.get("protocol", "tcp")))
    except (KeyError, TypeError) as error:
        raise Invalid(f"the names of {service} cannot be read: {error!r}") from error


def encode_tasks(names: TaskNames) -> bytes:
    """Data of `/tasks/<escaped app id>`."""
    tasks = [
        {
            "task": t.task,
            "agentId": t.agent_id,
            "agentAddress": t.agent_address,
            "addresses": list(t.addresses),
            "ports": list(t.ports),
            "portNames": list(t.port_names),
            "protocols": list(t.protocols),
        }
        for t in names.tasks
    ]
    return _dump({"app": names.app, "framework": names.framework, "tasks": tasks})


def decode_tasks(data: bytes) -> TaskNames:
    """Invalid when it is none."""
    document = _object(data, "the tasks of an app")
    try:
        return TaskNames(
            app=str(document["app"]),
            framework=str(document.get("framework", "marathon")),
            tasks=tuple(
                TaskAddress(
                    task=str(t["task"]),
                    agent_id=str(t.get("agentId", "")),
                    agent_address=str(t.get("agentAddress", "")),
                    addresses=tuple(str(a) for a in t.get("addresses", [])),
                    ports=tuple(int(p) for p in t.get("ports", [])),
                    port_names=tuple(str(n) for n in t.get("portNames", [])),
                    protocols=tuple(str(p) for p in t.get("protocols", [])),
                )
                for t in document.get("tasks", [])
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(f"the tasks of an app cannot be read: {error!r}") from error


def encode_mesos(names: MesosNames) -> bytes:
    """Data of `/mesos`."""
    return _dump({"leader": names.leader, "masters": list(names.masters), "agents": list(names.agents)})


def decode_mesos(data: bytes) -> MesosNames:
    """Invalid when it is none."""
    document = _object(data, "the addresses of Mesos")
    try:
        return MesosNames(
            leader=str(document.get("leader", "")),
            masters=tuple(str(a) for a in document.get("masters", [])),
            agents=tuple(str(a) for a in document.get("agents", [])),
        )
    except TypeError as error:
        raise Invalid(f"the addresses of Mesos cannot be read: {error!r}") from error


# ---------------------------------------------------------------------------------------------------- load balancers


def encode_load_balancer(balancer: LoadBalancer) -> bytes:
    """Data of `/edge/lb/<id>`."""
    return _dump({"group": balancer.group, "host": balancer.host, "version": balancer.version})


def decode_load_balancer(data: bytes, *, balancer: str, live: bool) -> LoadBalancer:
    """Invalid when it is none."""
    document = _object(data, f"load balancer {balancer}")
    group, host, version = (str(document.get(key, "")) for key in ("group", "host", "version"))
    if not group:
        raise Invalid(f"load balancer {balancer} names no group")
    return LoadBalancer(id=balancer, group=group, host=host, version=version, live=live)


def encode_applied(applied: Applied) -> bytes:
    """Data of `/edge/lb/<id>/applied/<ns>.<svc>`."""
    document: dict[str, Any] = {"endpoints": applied.endpoints, "route": applied.route, "up": applied.up, "reloads": applied.reloads}
    if applied.up_of is not None:
        document["upOf"] = dict(sorted(applied.up_of.items()))
    if applied.sessions:
        document["sessions"] = dict(sorted(applied.sessions.items()))
    if applied.counters:
        document["counters"] = applied.counters
    document |= {key: value for key, value in (("problem", applied.problem), ("lastReload", applied.last_reload)) if value}
    return _dump(document)


def decode_applied(data: bytes, *, service: ServiceName) -> Applied:
    """Invalid when it is none."""
    document = _object(data, f"what is applied of {service}")
    try:
        return Applied(
            service=service,
            endpoints=int(document["endpoints"]),
            route=int(document["route"]),
            sessions={str(e): int(n) for e, n in document.get("sessions", {}).items()},
            up=int(document.get("up", 0)),
            up_of={str(a): int(n) for a, n in document["upOf"].items()} if "upOf" in document else None,
            problem=str(document.get("problem", "")),
            reloads=int(document.get("reloads", 0)),
            last_reload=str(document.get("lastReload", "")),
            counters=dict(document.get("counters", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Invalid(f"what is applied of {service} cannot be read: {error!r}") from error


def _dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise Invalid(f"{what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Invalid(f"{what} is not a JSON object")
    return document
