"""The configuration as a value: written out, compared, and blamed on its lines' owners."""

from __future__ import annotations

from typing import Any

import pytest

from haproxy_room import WEB, Json, composed, endpoint, endpoints, http, route, service, tcp
from shuren.domain.haproxy.compose import plans
from shuren.domain.haproxy.document import CONFIG_FILE, Change, blamed, compare, server_lines, write
from shuren.domain.haproxy.materials import Materials, certificate
from shuren.domain.haproxy.servers import assign_ids
from shuren.domain.service.values import EndpointState, Route


def _changed(before: list[Route], after: list[Route]) -> Change:
    return compare(composed(*before).document, composed(*after).document)


A, B = route("a", http("a.example")), route("b", tcp(5432), age=2)


def test_the_first_configuration_is_loaded() -> None:
    assert compare(None, composed().document) == Change(reasons=("first configuration",))


def test_nothing_changed_is_no_reload() -> None:
    assert not _changed([A, B], [B, A]).reload


CHANGES: dict[str, tuple[list[Route], list[Route], tuple[str, ...]]] = {
    "a new service": (
        [A],
        [A, B],
        ("new frontend tcp:any:5432", "new backend shop.b:tcp"),
    ),
    "one that is gone": ([A, B], [A], ("frontend tcp:any:5432 is gone", "backend shop.b:tcp is gone")),
    "a timeout": (
        [A],
        [route("a", http("a.example"), timeouts={"serverMs": 5})],
        ("backend shop.a:http changed",),
    ),
    "an option of servers": ([A], [route("a", http("a.example"), slowStartSeconds=5)], ("servers of shop.a:http get other options",)),
    "a wildcard needs another look-up": ([A], [route("a", http("a.example", "*.a.example"))], ("frontend http:any:80 changed",)),
}


@pytest.mark.parametrize(("before", "after", "reasons"), CHANGES.values(), ids=CHANGES.keys())
def test_reasons_of_a_reload(before: list[Route], after: list[Route], reasons: tuple[str, ...]) -> None:
    assert _changed(before, after).reasons == reasons


def test_a_host_moves_between_backends_that_are_there_without_a_reload() -> None:
    before = [route("a", http("a.example", "x.example")), route("b", http("b.example"), age=2)]
    after = [route("a", http("a.example")), route("b", http("b.example", "x.example"), age=2)]
    assert _changed(before, after) == Change(maps=("http_any_80.map",))


def test_endpoints_are_no_part_of_the_comparison() -> None:
    got = composed(A)
    one = write(got.document, {p.name: p for p in plans(got, service("a"), endpoints(endpoint("e")), {})})
    two = write(got.document, {})
    assert one.files != two.files
    assert not compare(got.document, got.document).reload


def _tls(secret: str) -> Json:
    return {"name": "s", "protocol": "HTTPS", "hosts": ["x"], "tls": {"certificates": [{"secretRef": {"name": secret}}]}}


def test_another_certificate_is_a_reload() -> None:
    there = Materials(there=frozenset(certificate(WEB, secret=name) for name in ("one", "two")))
    before, after = (composed(route("web", _tls(name)), materials=there).document for name in ("one", "two"))
    assert compare(before, after).reasons == ("certificates of https_any_443.crtlist changed",)


def test_servers_are_written_as_haproxy_shall_start_with_them() -> None:
    got = composed(route("web", http("x"), healthCheck={"enabled": False}))
    states = {"ready": EndpointState.READY, "draining": EndpointState.DRAINING, "starting": EndpointState.STARTING}
    plan = plans(got, WEB, endpoints(*(endpoint(name, state=state, weight=50) for name, state in states.items())), {})[0]
    ids = assign_ids(["ready"], {"draining": 1, "starting": 2})
    assert server_lines(plan, {"draining": 1, "starting": 2}) == [
        "server draining 10.0.0.1:31000 id 1 weight 0",
        f"server ready 10.0.0.1:31000 id {ids['ready']} weight 50",
        "server starting 10.0.0.1:31000 id 2 weight 50 disabled",
    ]
    text = write(got.document, {plan.name: plan}).files[CONFIG_FILE]
    assert text.count("  server ") == 3
    assert text.index("\nbackend shop.web:http") < text.index("  server draining") < text.index("\nbackend shuren:nobody")


def _alert(place: str) -> str:
    return f"[NOTICE]   (1) : haproxy version is 2.6.12\n[ALERT]    (1) : config : parsing [{place}] : unknown keyword 'x'\n"


def test_the_owner_of_a_refused_line_is_found() -> None:
    written = write(composed(A, B, route("web", http("x", headers=[{"name": "h", "match": "Regex", "value": "((("}]), age=3)).document, {})
    lines = written.files[CONFIG_FILE].splitlines()
    acl = next(number for number, text in enumerate(lines, start=1) if "(((" in text)
    in_b = lines.index("backend shop.b:tcp") + 3
    assert blamed(_alert(f"/state/next/haproxy.cfg:{acl}"), written) == {WEB}
    assert blamed(_alert(f"haproxy.cfg:{acl}") + _alert(f"haproxy.cfg:{in_b}"), written) == {WEB, service("b")}


@pytest.mark.parametrize(
    "output", [_alert("haproxy.cfg:1"), _alert("haproxy.cfg:99999"), _alert("other.cfg:9"), "", "[ALERT] (1) : Out of memory"]
)
def test_what_is_nobodys_is_blamed_on_nobody(output: str) -> None:
    assert blamed(output, write(composed(A).document, {})) == frozenset()


def test_a_certificate_is_blamed_on_who_named_it() -> None:
    there: dict[str, Any] = {"directory": "/certs", "there": frozenset([certificate(WEB, secret="one")])}
    written = write(composed(A, route("web", _tls("one")), materials=Materials(**there)).document, {})
    output = "[ALERT] (9) : config : parsing [haproxy.cfg:9] : 'crt-list' : inconsistencies in '/certs/certificate.shop.one.pem'."
    assert blamed(output, written) == {WEB}
    assert blamed("[ALERT] : parsing [https_any_443.crtlist:1]: unknown ssl keyword foo", written) == {WEB}
