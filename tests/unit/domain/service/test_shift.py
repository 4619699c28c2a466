"""How far load balancers are with the split of an app's traffic."""

from __future__ import annotations

from shuren.domain.app.snapshot import Carrier as Carriage
from shuren.domain.app.snapshot import Count
from shuren.domain.service import shift, wire
from shuren.domain.service.release import Carrier
from shuren.domain.service.snapshot import BalancerSeen
from shuren.domain.service.values import Applied, Endpoint, EndpointSet, EndpointState, LoadBalancer, ServiceName

WEB = ServiceName(namespace="shop", name="web")
ENDPOINT = Endpoint(id="t:0", address="10.0.0.1", port=80, state=EndpointState.READY, task="t", app="/shop/web")


def published(generation: int = 3, **shares: int) -> EndpointSet:
    return EndpointSet(generation=generation, endpoints=(ENDPOINT,), shares={f"/shop/{app}": n for app, n in shares.items()})


def balancer(
    name: str, endpoints: int | None, *, live: bool = True, counters: object = None, up_of: dict[str, int] | None = None
) -> BalancerSeen:
    applied = None
    if endpoints is not None:
        told = {"backends": counters} if counters is not None else {}
        applied = Applied(service=WEB, endpoints=endpoints, route=1, up_of=up_of, counters=told)  # type: ignore[arg-type]  # anything may stand there
    return BalancerSeen(balancer=LoadBalancer(id=name, group="edge", live=live), applied=applied)


def carried(endpoints: EndpointSet | None, *balancers: BalancerSeen) -> tuple[Carriage, ...]:
    carrier = Carrier(service=WEB, endpoints=endpoints, balancers=balancers)
    return shift.carried([carrier], lives_on="/shop/web", beside="/shop/web-alt")


def test_every_live_load_balancer_has_to_have_the_generation() -> None:
    alt = {"web-alt": 10}
    (ok,) = carried(published(**alt), balancer("a", 3), balancer("b", 4))
    assert (ok.service, ok.share, ok.behind) == ("shop.web", 10, "")
    (one,) = carried(published(**alt), balancer("a", 3), balancer("b", 2))
    assert one.behind == "load balancer b has yet to follow shop.web"
    (new,) = carried(published(**alt), balancer("a", None))
    assert new.behind == "load balancer a has yet to follow shop.web"
    (silent,) = carried(published(**alt), balancer("a", 1, live=False))
    assert silent.behind == "", "it serves on by old weights, to tasks that run"


def test_every_endpoint_beside_has_to_be_up_on_every_live_load_balancer() -> None:
    beside = [Endpoint(id=f"{t}:0", address="10.0.0.2", port=80, state=EndpointState.READY, task=t, app="/shop/web-alt") for t in "uv"]
    starting = Endpoint(id="w:0", address="10.0.0.2", port=81, state=EndpointState.STARTING, task="w", app="/shop/web-alt")
    given = EndpointSet(generation=3, endpoints=(ENDPOINT, *beside, starting), shares={"/shop/web-alt": 0})
    both, one = {"/shop/web": 1, "/shop/web-alt": 2}, {"/shop/web": 1, "/shop/web-alt": 1}
    (good,) = carried(given, balancer("a", 3, up_of=both), balancer("b", 3, up_of=both))
    assert (good.ready, good.unproven) == (2, "")
    (late,) = carried(given, balancer("a", 3, up_of=both), balancer("b", 3, up_of=one))
    assert late.unproven == "load balancer b has 1 of 2 endpoints of /shop/web-alt up by its own check of shop.web"
    (none,) = carried(given, balancer("a", 3, up_of={}))
    assert none.unproven.startswith("load balancer a has 0 of 2 endpoints")
    (gone,) = carried(given, balancer("a", 3, up_of=one, live=False), balancer("b", 3))
    assert gone.unproven == "", "neither one that is silent nor one that does not tell is waited for"


def test_what_is_not_published_yet_is_waited_for() -> None:
    (nothing,) = carried(None)
    assert (nothing.share, nothing.behind) == (None, "endpoints of shop.web are not published yet")
    (no_share,) = carried(published())
    assert no_share.share is None


def test_a_service_without_endpoints_of_either_app_moves_nothing() -> None:
    assert carried(EndpointSet(generation=1)) == ()
    assert len(carried(EndpointSet(generation=1, shares={"/shop/web-alt": 0}))) == 1


def test_counters_are_those_of_the_app_beside() -> None:
    own = {"requests": 7, "errors": 2, "latencyMs": 30}
    (found,) = carried(
        published(),
        balancer("a", 3, counters={"/shop/web-alt": own, "/shop/web": {"requests": 99}}),
        balancer("b", 3, counters={"/shop/web": {"requests": 99}}),
        balancer("c", 3, counters="?"),
        balancer("d", 3, counters={"/shop/web-alt": {"requests": "many"}}),
    )
    assert found.counts == {"a": Count(requests=7, errors=2, latency=30), "d": Count()}


def test_shares_come_back_from_zookeeper_in_one_piece_and_in_chunks() -> None:
    given = published(**{"web-alt": 10})
    for limit in (wire.CHUNK, 10):
        encoded = wire.encode_endpoints(given, limit=limit)
        head = wire.decode_head(encoded.head)
        assert wire.decode_endpoints(head, tuple(encoded.children[name] for name in sorted(encoded.children))) == given
    assert b"shares" not in wire.encode_endpoints(published()).head
