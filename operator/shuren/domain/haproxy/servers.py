"""Endpoints → servers of a HAProxy backend: stable names, explicit ids, and the state that each endpoint state means."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from shuren.domain.service.values import MAX_WEIGHT, Endpoint, EndpointState

BASE_WEIGHT = 100
"""Weight with which every server is added. HAProxy scales relative weights by it, and its own default of 1 would round them to 0."""

IDS = 1 << 20
"""Ids are below this. HAProxy places a server on the ring of a consistent hash at `hash(id * 4096 + n)` in 32 bits (src/lb_chash.c), so
that two ids that agree in their lower 20 bits share all their places."""

_MAX_PORT = 65_535
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_PLAIN = re.compile(r"[A-Za-z0-9_./-]{1,120}")


class Admin(Enum):
    """What an operator of HAProxy wants of a server. READY: traffic. DRAIN: only what is there. MAINT: nothing, no checks."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


STATES = {
    EndpointState.STARTING: Admin.MAINT,
    EndpointState.READY: Admin.READY,
    EndpointState.DRAINING: Admin.DRAIN,
    EndpointState.UNHEALTHY: Admin.MAINT,
}
"""What each state of an endpoint means for its server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server as it shall be.

    `draining`: it finishes what it has, and somebody waits for that. `endpoint` is the id of its endpoint, `app` the label of its counters;
    `check_port` 0: the port itself.
    """

    name: str
    address: str
    port: int
    admin: Admin
    weight: int = BASE_WEIGHT
    check_port: int = 0
    draining: bool = False
    endpoint: str = ""
    app: str = ""


def server_name(endpoint_id: str, address: str = "") -> str:
    """A name that HAProxy takes, for ever the same for one endpoint. `address` tells the servers of one host name apart.

    Ids of tasks and addresses stay readable: `/` becomes `:`. Whatever else has to be changed gets a part of its hash.
    """
    full = f"{endpoint_id}@{address}" if address else endpoint_id
    if _PLAIN.fullmatch(full):
        return full.replace("/", ":")
    return f"{_UNSAFE.sub(':', full)[:100]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


@functools.lru_cache(maxsize=1 << 16)
def is_address(text: str) -> bool:
    """Whether it is an IP address, not a host name. A zone of IPv6 (`%eth0`) is none of ours: anything may stand there."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def host_names(endpoints: Iterable[Endpoint]) -> frozenset[str]:
    """Host names among the addresses, which somebody has to resolve: HAProxy takes none at run time."""
    return frozenset(e.address for e in endpoints if not is_address(e.address))


@functools.lru_cache(maxsize=1 << 15)
def _server(  # noqa: PLR0917
    endpoint: str,
    address: str,
    plain: bool,  # noqa: FBT001 - a cache finds arguments fastest by their places
    port: int,
    check_port: int,
    state: EndpointState,
    sticky: bool,  # noqa: FBT001
    weight: int,
    app: str,
) -> Server:
    """One server. Of a service that changes most endpoints are as they were."""
    draining = state is EndpointState.DRAINING
    return Server(
        name=server_name(endpoint, "" if plain else address),
        address=address,
        port=port,
        admin=Admin.MAINT if sticky and draining else STATES[state],
        draining=draining,
        weight=weight,
        check_port=check_port,
        endpoint=endpoint,
        app=app,
    )


def servers_of(
    endpoints: Sequence[Endpoint],
    *,
    target_port: str = "",
    check_port: str = "",
    sticky: bool = False,
    resolved: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Server, ...]:
    """The servers of a backend, sorted by name.

    Where clients are `sticky`, one that is drained goes into maintenance: HAProxy's drain still lets those in that stick to it, so that it
    would never be free of them. What is under way goes on in either.

    `target_port` and `check_port` are names of further ports; an endpoint that does not have the first is left out, one without the second
    is checked where its traffic goes. A host name becomes one server for each of its addresses in `resolved`, which share its weight.
    """
    found: dict[str, Server] = {}
    for endpoint in endpoints:
        port = endpoint.ports.get(target_port, 0) if target_port else endpoint.port
        if not 0 < port <= _MAX_PORT:
            continue
        plain = is_address(endpoint.address)
        addresses = (endpoint.address,) if plain else tuple((resolved or {}).get(endpoint.address, ()))
        weight = min(max(endpoint.weight, 0), MAX_WEIGHT)
        checked = min(max(endpoint.ports.get(check_port, 0), 0), _MAX_PORT) if check_port else 0
        share = weight if plain or not weight or not addresses else max(1, weight // len(addresses))
        for address in addresses:
            made = _server(endpoint.id, address, plain, port, checked, endpoint.state, sticky, share, endpoint.app)
            found[made.name] = made
    return tuple(found[name] for name in sorted(found))


SPARES = 8
"""Servers of a backend that have a second life as its spares: enough to find one that answers, few enough to cost next to nothing."""


def spares(servers: Sequence[Server]) -> tuple[Server, ...]:
    """Those of a backend's servers that take its requests when all checks fail, with their base weight.

    By the hash of their names, so that a change of one seldom changes the others. One that is drained is kept while somebody waits for what
    it has.
    """
    able = [s for s in servers if s.admin is Admin.READY and s.weight > 0]
    ranked = sorted((*able, *(s for s in servers if s.draining)), key=lambda s: hashlib.sha256(s.name.encode()).digest())
    chosen = {s.name for s in [*ranked[:SPARES], *[s for s in ranked if not s.draining][:SPARES]]}
    return tuple(replace(s, weight=BASE_WEIGHT, check_port=0) for s in servers if s.name in chosen)


def assign_ids(names: Iterable[str], taken: Mapping[str, int]) -> dict[str, int]:
    """An id for each name that has none in `taken`, unique among all; from the name, so that every load balancer chooses the same."""
    used: set[int] = set(taken.values())
    given: dict[str, int] = {}
    for name in sorted(set(names) - taken.keys()):
        given[name] = _free_id(name, used)
        used.add(given[name])
    return given


def _free_id(name: str, used: Collection[int]) -> int:
    attempt = 0
    while True:
        digest = hashlib.sha256(f"{name}#{attempt}".encode() if attempt else name.encode()).digest()
        chosen = int.from_bytes(digest[:4], "big") % (IDS - 1) + 1
        if chosen not in used:
            return chosen
        attempt += 1
