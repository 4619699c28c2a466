"""Where clients find a service at its load balancers, and what of that another, older service holds already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shuren.domain.haproxy.claims import Carried, PortSet, kind_of, resolve
from shuren.domain.haproxy.settings import Listener, LoadBalancing, Protocol
from shuren.domain.service.values import ServiceName

_SCHEMES = {Protocol.HTTP: "http", Protocol.HTTPS: "https", Protocol.TCP: "tcp", Protocol.TLS: "tls"}
_USUAL = {Protocol.HTTP: 80, Protocol.HTTPS: 443}
_MOST = 64


def shown(settings: LoadBalancing) -> tuple[str, ...]:
    """Addresses for people: `https://shop.example/api`, `tcp://*:5432`."""
    return tuple(dict.fromkeys(address for listener in settings.listeners for address in _of(listener)))[:_MOST]


def _of(listener: Listener) -> Iterable[str]:
    scheme = _SCHEMES[listener.protocol]
    port = "" if listener.port == _USUAL.get(listener.protocol) else f":{listener.port}"
    for host in listener.hosts or ("*",):
        for path in listener.paths:
            yield f"{scheme}://{host}{port}{'' if path == '/' else path}"


def wants(group: str, settings: LoadBalancing) -> tuple[str, ...]:
    """Keys by which services that could want the same find each other: hosts of a port, and the kind of frontend of a port."""
    found: dict[str, None] = {}
    for listener in settings.listeners:
        for address in listener.addresses:
            place = f"{group} {address}:{listener.port}"
            found[f"{place} {kind_of(listener).value}"] = None
            found |= dict.fromkeys(f"{place} host {host}" for host in listener.hosts or ("*",))
    return tuple(found)


def could_want_the_same(group: str, settings: LoadBalancing) -> tuple[str, ...]:
    """Keys of `wants` under which rivals are to be looked for: the same hosts, and other kinds of frontend on the same ports."""
    found: dict[str, None] = {}
    for listener in settings.listeners:
        kind = kind_of(listener)
        for address in listener.addresses:
            place = f"{group} {address}:{listener.port}"
            others = [other.value for other in type(kind) if other is not kind or not kind.shared]
            found |= dict.fromkeys(f"{place} {other}" for other in others)
            found |= dict.fromkeys(f"{place} host {host}" for host in listener.hosts or ("*",))
    return tuple(found)


def taken(service: ServiceName, carried: Sequence[Carried]) -> tuple[str, ...]:
    """What of a service's route others among `carried` hold, each as `path: sentence`; by the very rule that load balancers follow."""
    return resolve(carried, ports=PortSet()).problems.get(service, ())
