"""Service ports: each 0 becomes a port of the configured range that no other app has, the ones the app had before come first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shuren.sandbox.contract import Group

from . import tree
from .errors import refused

Json = dict[str, Any]


def of_app(app: Mapping[str, Any]) -> list[int]:
    """The service ports of a definition, in order: those of port mappings off the host network, else of port definitions."""
    if app.get("portDefinitions") is not None:
        return [definition["port"] for definition in app["portDefinitions"]]
    return [mapping["servicePort"] for mapping in (app.get("container") or {}).get("portMappings") or ()]


def with_ports(app: Json, ports: list[int]) -> Json:
    """The app with these service ports."""
    if app.get("portDefinitions") is not None:
        return app | {"portDefinitions": [d | {"port": port} for d, port in zip(app["portDefinitions"], ports, strict=True)]}
    container = app["container"]
    mappings = [mapping | {"servicePort": port} for mapping, port in zip(container["portMappings"], ports, strict=True)]
    return app | {"container": container | {"portMappings": mappings}}


def _free(root: Group, low: int, high: int) -> Iterator[int]:
    used = {port for app in tree.all_apps(root).values() for port in of_app(app)}
    yield from (port for port in range(low, high + 1) if port not in used)
    raise refused(500, f"All ports in the range [{low}-{high}) are already in use")


def assign(old: Group, new: Group, *, low: int, high: int) -> Group:
    """The new root without zeros. Both ends of the range belong to it. Raises a 500 when it is used up."""
    free = _free(new, low, high)  # looked up only when a port is needed: the walk costs with the size of the estate

    def fill(before: Json | None, app: Json) -> Json:
        wanted = of_app(app)
        if 0 not in wanted:
            return app
        own = [port for port in of_app(before or {}) if low <= port <= high and port not in wanted]
        return with_ports(app, [port or (own.pop(0) if own else next(free)) for port in wanted])

    return tree.map_changed(old, new, tree.Kind.APPS, fill)
