"""When load balancers have let go of a task."""

from __future__ import annotations

from typing import Any

import pytest

from shuren.domain.service.release import Carrier, left, released
from shuren.domain.service.snapshot import BalancerSeen
from shuren.domain.service.values import Applied, Endpoint, EndpointSet, EndpointState, LoadBalancer, ServiceName

WEB = ServiceName(namespace="shop", name="web")


def endpoint(state: EndpointState, task: str = "web.1") -> Endpoint:
    return Endpoint(id=f"{task}:0", address="127.0.0.1", port=1, state=state, task=task)


def balancer(*, live: bool = True, generation: int | None = 5, **sessions: int) -> BalancerSeen:
    named = {f"web.{name.removeprefix('t')}:0": n for name, n in sessions.items()}
    applied = None if generation is None else Applied(service=WEB, endpoints=generation, route=1, sessions=named)
    return BalancerSeen(balancer=LoadBalancer(id="lb-1", group="g", live=live), applied=applied)


def carrier(*balancers: BalancerSeen, state: EndpointState = EndpointState.DRAINING, published: bool = True) -> Carrier:
    endpoints = EndpointSet(generation=5, endpoints=(endpoint(state),)) if published else None
    return Carrier(service=WEB, endpoints=endpoints, balancers=balancers)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (carrier(), ""),
        (carrier(balancer()), ""),
        (carrier(balancer(t2=9)), ""),
        (carrier(balancer(t1=1)), "load balancer lb-1 has a session with it"),
        (carrier(balancer(t1=2)), "load balancer lb-1 has sessions with it"),
        (carrier(balancer(generation=4)), "load balancer lb-1 has yet to follow shop.web"),
        (carrier(balancer(generation=None)), "load balancer lb-1 has yet to follow shop.web"),
        (carrier(balancer(generation=4, live=False)), "load balancer lb-1, whose agent does not run, has yet to follow shop.web"),
        (carrier(balancer(), state=EndpointState.READY), "shop.web has yet to publish that it drains"),
        (carrier(published=False), "endpoints of shop.web are not published yet"),
    ],
)
def test_what_holds_a_task_up(given: Carrier, why: str) -> None:
    free, held = released([given], {"web.1": 0.0}, now=1.0, limit=60.0)
    assert held == ({"web.1": why} if why else {})
    assert free == (frozenset() if why else {"web.1"})


def test_every_service_must_have_let_go() -> None:
    free, held = released([carrier(), carrier(balancer(t1=1))], {"web.1": 0.0}, now=1.0, limit=60.0)
    assert (free, set(held)) == (frozenset(), {"web.1"})


def test_time_overrules_a_silent_load_balancer() -> None:
    given = [carrier(balancer(generation=None, live=False))]
    assert released(given, {"web.1": 0.0}, now=60.0, limit=60.0)[0] == {"web.1"}


@pytest.mark.parametrize(("waiting", "seconds"), [((), None), (("a",), 50.0), (("a", "b"), 20.0)])
def test_when_the_first_goes_in_any_case(waiting: Any, seconds: float | None) -> None:
    assert left({"a": 0.0, "b": -30.0}, waiting, now=10.0, limit=60.0) == seconds
