"""Kubernetes names for Marathon ids: `/shop/web` becomes `shop-web`, or `web` in namespace `shop`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_LONGEST = 200
"""Of a resource's name: what is made of it (revisions, services beside it) gets more."""
_LONGEST_NAMESPACE = 63


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """Where a resource lies."""

    namespace: str
    name: str


def places(ids: Iterable[str], *, namespace: str, by_group: bool = False) -> Mapping[str, Place]:
    """A place for each id, all different; the same ids get the same places every time.

    `by_group`: the first segment of the id is the namespace, and `namespace` is for apps directly below the root. Ids whose names would
    collide (`/a-b/c` and `/a/b-c`) get a part of their hash.
    """
    wanted = {app_id: _place(app_id, namespace, by_group=by_group) for app_id in ids}
    count: dict[Place, int] = {}
    for place in wanted.values():
        count[place] = count.get(place, 0) + 1
    return {app_id: place if count[place] == 1 else _told_apart(place, app_id) for app_id, place in sorted(wanted.items())}


def _place(app_id: str, namespace: str, *, by_group: bool) -> Place:
    segments = [s for s in app_id.split("/") if s]
    if by_group and len(segments) > 1:
        return Place(namespace=_dns(segments[0])[:_LONGEST_NAMESPACE].rstrip("-"), name=_fitting("-".join(segments[1:]), app_id))
    return Place(namespace=namespace, name=_fitting("-".join(segments), app_id))


def _dns(segment: str) -> str:
    """A namespace has no dots."""
    return segment.replace(".", "-")


def _fitting(name: str, app_id: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST].rstrip('-.')}-{_hash(app_id)}"


def _told_apart(place: Place, app_id: str) -> Place:
    return Place(namespace=place.namespace, name=f"{place.name}-{_hash(app_id)}")


def _hash(app_id: str) -> str:
    return hashlib.sha256(app_id.encode()).hexdigest()[:6]
