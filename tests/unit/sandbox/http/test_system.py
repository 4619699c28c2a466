"""Deployments, queue, leader, metrics and the event stream over HTTP."""

from __future__ import annotations

import logging

import pytest

from quiet_engine import QuietEngine
from shuren.sandbox.http.app import build_app
from wire import Wire

PLAN = {"id": "d-1", "affectedApps": ["/a"]}


async def test_deployments(wire: Wire, engine: QuietEngine) -> None:
    engine.plans = [PLAN]
    assert (await wire.get("/v2/deployments")).json == [PLAN]
    back = await wire.delete("/v2/deployments/d-1")
    assert (back.status, back.headers["Marathon-Deployment-Id"]) == (200, back.json["deploymentId"])
    forced = await wire.delete("/v2/deployments/d-1?force=true")
    assert (forced.status, forced.body) == (202, b"")
    unknown = await wire.delete("/v2/deployments/x")
    assert (unknown.status, unknown.json) == (404, {"message": "DeploymentPlan x does not exist", "details": []})


async def test_queue(wire: Wire, engine: QuietEngine) -> None:
    engine.waiting = [{"app": {"id": "/b/fail"}, "count": 1, "lastUnusedOffers": []}]
    assert (await wire.get("/v2/queue")).json == {"queue": [{"app": {"id": "/b/fail"}, "count": 1}]}
    assert "lastUnusedOffers" in (await wire.get("/v2/queue?embed=lastUnusedOffers")).json["queue"][0]
    for path in ("/v2/queue/b/fail/delay", "/v2/queue//b/fail/delay"):
        reply = await wire.delete(path)
        assert (reply.status, reply.body, "Content-Type" in reply.headers) == (204, b"", False)
    unknown = await wire.delete("/v2/queue/nosuch/delay")
    assert unknown.json == {"message": "Application /nosuch not found in tasks queue.", "details": []}
    assert (unknown.status, unknown.headers["Content-Type"]) == (404, "application/octet-stream")


async def test_leader(wire: Wire) -> None:
    assert (await wire.get("/v2/leader")).json == {"leader": "127.0.0.1:8080"}
    bad = await wire.delete("/v2/leader?backup=foo")
    assert bad.json["details"] == [{"path": "/", "errors": ["Invalid URI or unsupported scheme: foo"]}]


async def test_abdication(wire: Wire, engine: QuietEngine) -> None:
    reply = await wire.delete("/v2/leader?backup=file:///tmp/x")
    assert (reply.status, reply.json) == (200, {"message": "Leadership abdicated", "details": []})
    assert engine.abdicated


async def test_metrics_info_and_the_rest(wire: Wire) -> None:
    assert (await wire.get("/metrics")).json["counters"] == {"a.b-c.counter": {"count": 3}}
    text = (await wire.get("/metrics/prometheus")).body.decode()
    assert "# TYPE a_b_c_counter counter\na_b_c_counter 3\n" in text
    assert "x_gauge 1.5" in text
    assert (await wire.get("/v2/info")).json["version"] == "1.11.24"
    assert (await wire.get("/v2/plugins")).json == {"plugins": []}
    assert (await wire.get("/config")).json == {"ha": True}


@pytest.mark.parametrize(
    ("path", "accept", "status", "kind"),
    [
        ("/metrics", "text/plain", 406, "application/json"),
        ("/config", "text/html", 406, "application/json"),
        ("/logging", "application/*", 200, "application/json"),
        ("/metrics/prometheus", "*/*", 200, "text/plain"),
        ("/metrics/prometheus", "text/*", 200, "text/plain"),
        ("/metrics/prometheus", "application/json", 406, "application/json"),
    ],
)
async def test_system_pages_are_for_who_takes_them(wire: Wire, path: str, accept: str, status: int, kind: str) -> None:
    reply = await wire.get(path, headers={"Accept": accept})
    assert (reply.status, reply.headers["Content-Type"]) == (status, kind)


async def test_head_of_pods_says_only_that_there_can_be_some(wire: Wire) -> None:
    reply = await wire.send("HEAD", "/v2/pods")
    assert (reply.status, reply.body, "Content-Type" in reply.headers) == (200, b"", False)
    assert (await wire.send("OPTIONS", "/v2/pods")).headers["Allow"] == "GET,POST,OPTIONS,HEAD"


async def test_levels_of_loggers(wire: Wire) -> None:
    name = "shuren.test.levels"
    reply = await wire.post("/logging", {"logger": name, "level": "DEBUG"})
    assert (reply.status, reply.json) == (200, {"logger": name, "level": "debug"})
    assert (await wire.get("/logging")).json[name] == "DEBUG"
    await wire.post("/logging", {"logger": name, "level": "error", "durationSeconds": 60})
    assert (await wire.get("/logging")).json[name] == "ERROR"
    assert "ROOT" in (await wire.get("/logging")).json
    logging.getLogger(f"{name}.below")
    for level, shown in (("warn", "WARN"), ("off", "OFF")):
        await wire.post("/logging", {"logger": name, "level": level})
        levels = (await wire.get("/logging")).json
        assert (levels[name], levels[f"{name}.below"]) == (shown, f"{shown} (inherited)")
    bad = await wire.post("/logging", {"level": "loud"})
    assert bad.status == 422
    assert [detail["path"] for detail in bad.json["details"]] == ["/level", "/logger"]


async def test_event_stream_is_framed_as_the_servlet_does(engine: QuietEngine) -> None:
    engine.events = [("event_stream_attached", '{"a":1}'), ("x", '{"b":2}')]
    async with Wire(build_app(engine, address=engine.address)) as wire:
        raw = await wire.raw(b"GET /v2/events?event_type=x&event_type=y HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {"Content-Type: text/event-stream;charset=utf-8", "Connection: close"} <= set(lines)
    assert not any(line.lower().startswith(("transfer-encoding", "content-length", "server")) for line in lines)
    assert body == b'event: event_stream_attached\r\ndata: {"a":1}\r\n\r\nevent: x\r\ndata: {"b":2}\r\n\r\n'
    assert engine.asked_types == [["x", "y"]]


async def test_event_stream_is_for_who_asks_exactly(wire: Wire) -> None:
    for accept in ("*/*", "text/event-stream, */*", "application/json"):
        reply = await wire.get("/v2/events", headers={"Accept": accept})
        assert (reply.status, reply.headers["Content-Type"]) == (405, "text/html;charset=iso-8859-1")
    assert (await wire.send("HEAD", "/v2/events", headers={"Accept": "text/event-stream"})).status == 405


async def test_event_stream_says_what_it_takes(wire: Wire) -> None:
    reply = await wire.send("OPTIONS", "/v2/events")
    assert (reply.status, reply.headers["Allow"], reply.body) == (200, "GET, HEAD, OPTIONS", b"")
