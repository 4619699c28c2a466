"""What a route asks for, done by a real HAProxy: its configuration is composed, and requests are sent through it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine_process import free_port
from haproxy_front import NO_CHECK, QUICK, Front, carrying
from haproxy_room import Json, endpoint, endpoints, http, route, service, tcp
from lb_process import until
from shuren.domain.haproxy.compose import plans
from shuren.domain.haproxy.document import CONFIG_FILE, write
from shuren.domain.haproxy.materials import users
from shuren.domain.service.values import EndpointState

# ------------------------------------------------------------------------------------------------------------- routing


async def test_hosts_paths_and_headers(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    canary = [{"name": "X-Canary", "match": "Regex", "value": "^y(es)?$"}]
    routes = [
        route("site", http("x.example", port=port), age=1),
        route("api", http("x.example", port=port, paths=["/api"]), age=2),
        route("v2", http("x.example", port=port, paths=["/api/v2"]), age=3),
        route("canary", http("x.example", port=port, paths=["/api"], headers=canary), age=4),
        route("wild", http("*.w.example", port=port), age=5),
        route("exact", http("a.w.example", port=port, paths=["/only"]), age=6),
        route("app", http(port=port, headers=[{"name": "X-Marathon-App-Id", "value": "/shop/app"}]), age=7),
        route("picky", http("p.w.example", port=port, headers=canary), age=8),
        route("choosy", http("*.c.example", port=port, headers=canary), age=9),
    ]
    names = [r.service.name for r in routes]
    async with carrying(tmp_path, *routes, port=port) as front:
        for name in names:
            backend = await backends(name)
            await front.set(name, endpoint(name, address="127.0.0.1", port=backend.port))

        async def answer(path: str, host: str = "x.example", headers: str = "") -> str:
            status, _, text = await front.get(path, host, headers=headers)
            return text.split()[0] if status == 200 else str(status)

        assert await answer("/") == "site"
        assert await answer("/api") == "api"
        assert await answer("/api/users?x=1") == "api"
        assert await answer("/apis") == "site"
        assert await answer("/api/v2/x") == "v2"
        assert await answer("/api/v20") == "api"
        assert await answer("/api", headers="X-Canary: yes\r\n") == "canary"
        assert await answer("/api", headers="x-canary: no\r\n") == "api"
        assert await answer("/", "X.Example:8080") == "site"
        assert await answer("/", "b.w.example") == "wild"
        assert await answer("/only/this", "a.w.example") == "exact"
        assert await answer("/else", "a.w.example") == "wild"
        assert await answer("/", "b.c.w.example") == "404"
        assert await answer("/", "nobody.example") == "404"
        app = "X-Marathon-App-Id: /shop/app\r\n"
        assert await answer("/", "nobody.example", app) == "app"
        # rules with headers of which none is taken leave the request to wider hosts
        assert await answer("/", "p.w.example", "X-Canary: y\r\n") == "picky"
        assert await answer("/", "p.w.example") == "wild"
        assert await answer("/", "a.c.example", "X-Canary: y\r\n" + app) == "choosy"
        assert await answer("/", "a.c.example", app) == "app"
        assert await answer("/", "a.c.example") == "404"


async def test_requests_and_answers_are_changed_as_asked(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    changes: Json = {
        "hsts": {},
        "rewrite": {"removePrefix": "/api", "addPrefix": "/v1", "host": "inside:80"},
        "requestHeaders": {"set": [{"name": "X-Set", "value": '100% "sure" $HOME %[src]'}], "remove": ["X-Gone"]},
        "responseHeaders": {"set": [{"name": "X-Answer", "value": "a b"}]},
    }
    asked = http("x.example", port=port, paths=["/api"])
    redirected = http("r.example", port=port, name="r", redirectToHttps={"code": 308, "port": 8443})
    async with carrying(tmp_path, route("web", asked, redirected, http=changes), port=port) as front:
        backend = await backends("a")
        await front.set("web", endpoint("a", address="127.0.0.1", port=backend.port))
        status, headers, text = await front.get(
            "/api/echo?q=1", headers="X-Gone: 1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 9.9.9.9\r\n"
        )
        lines = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in text.splitlines()[1:])}
        assert status == 200
        assert text.startswith("GET /v1/echo?q=1 HTTP/1.1")
        assert (lines["host"], lines["x-set"], "x-gone" in lines) == ("inside:80", '100% "sure" $HOME %[src]', False)
        assert (lines["x-forwarded-proto"], lines["x-forwarded-port"], lines["x-forwarded-for"]) == ("http", str(port), "127.0.0.1")
        assert headers["x-answer"] == "a b"
        assert "strict-transport-security" not in headers
        status, headers, _ = await front.get("/a?b=c", "r.example")
        assert (status, headers["location"]) == (308, "https://r.example:8443/a?b=c")


async def test_ports_addresses_and_answers_on_their_way_through(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    """A further port of the endpoints, clients behind a proxy, redirects of the app's own, and compression."""
    behind = free_port()
    routes = [
        route(
            "web",
            http("x.example", port=port),
            http("admin.x.example", port=port, name="admin", targetPort="admin"),
            http={"rewrite": {"locationPrefix": "/shop"}, "compressTypes": ["text/plain"]},
        ),
        route("proxied", http(port=behind, acceptProxy=True), age=2),
    ]
    main, admin = await backends("main"), await backends("admin")
    both = endpoint("a", address="127.0.0.1", port=main.port, ports={"admin": admin.port})
    async with carrying(tmp_path, *routes, port=port) as front:
        for name in ("web", "proxied"):
            await front.set(name, both)
        assert (await front.get(host="admin.x.example"))[2].split()[0] == "admin"
        assert (await front.get("/go/there"))[1]["location"] == "/shop/there"
        asked = "GET /down/1 HTTP/1.1\r\nHost: x.example\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        assert "content-encoding: gzip" in await _said(port, asked)
        asked = "PROXY TCP4 192.0.2.7 192.0.2.8 4000 80\r\nGET /echo HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"
        assert "x-forwarded-for: 192.0.2.7" in await _said(behind, asked)


async def _said(port: int, text: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    found = await reader.read()
    writer.close()
    return found.decode(errors="replace").lower()


async def test_who_may_come_in(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    routes = [
        route("denied", http("denied.example", port=port), access={"deny": ["127.0.0.0/8"]}),
        route("allowed", http("allowed.example", port=port), access={"allow": ["127.0.0.0/8"]}, age=2),
        route("elsewhere", http("elsewhere.example", port=port), access={"allow": ["10.0.0.0/8"]}, age=3),
        route("users", http("users.example", port=port), access={"basicAuth": {"realm": "My R", "secretRef": {"name": "u"}}}, age=4),
    ]
    async with carrying(tmp_path, *routes, port=port, contents={"u": b""}) as front:
        backend = await backends("a")
        for name in ("denied", "allowed", "elsewhere", "users"):
            await front.set(name, endpoint("a", address="127.0.0.1", port=backend.port))
        assert (await front.get(host="denied.example"))[0] == 403
        assert (await front.get(host="allowed.example"))[0] == 200
        assert (await front.get(host="elsewhere.example"))[0] == 403
        status, headers, _ = await front.get(host="users.example")
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="My R"')
        assert (await front.get(host="users.example", headers="Authorization: Basic am9lOnBhc3N3b3Jk\r\n"))[0] == 200
    assert users(service("users"), "u").file.startswith("users.")


# ------------------------------------------------------------------------------------------------------------ balancing


async def test_a_cookie_keeps_clients_on_servers_that_were_added_at_run_time(
    tmp_path: Path, port: int, backends: Callable[..., Any]
) -> None:
    async with carrying(tmp_path, route("web", http(port=port), sticky={}, healthCheck=NO_CHECK), port=port) as front:
        made = {name: await backends(name) for name in "abc"}
        given = {name: endpoint(name, address="127.0.0.1", port=b.port) for name, b in made.items()}
        await front.set("web", given["a"])
        await front.set("web", *given.values())
        cookies: dict[str, str] = {}
        for _ in range(3):
            _, headers, text = await front.get()
            cookies[text.split()[0]] = headers["set-cookie"].split(";")[0]
            assert "HttpOnly" in headers["set-cookie"]
        assert len(cookies) == len(set(cookies.values())) == 3
        for name, cookie in cookies.items():
            answers = [await front.get(headers=f"Cookie: {cookie}\r\n") for _ in range(3)]
            assert {text.split()[0] for _, _, text in answers} == {name}
        # the value comes from the address: every load balancer, and the next worker, gives the same
        (tmp_path / "servers.state").write_text(await front.api.servers_as_text())
        made_plans = plans(front.composition, service("web"), endpoints(*given.values()), {})
        (tmp_path / CONFIG_FILE).write_text(write(front.composition.document, {p.name: p for p in made_plans}).files[CONFIG_FILE])
        await front.master.reload()
        for name, cookie in cookies.items():
            assert (await front.get(headers=f"Cookie: {cookie}\r\n"))[2].split()[0] == name
        # a drained server finishes what it has, and lets not even those in that stick to it
        slow = front.client()
        under_way = asyncio.create_task(slow.request("/slow", headers=f"Cookie: {cookies['a']}\r\n"))
        await until(lambda: made["a"].served > 0)
        before = made["a"].served
        await asyncio.sleep(0.1)
        await front.set(
            "web", endpoint("a", address="127.0.0.1", port=made["a"].port, state=EndpointState.DRAINING), given["b"], given["c"]
        )
        assert {(await front.get(headers=f"Cookie: {cookies['a']}\r\n"))[2].split()[0] for _ in range(4)} <= {"b", "c"}
        assert (await under_way)[0] == 200
        assert made["a"].served - before <= 1
        slow.close()


async def test_a_consistent_hash_moves_few_keys(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    hashing = {"algorithm": "Header", "name": "X-Key", "boundedLoadPercent": 200}
    async with carrying(tmp_path, route("web", http(port=port), balance=hashing, healthCheck=NO_CHECK), port=port) as front:
        given = [endpoint(name, address="127.0.0.1", port=(await backends(name)).port) for name in ("a", "b", "c", "d")]
        client = front.client()

        async def owners() -> dict[str, str]:
            found = {}
            for number in range(200):
                key = hashlib.sha256(str(number).encode()).hexdigest()
                found[key] = (await client.request(headers=f"X-Key: {key}\r\n"))[2].split()[0].decode()
            return found

        await front.set("web", *given[:3])
        before = await owners()
        await front.set("web", *given)
        after = await owners()
        client.close()
        moved = {key for key in before if before[key] != after[key]}
        assert {after[key] for key in moved} == {"d"}
        assert 20 <= len(moved) <= 90
        assert min(Counter(after.values()).values()) >= 20


BALANCES: dict[str, tuple[Json, int]] = {
    "round-robin": ({"algorithm": "RoundRobin"}, 2),
    "least-connections": ({"algorithm": "LeastConnections"}, 2),
    "random": ({"algorithm": "Random"}, 2),
    "first": ({"algorithm": "First"}, 1),
    "source": ({"algorithm": "Source"}, 1),
    "uri": ({"algorithm": "Uri"}, 2),
    "header": ({"algorithm": "Header", "name": "X-Key"}, 2),
    "parameter": ({"algorithm": "QueryParameter", "name": "key"}, 2),
    "cookie": ({"algorithm": "Cookie", "name": "key"}, 2),
}
"""Each way to balance, and how many of two servers forty requests of one client, each with another key, come to."""


async def test_every_way_to_balance_takes_servers_at_run_time(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    routes = [
        route(name, http(f"{name}.example", port=port), balance=balance, healthCheck=NO_CHECK, age=age)
        for age, (name, (balance, _)) in enumerate(BALANCES.items())
    ]
    made = {name: await backends(name) for name in ("a", "b", "c")}
    given = {name: endpoint(name, address="127.0.0.1", port=backend.port) for name, backend in made.items()}
    async with carrying(tmp_path, *routes, port=port) as front:
        for name, (_, servers) in BALANCES.items():
            await front.set(name, given["a"], given["b"])
            assert len(await _answered(front, f"{name}.example")) == servers, name
            await front.set(name, given["c"])
            assert await _answered(front, f"{name}.example") == {"c"}, name


async def _answered(front: Front, host: str) -> set[str]:
    client = front.client(host)
    found = set()
    for number in range(40):
        status, _, content = await client.request(f"/{number}?key={number}", headers=f"X-Key: {number}\r\nCookie: key={number}\r\n")
        assert status == 200
        found.add(content.decode().split()[0])
    client.close()
    return found


async def test_a_client_is_known_again_by_its_address_over_a_reload(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    async with carrying(tmp_path, route("db", tcp(port), sticky={"by": "Source"}, healthCheck=NO_CHECK), port=port) as front:
        given = [endpoint(name, address="127.0.0.1", port=(await backends(name)).port) for name in ("a", "b", "c")]
        await front.set("db", *given)
        first = (await front.get())[2].split()[0]
        assert {(await front.get())[2].split()[0] for _ in range(4)} == {first}
        made = plans(front.composition, service("db"), endpoints(*given), {})
        (tmp_path / CONFIG_FILE).write_text(write(front.composition.document, {p.name: p for p in made}).files[CONFIG_FILE])
        await _able_to_teach(front)
        await front.master.reload()
        await _learned(front)
        assert {(await front.get())[2].split()[0] for _ in range(4)} == {first}


async def _able_to_teach(front: Front) -> None:
    """In its first 5 s a worker waits to be taught itself, and teaches nobody (seen on 2.6.12)."""
    for _ in range(1000):
        if "resync_timeout=<PAST>" in await front.api.ask("show peers"):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(await front.api.ask("show peers"))


async def _learned(front: Front) -> None:
    """The old worker hands its tables to the new one within moments."""
    for _ in range(400):
        if "key=127.0.0.1" in await front.api.ask("show table shop.db:tcp"):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(await front.api.ask("show peers"))


async def test_idempotent_requests_without_an_answer_are_sent_again(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    async with carrying(tmp_path, route("web", http(port=port), healthCheck=NO_CHECK), port=port) as front:
        silent, good = await backends("silent"), await backends("good")
        silent.silent = True
        await front.set("web", *(endpoint(b.name, address="127.0.0.1", port=b.port) for b in (silent, good)))
        client = front.client()
        assert [(await client.request("/"))[0] for _ in range(6)] == [200] * 6
        assert silent.served >= 1
        client.close()
        once = [await _status(front, b"body") for _ in range(4)]
        assert 502 in once, "a POST that may have had its effect must not be sent twice"
        await silent.kill()
        assert [await _status(front, b"body") for _ in range(4)] == [200] * 4, "nobody was reached: that is always safe"


async def test_endpoints_lost_together_cost_no_request_before_anybody_has_heard_of_it(
    tmp_path: Path, port: int, backends: Callable[..., Any]
) -> None:
    """As when their agent is lost: HAProxy's checks have not looked yet, and many requests at once take each other's place in the turn."""
    async with carrying(tmp_path, route("web", http(port=port)), port=port) as front:
        made = [await backends(name) for name in ("a", "b", "c", "d")]
        await front.set("web", *(endpoint(b.name, address="127.0.0.1", port=b.port) for b in made))
        await front.up("shop.web:http", "a", "b", "c", "d")
        for backend in made[:3]:
            await backend.kill()
        statuses = Counter(await asyncio.gather(*(_status(front, b"x") for _ in range(150))))
        assert statuses == {200: 150}


async def _status(front: Front, body: bytes) -> int:
    client = front.client()
    try:
        return (await client.request("/", body=body))[0]
    finally:
        client.close()


async def test_haproxys_own_check_takes_a_server_out_and_back(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    check = {**QUICK, "type": "Http", "path": "/health", "host": "check.example", "expectStatus": "200-299"}
    async with carrying(tmp_path, route("web", http(port=port), healthCheck=check), port=port) as front:
        a, b = await backends("a"), await backends("b")
        await front.set("web", *(endpoint(x.name, address="127.0.0.1", port=x.port) for x in (a, b)))
        await front.up("shop.web:http", "a", "b")
        a.health = 503
        await front.up("shop.web:http", "b")
        assert {(await front.get())[2].split()[0] for _ in range(4)} == {"b"}
        a.health = 204
        await front.up("shop.web:http", "a", "b")


async def test_a_new_server_has_to_pass_its_check_first(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    check = {**QUICK, "type": "Http", "path": "/health"}
    async with carrying(tmp_path, route("web", http(port=port), healthCheck=check), port=port) as front:
        a, b = await backends("a"), await backends("b")
        b.health = 500
        await front.set("web", endpoint("a", address="127.0.0.1", port=a.port))
        await front.up("shop.web:http", "a")
        await front.set("web", *(endpoint(x.name, address="127.0.0.1", port=x.port) for x in (a, b)))
        client = front.client()
        assert {(await client.request())[2].split()[0] for _ in range(30)} == {b"a"}
        client.close()
        b.health = 200
        await front.up("shop.web:http", "a", "b")


async def test_a_new_server_grows_into_its_share(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    """slowStartSeconds, beside a service without it."""
    routes = [
        route("web", http("slow.example", port=port), healthCheck=QUICK, slowStartSeconds=3600),
        route("sudden", http("sudden.example", port=port), healthCheck=QUICK, age=2),
    ]
    async with carrying(tmp_path, *routes, port=port) as front:
        a, b = [endpoint(x.name, address="127.0.0.1", port=x.port) for x in (await backends("a"), await backends("b"))]
        # a server of the configuration has its whole weight at once
        made = [p for name in ("web", "sudden") for p in plans(front.composition, service(name), endpoints(a), {})]
        (tmp_path / CONFIG_FILE).write_text(write(front.composition.document, {p.name: p for p in made}).files[CONFIG_FILE])
        await front.master.reload()
        for name in ("web", "sudden"):
            await front.up(f"shop.{name}:http", "a")
            await front.set(name, a, b)
            await front.up(f"shop.{name}:http", "a", "b")
        grown = {host: await _answers(front, host, 100) for host in ("slow.example", "sudden.example")}
        assert grown["sudden.example"]["b"] == 50
        assert 0 < grown["slow.example"]["b"] < 15


async def _answers(front: Front, host: str, count: int) -> Counter[str]:
    client = front.client(host)
    found = Counter([(await client.request())[2].split()[0].decode() for _ in range(count)])
    client.close()
    return found


async def test_a_server_that_answers_with_errors_is_out_until_its_check_passes(
    tmp_path: Path, port: int, backends: Callable[..., Any]
) -> None:
    """outlierEjection: HAProxy's check would not look again for a minute, the traffic shows it."""
    check = {"type": "Http", "path": "/health", "intervalMs": 60_000, "fastIntervalMs": 50, "downIntervalMs": 100, "rise": 1}
    ejection = {"observe": "Layer7", "errors": 5, "action": "MarkDown"}
    async with carrying(tmp_path, route("web", http(port=port), healthCheck=check, outlierEjection=ejection), port=port) as front:
        a, b = await backends("a"), await backends("b")
        await front.set("web", *(endpoint(x.name, address="127.0.0.1", port=x.port) for x in (a, b)))
        await front.up("shop.web:http", "a", "b")
        b.health, b.status = 503, 500
        client = front.client()
        statuses = Counter([(await client.request())[0] for _ in range(40)])
        assert 5 <= statuses[500] <= 6
        await front.up("shop.web:http", "a")
        assert {(await client.request())[2].split()[0] for _ in range(10)} == {b"a"}
        b.health, b.status = 200, 200
        await front.up("shop.web:http", "a", "b")
        assert {(await client.request())[2].split()[0] for _ in range(10)} == {b"a", b"b"}
        client.close()


async def test_limits_of_connections_and_timeouts(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    """What is above `perEndpoint` waits its turn, and not for longer than `queueMs`; who answers too late is given up."""
    connections = {"perEndpoint": 1}
    routes = [
        route("web", http("limited.example", port=port), healthCheck=NO_CHECK, connections=connections),
        route(
            "impatient", http("impatient.example", port=port), healthCheck=NO_CHECK, connections=connections, timeouts={"queueMs": 1}, age=3
        ),
        route("hasty", http("hasty.example", port=port), healthCheck=NO_CHECK, timeouts={"serverMs": 100}, age=2),
    ]
    async with carrying(tmp_path, *routes, port=port) as front:
        late, backend = await backends("late"), await backends("a")
        for name, one in (("web", backend), ("impatient", backend), ("hasty", late)):
            await front.set(name, endpoint(one.name, address="127.0.0.1", port=one.port))
        assert (await front.get("/slow", "hasty.example"))[0] == 504
        assert await _at_once(front, "limited.example") == {200: 3}
        assert await _at_once(front, "impatient.example") == {200: 1, 503: 2}
        assert backend.most_at_once == 1


async def _at_once(front: Front, host: str) -> Counter[int]:
    return Counter(status for status, _, _ in await asyncio.gather(*(front.get("/slow", host) for _ in range(3))))


async def test_a_websocket_goes_through(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    async with carrying(tmp_path, route("web", http(port=port), healthCheck=NO_CHECK), port=port) as front:
        backend = await backends("a")
        await front.set("web", endpoint("a", address="127.0.0.1", port=backend.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        writer.write(f"{asked}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        for text in (b"one", b"two"):
            writer.write(text)
            assert await reader.readexactly(3) == text
        writer.close()


EVERY_WORD: Json = {
    "upstream": {"tls": {"serverName": "s.example"}, "protocol": "HTTP2", "proxyProtocol": "V2"},
    "connections": {"perEndpoint": 5, "queue": 2},
    "slowStartSeconds": 9,
    "outlierEjection": {"observe": "Layer7", "action": "SuddenDeath"},
    "healthCheck": {"port": "admin", "type": "Http"},
}


@pytest.mark.parametrize("settings", [EVERY_WORD, {**EVERY_WORD, "upstream": {"protocol": "HTTP2", "proxyProtocol": "V1"}}])
async def test_all_words_of_a_server_are_taken_at_run_time(tmp_path: Path, port: int, settings: Json) -> None:
    async with carrying(tmp_path, route("web", http(port=port), **settings), port=port) as front:
        await front.set("web", endpoint("a", ports={"admin": 9}), endpoint("b", address="2001:db8::1", ports={"admin": 9}))
        assert {s.name for s in await front.api.servers(["shop.web:http"])} == {"a", "b"}


async def test_when_every_check_fails_a_server_that_answers_is_better_than_none(
    tmp_path: Path, port: int, backends: Callable[..., Any]
) -> None:
    check = {**QUICK, "type": "Http", "path": "/health"}
    routes = [
        route("web", http("web.example", port=port), healthCheck=check),
        route("choosy", http("choosy.example", port=port), healthCheck={**check, "whenAllFail": "Refuse"}, age=2),
    ]
    async with carrying(tmp_path, *routes, port=port) as front:
        a, b = await backends("a"), await backends("b")
        given = {x.name: endpoint(x.name, address="127.0.0.1", port=x.port) for x in (a, b)}
        for name in ("web", "choosy"):
            await front.set(name, *given.values())
        for backend in (a, b):
            backend.health = 503
        await front.up("shop.web:http")
        await front.up("shop.choosy:http")
        assert {(await front.get(host="web.example"))[2].split()[0] for _ in range(6)} == {"a", "b"}
        assert (await front.get(host="choosy.example"))[0] == 503
        # one that is drained is asked no more, one that is gone is passed over: what one server of three can answer is answered
        await front.set("web", endpoint("a", address="127.0.0.1", port=a.port, state=EndpointState.DRAINING), given["b"])
        assert {(await front.get(host="web.example"))[2].split()[0] for _ in range(4)} == {"b"}
        c = await backends("c")
        c.health = 503
        await front.set("web", *given.values(), endpoint("c", address="127.0.0.1", port=c.port))
        await front.up("any:shop.web:http", "a", "b", "c")
        for dead in (a, c):
            await dead.kill()
        client = front.client("web.example")
        assert {(await client.request(body=b"x"))[2].split()[0] for _ in range(30)} == {b"b"}
        client.close()
        # and a check that passes again is what counts
        await front.set("web", given["b"])
        b.health = 200
        await front.up("shop.web:http", "b")
        assert (await front.get(host="web.example"))[0] == 200
