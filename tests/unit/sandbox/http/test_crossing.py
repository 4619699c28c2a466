# ruff: noqa: E501 - tables read best with one case a line
"""What every request meets: paths, methods, types, headers, passwords, errors."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json

import pytest

from quiet_engine import QuietEngine
from shuren.sandbox.contract import Locked, Settings, Started, TooManyDeployments
from shuren.sandbox.http.app import build_app
from wire import Wire


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/", "/v2/nosuch", "/nosuch", "/v2/schemas/app", "/v2/eventSubscriptions", "//ping", "/v2/pods::status"]
)
async def test_unknown_paths_are_500(wire: Wire, path: str) -> None:
    reply = await wire.get(path)
    assert (reply.status, reply.json) == (500, {"message": "URI not found"})


@pytest.mark.parametrize("path", ["/v2/apps//a", "/v2/apps///a", "/v2/apps/a/", "/v2/apps/a", "/v2/apps;x=y/a;v=1"])
async def test_slashes_around_ids_do_not_matter(wire: Wire, path: str) -> None:
    await wire.post("/v2/apps", {"id": "/a", "cmd": "sleep 1", "instances": 0})
    assert (await wire.get(path)).json["app"]["id"] == "/a"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v2/apps"),
        ("PATCH", "/v2/queue"),
        ("PUT", "/v2/tasks"),
        ("POST", "/v2/leader"),
        ("GET", "/v2/tasks/delete"),
        ("POST", "/ping"),
    ],
)
async def test_wrong_methods_are_405(wire: Wire, method: str, path: str) -> None:
    reply = await wire.send(method, path)
    assert (reply.status, reply.json) == (405, {"message": "Method Not Allowed"})


@pytest.mark.parametrize(
    ("accept", "status"),
    [(None, 200), ("*/*", 200), ("application/*", 200), ("text/plain;q=0.5, application/json", 200), ("text/plain", 406), ("application/xml", 406)],
)  # fmt: skip
async def test_only_json_is_served(wire: Wire, accept: str | None, status: int) -> None:
    reply = await wire.get("/v2/apps", headers={} if accept is None else {"Accept": accept})
    assert reply.status == status
    if status == 406:
        assert reply.json == {"message": "Not Acceptable"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 422),
        ("application/json", 422),
        ("application/json;charset=UTF-8", 422),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
async def test_only_json_is_read(wire: Wire, kind: str | None, status: int) -> None:
    reply = await wire.send("POST", "/v2/apps", '{"id": "/x"}', headers={} if kind is None else {"Content-Type": kind})
    assert reply.status == status


@pytest.mark.parametrize(
    ("accept", "status", "kind", "body"),
    [("*/*", 200, "text/plain", b"pong"), ("text/html", 200, "text/html", b"pong"), ("application/json", 200, "application/json", b'"pong"'),
     ("application/xml", 204, None, b""), ("application/xml, text/*;q=0.1", 200, "text/plain", b"pong")],
)  # fmt: skip
async def test_ping_in_every_tongue(wire: Wire, accept: str, status: int, kind: str | None, body: bytes) -> None:
    reply = await wire.get("/ping", headers={"Accept": accept})
    assert (reply.status, reply.headers.get("Content-Type"), reply.body) == (status, kind, body)


async def test_headers_of_every_answer(wire: Wire) -> None:
    reply = await wire.get("/v2/nosuch")
    expected = {
        "X-Marathon-Leader": "http://127.0.0.1:8080",
        "X-Frame-Options": "DENY",
        "X-Xss-Protection": "1; mode=block",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Expires": "0",
    }
    assert {name: reply.headers.get(name) for name in expected} == expected
    assert "Server" not in reply.headers
    assert "Transfer-Encoding" not in reply.headers


async def test_head_has_headers_and_no_body(wire: Wire) -> None:
    reply = await wire.send("HEAD", "/v2/apps")
    assert (reply.status, reply.headers["Content-Type"], reply.body) == (200, "application/json", b"")


async def test_options_describes(wire: Wire) -> None:
    reply = await wire.send("OPTIONS", "/v2/apps")
    assert reply.headers["Content-Type"] == "application/vnd.sun.wadl+xml"
    assert set(reply.headers["Allow"].split(",")) == {"GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS"}


async def test_big_answers_are_packed_for_who_asks(wire: Wire, engine: QuietEngine) -> None:
    for index in range(5):
        await wire.post("/v2/apps", {"id": f"/zip/a{index}", "cmd": "sleep 1", "instances": 0})
    packed = await wire.get("/v2/apps", headers={"Accept-Encoding": "gzip"})
    plain = await wire.get("/v2/apps")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body)) == plain.json
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize(
    ("body", "message"),
    [("", "Please specify data in JSON format"), ("  \n", "Please specify data in JSON format"), ("{", "Invalid JSON"), ("{'a':1}", "Invalid JSON"),
     ("NaN", "Invalid JSON"), ('{"id": NaN}', "Invalid JSON")],
)  # fmt: skip
async def test_broken_bodies_are_400_with_the_parsers_words(wire: Wire, body: str, message: str) -> None:
    reply = await wire.post("/v2/apps", body)
    assert (reply.status, reply.json["message"]) == (400, message)
    assert isinstance(reply.json["details"], str)


async def test_what_follows_the_json_is_not_looked_at(wire: Wire) -> None:
    assert (await wire.post("/v2/apps", '{"id": "/tail", "cmd": "sleep 1"} trailing')).status == 201


async def test_lock_crowd_and_crash(wire: Wire, engine: QuietEngine) -> None:
    engine.raises = Locked(["d-1"])
    locked = await wire.put("/v2/apps/a", {"cmd": "sleep 1"})
    assert locked.status == 409
    assert locked.json["deployments"] == [{"id": "d-1"}]
    assert "'/v2/deployments/<DEPLOYMENT_ID>'" in locked.json["message"]
    engine.raises = TooManyDeployments(100)
    crowded = await wire.put("/v2/apps/a", {"cmd": "sleep 1"})
    assert crowded.status == 403
    assert crowded.json["message"].startswith("Max number (100) of running deployments is achieved.")
    engine.raises = RuntimeError("boom")
    assert ((await wire.put("/v2/apps/a", {"cmd": "sleep 1"})).status, engine.root.apps) == (500, {})


async def test_password_guards_every_path(engine: QuietEngine) -> None:
    engine.settings = Settings(http_credentials="joe:secret")
    async with Wire(build_app(engine, address=engine.address)) as wire:
        for path in ("/ping", "/v2/apps", "/v2/events"):
            denied = await wire.get(path)
            assert (denied.status, denied.headers["Www-Authenticate"]) == (401, 'basic realm="null"')
            assert denied.headers["Content-Type"].startswith("text/html")
        for pair, status in (("joe:secret", 200), ("joe:wrong", 401), ("x", 401)):
            token = base64.b64encode(pair.encode()).decode()
            assert (await wire.get("/ping", headers={"Authorization": f"Basic {token}"})).status == status
        assert (await wire.get("/ping", headers={"Authorization": "Basic !!!"})).status == 401


async def test_admin_paths_go_to_the_engine_without_a_password(engine: QuietEngine) -> None:
    engine.settings = Settings(http_credentials="joe:secret")
    async with Wire(build_app(engine, address=engine.address)) as wire:
        reply = await wire.send("PUT", "/sandbox/faults?x=1", {"latency": 1})
        assert reply.json == {"method": "PUT", "path": "/sandbox/faults?x=1", "body": {"latency": 1}}
        assert (await wire.send("PUT", "/sandbox/faults", "{")).status == 400


async def test_standby_sends_event_readers_to_the_leader(engine: QuietEngine) -> None:
    engine.leading = "127.0.0.1:9999"
    async with Wire(build_app(engine, address=engine.address)) as wire:
        reply = await wire.get("/v2/events?event_type=x", headers={"Accept": "text/event-stream"})
        assert (reply.status, reply.headers["Location"]) == (302, "http://127.0.0.1:9999/v2/events?event_type=x")


async def test_standby_refuses_to_go_in_circles(engine: QuietEngine) -> None:
    engine.leading = "127.0.0.1:9999"
    async with Wire(build_app(engine, address=engine.address)) as wire:
        reply = await wire.get("/v2/apps", headers={"X-Marathon-Via": "1.1 127.0.0.1:8080"})
        assert reply.status == 502
        assert reply.headers["Content-Type"].startswith("text/html")


async def test_start_page_leads_to_the_ui(wire: Wire) -> None:
    reply = await wire.get("/")
    assert (reply.status, reply.headers["Location"]) == (302, "http://marathon.test:8080/ui/")
    assert (await wire.get("/ui/")).status == 200


async def test_other_origins_may_read_when_they_are_named() -> None:
    engine = QuietEngine(settings=Settings(access_control_allow_origin="http://a, http://b"))
    async with Wire(build_app(engine, address=engine.address)) as wire:
        raw = await wire.raw(b"GET /v2/apps HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAccess-Control-Request-Headers: X-A\r\n\r\n")
    head = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert {line for line in head if line.startswith("Access-Control")} == {
        "Access-Control-Allow-Origin: http://a",
        "Access-Control-Allow-Origin: http://b",
        "Access-Control-Allow-Headers: X-A",
        "Access-Control-Allow-Methods: GET, HEAD, OPTIONS",
        "Access-Control-Max-Age: 86400",
    }


async def test_other_origins_may_not_read_by_default(wire: Wire) -> None:
    assert not any(name.startswith("Access-Control") for name in (await wire.get("/v2/apps")).headers)


async def test_too_many_at_a_time_are_sent_away() -> None:
    engine = QuietEngine(settings=Settings(max_concurrent_http_connections=1))
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(*_: object, **__: object) -> Started:
        entered.set()
        await leave.wait()
        return Started(deployment_id="d", version="v")

    engine.update = slow  # type: ignore[method-assign]
    async with Wire(build_app(engine, address=engine.address)) as wire:
        first = asyncio.ensure_future(wire.delete("/v2/groups"))
        await entered.wait()
        second = await wire.get("/ping")
        assert (second.status, second.headers["Content-Type"]) == (503, "text/html;charset=iso-8859-1")
        assert "Too many concurrent requests! Allowed: 1." in second.body.decode()
        leave.set()
        assert (await first).status == 200
        assert (await wire.get("/ping")).body == b"pong"


@pytest.mark.parametrize(
    ("method", "path", "status", "where"),
    [
        ("GET", "/ui", 302, "/ui/"),
        ("GET", "/help", 302, "/help/"),
        ("GET", "/help/", 500, None),
        ("GET", "/api-console", 302, "/api-console/"),
        ("GET", "/api-console/", 200, None),
        ("GET", "/ui/apps", 302, "/ui/apps/"),
        ("GET", "/ui/main.js", 404, None),
        ("GET", "/ui/apps/", 404, None),
        ("GET", "/public/api/v2/apps.raml", 404, None),
        ("POST", "/ui/", 405, None),
    ],
)
async def test_what_is_served_beside_the_api(wire: Wire, method: str, path: str, status: int, where: str | None) -> None:
    reply = await wire.send(method, path)
    assert (reply.status, reply.headers.get("Location")) == (status, where)
    if status in {404, 405}:
        assert reply.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_no_plugin_is_there_to_answer(wire: Wire, method: str) -> None:
    reply = await wire.send(method, "/v2/plugins/auth/some/path")
    assert (reply.status, json.loads(reply.body)) == (404, {"message": "No plugin with this pluginId: auth", "details": []})
    assert (await wire.send(method, "/v2/plugins/auth")).status == 500
    assert (await wire.send("PATCH", "/v2/plugins/auth/x")).status == 405


async def test_only_answers_to_get_are_packed_from_sixteen_bytes_on(wire: Wire) -> None:
    gzipped = {"Accept-Encoding": "gzip"}
    assert "Content-Encoding" not in (await wire.get("/v2/apps", headers=gzipped)).headers, "eleven bytes"
    assert (await wire.get("/v2/plugins", headers=gzipped)).headers.get("Content-Encoding") is None
    assert (await wire.get("/v2/leader", headers=gzipped)).headers["Content-Encoding"] == "gzip"
    assert "Vary" not in (await wire.send("HEAD", "/v2/leader", headers=gzipped)).headers
    posted = await wire.send("POST", "/v2/apps", {"id": "/a", "cmd": "x" * 5000, "instances": 0}, headers=gzipped)
    assert (posted.status, "Content-Encoding" in posted.headers, "Vary" in posted.headers) == (201, False, False)
    missing = await wire.get("/v2/apps/nosuch", headers=gzipped)
    assert (missing.status, "Content-Encoding" in missing.headers) == (404, False)
