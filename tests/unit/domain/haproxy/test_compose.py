"""Routes → HAProxy's configuration. That HAProxy takes it, and does what it says, is proved in tests/integration/lb."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy_room import WEB, Json, composed, endpoint, endpoints, headers, http, route, section, service, tcp
from shuren.domain.errors import Invalid
from shuren.domain.haproxy.compose import Composition, Globals, Options, plans, read_routes
from shuren.domain.haproxy.document import MapEntry, write
from shuren.domain.haproxy.materials import Material, Materials, authority, certificate, needs, parse_users, users
from shuren.domain.haproxy.parse import parse
from shuren.domain.haproxy.servers import Admin
from shuren.domain.haproxy.words import literal, quoted
from shuren.domain.service.values import EndpointState, Route


def _materials(*there: Material, **more: Any) -> Materials:
    return Materials(directory="/certs", there=frozenset(there), **more)


def _https(*hosts: str, named: str = "web-tls", **tls: Any) -> Json:
    return {"name": "https", "protocol": "HTTPS", "hosts": list(hosts), "tls": {"certificates": [{"secretRef": {"name": named}}], **tls}}


CERTIFICATE = certificate(WEB, secret="web-tls")


def _map(composition: Composition, name: str) -> dict[str, str]:
    return {entry.key: entry.value for entry in composition.document.maps[name]}


# ------------------------------------------------------------------------------------------------------------ routing


def test_hosts_and_paths_stand_in_a_map() -> None:
    got = composed(
        route("a", http("a.example")), route("b", http("a.example", "*.b.example", paths=["/api"]), age=2), route("c", http(), age=3)
    )
    assert _map(got, "http_any_80.map") == {
        "a.example/": "shop.a:http",
        "a.example/api/": "shop.b:http",
        "*.b.example/api/": "shop.b:http",
        "*/": "shop.c:http",
    }


def test_look_ups_that_nobody_needs_are_not_made() -> None:
    plain = section(composed(route("a", http("a.example"))), "frontend http:any:80")
    assert sum("map_beg" in line for line in plain) == 1


CANARY = [{"name": "x-canary", "value": "1"}]


def test_a_rule_with_headers_falls_back_to_shorter_paths() -> None:
    got = composed(
        route("base", http("x")),
        route("api", http("x", paths=["/api"], headers=CANARY), age=2),
        route("other", http("y", headers=CANARY), age=3),
    )
    assert _map(got, "http_any_80.map") == {"x/": "shop.base:http", "x/api/": "chain:0", "y/": "chain:1"}
    lines = section(got, "frontend http:any:80")
    assert [line for line in lines if "chain:0" in line] == [
        "use_backend any:shop.api:http if { var(txn.key) -m str chain:0 } header_0 { nbsrv(shop.api:http) eq 0 }",
        "use_backend shop.api:http if { var(txn.key) -m str chain:0 } header_0",
        "use_backend any:shop.base:http if { var(txn.key) -m str chain:0 } { nbsrv(shop.base:http) eq 0 }",
        "use_backend shop.base:http if { var(txn.key) -m str chain:0 }",
    ]
    assert "use_backend shuren:nobody if { var(txn.key) -m str chain:1 }" in lines


def test_rules_with_more_headers_are_tried_first() -> None:
    two = [*CANARY, {"name": "x-user", "match": "Prefix", "value": "-t"}]
    got = composed(route("base", http("x")), route("one", http("x", headers=CANARY), age=2), route("two", http("x", headers=two), age=3))
    lines = [line for line in section(got, "frontend http:any:80") if "chain:0" in line]
    assert [line.split()[1] for line in lines if "nbsrv" not in line] == ["shop.two:http", "shop.one:http", "shop.base:http"]
    assert "acl header_1 req.fhdr(x-user) -m beg -- -t" in section(got, "frontend http:any:80")


def test_a_redirect_is_a_backend_without_servers() -> None:
    got = composed(route("a", http("x", redirectToHttps={})), route("b", http("y", redirectToHttps={"port": 8443, "code": 308}), age=2))
    assert _map(got, "http_any_80.map") == {"x/": "redirect:301:443", "y/": "redirect:308:8443"}
    assert section(got, "backend redirect:308:8443")[1] == "http-request redirect prefix https://%[req.hdr(host),host_only]:8443 code 308"
    assert got.backends == {}


def test_tcp_and_sni() -> None:
    passed = {"name": "tls", "protocol": "TLS", "port": 443, "hosts": ["*.db.example"], "tls": {"mode": "Passthrough"}}
    got = composed(route("a", tcp(5432, maxConnections=7), passed))
    assert section(got, "frontend tcp:any:5432")[-2:] == ["maxconn 7", "default_backend shop.a:tcp"]
    assert _map(got, "sni_any_443.map") == {"*.db.example": "shop.a:tcp"}
    assert [key.name for key in got.backends[service("a")]] == ["shop.a:tcp"]


def test_each_target_port_has_a_backend() -> None:
    got = composed(route("web", http("x"), http("y", name="admin", targetPort="admin")))
    made = plans(got, WEB, endpoints(endpoint("a", ports={"admin": 9000}), endpoint("b")), {})
    assert {p.name: [(s.name, s.port) for s in p.servers] for p in made} == {
        "shop.web:http": [("a", 31000), ("b", 31000)],
        "shop.web:http:admin": [("a", 9000)],
        "any:shop.web:http": [("a", 31000), ("b", 31000)],
        "any:shop.web:http:admin": [("a", 9000)],
    }


def test_spares_are_few_ready_and_of_equal_weight() -> None:
    ready = [endpoint(f"r{number}", weight=number) for number in range(20)]
    leaving = [endpoint(f"d{number}", state=EndpointState.DRAINING) for number in range(20)]
    others = [endpoint("s", state=EndpointState.STARTING), endpoint("u", state=EndpointState.UNHEALTHY)]
    got = composed(route("web", http("x"), sticky={}, slowStartSeconds=9))
    before = plans(got, WEB, endpoints(*ready, *others), {})[1]
    after = plans(got, WEB, endpoints(*ready, *leaving, *others), {})[1]
    assert (before.name, before.spare, before.checked, before.sticky) == ("any:shop.web:http", True, True, False)
    assert before.options[:3] == ("check", "inter", "10s")
    assert len(before.servers) == 8
    assert {(s.admin, s.weight) for s in before.servers} == {(Admin.READY, 100)}
    assert "r0" not in {s.name for s in before.servers}, "a weight of 0 asks for no traffic"
    assert set(before.servers) <= set(after.servers)
    drained = {s.name for s in after.servers} - {s.name for s in before.servers}
    assert drained
    assert {s.admin for s in after.servers if s.name in drained} == {Admin.DRAIN}
    lines = section(got, "backend any:shop.web:http")
    assert not [line for line in lines if line.startswith(("cookie", "option httpchk", "stick"))]


def test_who_wants_no_spares_gets_none() -> None:
    refused = composed(route("web", http("x"), healthCheck={"whenAllFail": "Refuse"}))
    unchecked = composed(route("web", http("x"), healthCheck={"enabled": False}))
    for got in (refused, unchecked):
        assert [p.servers for p in plans(got, WEB, endpoints(endpoint("a")), {}) if p.spare] == [()]
    assert [key.name for key in composed(route("db", tcp(5432))).backends[service("db")]] == ["shop.db:tcp"]


def test_timeouts_with_clients_are_the_longest_of_those_that_share_the_port() -> None:
    got = composed(route("a", http("x"), timeouts={"clientMs": 5}), route("b", http("y"), age=2, timeouts={"clientMs": 90_000}))
    assert "timeout client 90000ms" in section(got, "frontend http:any:80")


# -------------------------------------------------------------------------------------------------------- certificates


def test_https_without_its_certificate_is_left_out_and_says_so() -> None:
    got = composed(route("web", _https("x"), http("x")), materials=_materials(missing={CERTIFICATE: "there is no such Secret"}))
    assert "frontend https:any:443" not in headers(got)
    assert "frontend http:any:80" in headers(got)
    field = "spec.loadBalancer.listeners[0].tls.certificates[0].secretRef"
    assert got.problems == {WEB: (f"{field}: certificate in Secret shop/web-tls: there is no such Secret",)}


def test_a_renewal_that_was_refused_is_told_while_the_certificate_from_before_serves() -> None:
    refused = {CERTIFICATE: "its key does not belong to its certificate"}
    got = composed(route("web", http("x"), _https("x")), materials=_materials(CERTIFICATE, missing=refused))
    assert "frontend https:any:443" in headers(got)
    told = "its key does not belong to its certificate; the one from before stays in use"
    assert got.problems == {
        WEB: (f"spec.loadBalancer.listeners[1].tls.certificates[0].secretRef: certificate in Secret shop/web-tls: {told}",)
    }


def test_certificates_are_listed_with_their_names_oldest_first() -> None:
    other = certificate(service("b"), secret="b-tls")
    trusted = authority(WEB, "ca")
    got = composed(
        route("b", _https("b.example", named="b-tls", http2=False, minVersion="TLSv1.3"), age=2),
        route("web", _https("x", "y", ciphers="ECDHE", clientCertificates={"caSecretRef": {"name": "ca"}})),
        materials=_materials(CERTIFICATE, other, trusted),
    )
    assert [line.text for line in got.document.files["https_any_443.crtlist"]] == [
        (
            "/certs/certificate.shop.web-tls.pem [ssl-min-ver TLSv1.2 alpn h2,http/1.1 ciphers ECDHE verify required"
            " ca-file /certs/authority.shop.ca.pem] x y"
        ),
        "/certs/certificate.shop.b-tls.pem [ssl-min-ver TLSv1.3 alpn http/1.1] b.example",
    ]


def test_clients_that_must_show_a_certificate_never_come_in_without_the_authority() -> None:
    got = composed(route("web", _https("x", clientCertificates={"caSecretRef": {"name": "ca"}})), materials=_materials(CERTIFICATE))
    assert "frontend https:any:443" not in headers(got)


def test_users_that_are_not_there_keep_everybody_out() -> None:
    given_route = route("web", http("x"), access={"basicAuth": {"realm": "R", "secretRef": {"name": "u"}}})
    assert "http-request deny deny_status 503" in section(composed(given_route), "backend shop.web:http")
    known = users(WEB, "u")
    got = composed(given_route, materials=_materials(known, users={known: (("joe", "$6$salt$abcdefghijkl"),)}))
    assert section(got, "userlist users:users.shop.u.pem") == ['user joe password "\\$6\\$salt\\$abcdefghijkl"']
    assert "http-request auth realm R unless { http_auth(users:users.shop.u.pem) }" in section(got, "backend shop.web:http")


def test_all_that_a_route_needs_is_named() -> None:
    given_route = route(
        "web",
        _https("x", clientCertificates={"caSecretRef": {"name": "ca"}}),
        access={"basicAuth": {"realm": "R", "secretRef": {"name": "u"}}},
        upstream={"tls": {"verify": "Required", "caSecretRef": {"name": "up"}}},
    )
    named = needs(WEB, parse(given_route.listener))
    assert [str(m) for m in named] == [
        "authority in Secret shop/ca",
        "authority in Secret shop/up",
        "certificate in Secret shop/web-tls",
        "users in Secret shop/u",
    ]
    assert len({m.file for m in named}) == 4


def test_password_files() -> None:
    assert parse_users("# those who may\nb:$6$s$abcdefghijklm\n\na:abcdefghijklm\n") == (
        ("a", "abcdefghijklm"),
        ("b", "$6$s$abcdefghijklm"),
    )


@pytest.mark.parametrize("text", ["joe", "joe:hush", "joe:$apr1$salt$abcdefgh", "joe:$2y$05$abcdefghijklm", "a b:$6$s$abcdefghijklm"])
def test_a_password_that_is_no_hash_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(Invalid, match="line 1 is not name:hash") as caught:
        parse_users(text)
    assert "hush" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ backends

SETTINGS: dict[str, tuple[Json, list[str]]] = {
    "round robin": ({}, ["balance roundrobin"]),
    "consistent hash with a bound": (
        {"balance": {"algorithm": "Header", "name": "X-User", "boundedLoadPercent": 150}},
        ["balance hdr(X-User)", "hash-type consistent", "hash-balance-factor 150"],
    ),
    "source is consistent too": ({"balance": {"algorithm": "Source"}}, ["balance source", "hash-type consistent"]),
    "cookie hash": ({"balance": {"algorithm": "Cookie", "name": "s"}}, ["balance hash req.cook(s)", "hash-type consistent"]),
    "sticky cookie": (
        {"sticky": {"cookie": {"name": "S", "secure": True, "sameSite": "Lax", "maxIdleSeconds": 3, "domain": "x.example"}}},
        [
            'cookie S insert indirect nocache dynamic domain x.example httponly secure maxidle 3s attr "SameSite=Lax"',
            f"dynamic-cookie-key {hashlib.sha256(b'uid-web').hexdigest()[:32]}",
        ],
    ),
    "sticky source": (
        {"sticky": {"by": "Source", "expireSeconds": 9, "tableSize": 5}},
        ["stick-table type ip size 5 expire 9s peers shuren", "stick on src"],
    ),
    "retries": (
        {"retries": {"attempts": 1, "on": ["ConnectFailure"], "redispatch": False}},
        ["retries 1", "no option redispatch", "retry-on conn-failure"],
    ),
    "http check": (
        {"healthCheck": {"type": "Http", "path": "/a%20b", "host": "h", "expectStatus": "200"}},
        ["option httpchk", "http-check send meth GET uri /a%20b ver HTTP/1.1 hdr Host h", "http-check expect status 200"],
    ),
    "http check by a name of the service": (
        {"healthCheck": {"type": "Http"}},
        ["http-check send meth GET uri / ver HTTP/1.1 hdr Host x", "http-check expect status 200-399"],
    ),
    "access": (
        {"access": {"allow": ["10.0.0.0/8"], "deny": ["10.9.0.0/16"]}},
        [
            "acl denied src 10.9.0.0/16",
            "acl allowed src 10.0.0.0/8",
            "http-request deny deny_status 403 if denied",
            "http-request deny deny_status 403 unless allowed",
        ],
    ),
    "hsts": (
        {"http": {"hsts": {"includeSubdomains": True}}},
        ['http-response set-header Strict-Transport-Security "max-age=15768000; includeSubDomains" if { ssl_fc }'],
    ),
    "headers": (
        {"http": {"forwarded": False, "requestHeaders": {"set": [{"name": "X", "value": '100% "q" $HOME'}], "remove": ["Y"]}}},
        ["http-request del-header Y", 'http-request set-header X "100%% \\"q\\" \\$HOME"'],
    ),
    "rewrites": (
        {"http": {"rewrite": {"removePrefix": "/api", "addPrefix": "/v1", "host": "in:80"}}},
        [
            'http-request replace-path "^/api/?(.*)\\$" /\\1 if { path -m reg "^/api(/|\\$)" }',
            'http-request set-path "/v1%[path]"',
            "http-request set-header Host in:80",
        ],
    ),
}


@pytest.mark.parametrize(("settings", "lines"), SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_become_lines(settings: Json, lines: list[str]) -> None:
    got = section(composed(route("web", http("x"), **settings)), "backend shop.web:http")
    places = [got.index(line) for line in lines]
    assert places == sorted(places)


@pytest.mark.parametrize(("hosts", "told"), [((), "web.shop"), (("*.example", "b.example"), "b.example")])
def test_a_check_always_asks_for_a_host(hosts: tuple[str, ...], told: str) -> None:
    got = section(composed(route("web", http(*hosts), healthCheck={"type": "Http"})), "backend shop.web:http")
    assert f"http-check send meth GET uri / ver HTTP/1.1 hdr Host {told}" in got


UNREACHABLE = "observe layer4 error-limit 2 on-error mark-down"
SERVER_WORDS: dict[str, tuple[Json, str]] = {
    "default": ({}, f"check inter 2000ms fastinter 200ms downinter 500ms rise 2 fall 3 {UNREACHABLE}"),
    "no check": ({"healthCheck": {"enabled": False}, "connections": {"perEndpoint": 5, "queue": 2}}, "maxconn 5 maxqueue 2"),
    "tls": (
        {"upstream": {"tls": {"serverName": "s"}, "protocol": "HTTP2"}, "healthCheck": {"rise": 1}},
        f"ssl verify none sni str(s) alpn h2 check inter 2000ms fastinter 200ms downinter 500ms rise 1 fall 3 check-ssl {UNREACHABLE}",
    ),
    "verified": (
        {"upstream": {"tls": {"verify": "Required", "caSecretRef": {"name": "ca"}, "serverName": "s"}}, "healthCheck": {"enabled": False}},
        "ssl verify required ca-file /certs/authority.shop.ca.pem verifyhost s sni str(s)",
    ),
    "proxy protocol": (
        {"upstream": {"protocol": "HTTP2", "proxyProtocol": "V2"}, "healthCheck": {"enabled": False}},
        "proto h2 send-proxy-v2",
    ),
    "ejection": (
        {"outlierEjection": {"observe": "Layer7", "action": "FastCheck"}, "slowStartSeconds": 9},
        "check inter 2000ms fastinter 200ms downinter 500ms rise 2 fall 3 slowstart 9s observe layer7 error-limit 10 on-error fastinter",
    ),
}


@pytest.mark.parametrize(("settings", "words"), SERVER_WORDS.values(), ids=SERVER_WORDS.keys())
def test_settings_become_words_of_every_server(settings: Json, words: str) -> None:
    got = composed(route("web", http("x"), **settings), materials=_materials(authority(WEB, "ca")))
    assert " ".join(got.document.options["shop.web:http"]) == words


def test_a_check_in_clear_beside_traffic_over_tls_names_its_port() -> None:
    got = composed(route("web", http("x"), upstream={"tls": {}}, healthCheck={"tls": False}))
    assert [s.check_port for s in plans(got, WEB, endpoints(endpoint("a")), {})[0].servers] == [31000]
    assert "check-ssl" not in got.document.options["shop.web:http"]


def test_lines_of_the_user_are_taken_only_where_they_may_be() -> None:
    given_route = route("web", http("x"), backendLines=["option http-server-close"])
    carried, problems = read_routes([given_route], Options())
    assert not carried
    assert "takes none (shuren lb --allow-backend-lines)" in problems[WEB]
    got = composed(given_route, options=Options(backend_lines=True))
    assert section(got, "backend shop.web:http")[-1] == "option http-server-close"


@pytest.mark.parametrize("name", ["a b", "x\nbind", "UP", "", "a/b"])
def test_a_node_with_a_name_that_no_service_can_have_is_left_out(name: str) -> None:
    carried, problems = read_routes([route(name, http("x"))], Options())
    assert not carried
    assert "not named <namespace>.<name>" in problems[service(name)]


def test_what_cannot_be_read_does_not_stop_the_others() -> None:
    carried, problems = read_routes([route("bad", {"protocol": "x"}), route("web", http("x"))], Options())
    assert [c.service for c in carried] == [WEB]
    assert "listeners[0].protocol" in problems[service("bad")]


# ------------------------------------------------------------------------------------------------------------ the whole


def _routes(random: Random) -> Iterable[Route]:
    for number in range(random.randint(0, 6)):
        listeners = [http(f"h{random.randint(0, 3)}.example", paths=[random.choice(["/", "/a", "/a/b"])])]
        if random.random() < 0.5:
            listeners.append(tcp(random.randint(5000, 5003)))
        yield route(f"s{number}", *listeners, age=random.randint(1, 3))


@given(st.randoms(use_true_random=False))
def test_it_is_the_same_whatever_the_order(random: Random) -> None:
    given_routes = list(_routes(random))
    first = composed(*given_routes)
    random.shuffle(given_routes)
    second = composed(*given_routes)
    assert first.document == second.document
    assert first.problems == second.problems


@given(st.randoms(use_true_random=False))
def test_every_backend_that_is_used_is_there(random: Random) -> None:
    got = composed(*_routes(random))
    there = {header.split()[1] for header in headers(got) if header.startswith("backend ")}
    used = {entry.value for entries in got.document.maps.values() for entry in entries}
    used |= {line.text.split()[1] for s in got.document.sections for line in s.lines if line.text.startswith("default_backend")}
    assert used <= there


def test_what_is_the_machines_own() -> None:
    machine = Globals(
        api_socket="/run/a b.sock",
        state_file="/s",
        peer_socket="/p",
        metrics="127.0.0.1:9101",
        log="127.0.0.1 local0",
        max_connections=9,
        threads=2,
        lines=("tune.bufsize 32768",),
    )
    got = composed(machine=machine)
    top = section(got, "global")
    assert 'stats socket "/run/a b.sock" mode 600 level admin expose-fd listeners' in top
    assert top[-4:] == ["maxconn 9", "nbthread 2", "log 127.0.0.1 local0", "tune.bufsize 32768"]
    assert "bind 127.0.0.1:9101" in section(got, "frontend shuren:metrics")


def test_no_word_breaks_out_of_its_place() -> None:
    assert quoted("a b") == '"a b"'
    assert quoted('x"; bind *:22 #') == '"x\\"; bind *:22 #"'
    assert quoted("$HOME\\") == '"\\$HOME\\\\"'
    assert quoted("") == '""'
    assert literal("50%") == "50%%"
    with pytest.raises(Invalid):
        quoted("a\nb")


def test_a_map_entry_is_a_line() -> None:
    got = write(composed(route("a", http("x"))).document, {})
    assert got.files["http_any_80.map"] == "x/ shop.a:http\n"
    assert MapEntry("x/", "shop.a:http").key == "x/"
