"""What goes over the wire for each call of the port, and what happens when no answer comes back."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from shuren.clients.marathon.client import Credentials, MarathonClient
from shuren.domain.errors import UnknownOutcome, Unreachable
from shuren.domain.marathon.state import DeploymentRef
from tls_room import answering, serving

V = "2026-01-01T00:00:00.000Z"
REF = {"deploymentId": "d", "version": V}
APP: dict[str, Any] = {"id": "/shop/web", "cmd": "sleep 1", "labels": {"名": "数人云"}}
Call = Callable[[MarathonClient], Awaitable[object]]

WRITES: list[tuple[str, Call, str, str, object]] = [
    ("one definition", lambda c: c.put_apps([APP]), "PUT /v2/apps/shop/web", "force=false&partialUpdate=false", APP),
    (
        "several",
        lambda c: c.put_apps([APP, {"id": "/b"}], force=True),
        "PUT /v2/apps",
        "force=true&partialUpdate=false",
        [APP, {"id": "/b"}],
    ),
    ("a scaling", lambda c: c.patch_app("/b", {"instances": 2}), "PUT /v2/apps/b", "force=false&partialUpdate=true", {"instances": 2}),
    (
        "one scaling of an array",
        lambda c: c.patch_apps([{"id": "/b", "instances": 2}]),
        "PUT /v2/apps/b",
        "force=false&partialUpdate=true",
        {"id": "/b", "instances": 2},
    ),
    (
        "scalings",
        lambda c: c.patch_apps([{"id": "/a", "instances": 1}, {"id": "/b", "instances": 2}], force=True),
        "PUT /v2/apps",
        "force=true&partialUpdate=true",
        [{"id": "/a", "instances": 1}, {"id": "/b", "instances": 2}],
    ),
    ("a restoration", lambda c: c.restore("/a", V, force=True), "PUT /v2/apps/a", "force=true&partialUpdate=true", {"version": V}),
    ("a restart", lambda c: c.restart("/a/b"), "POST /v2/apps/a/b/restart", "force=false", None),
    ("a deletion", lambda c: c.delete_app("/a"), "DELETE /v2/apps/a", "force=false", None),
    (
        "a removal",
        lambda c: c.kill_tasks(["t1", "t2"], scale=True),
        "POST /v2/tasks/delete",
        "scale=true&force=false",
        {"ids": ["t1", "t2"]},
    ),
    ("a roll-back", lambda c: c.cancel_deployment("d 1", force=False), "DELETE /v2/deployments/d%201", "force=false", None),
]


def client(answer: Callable[[httpx.Request], httpx.Response], *urls: str) -> MarathonClient:
    return MarathonClient(urls or ("http://one:8080/",), transport=httpx.MockTransport(answer))


def seen(request: httpx.Request) -> tuple[str, str, object]:
    body = json.loads(request.content) if request.content else None
    return f"{request.method} {request.url.raw_path.decode().partition('?')[0]}", request.url.query.decode(), body


@pytest.mark.parametrize(("call", "line", "query", "body"), [row[1:] for row in WRITES], ids=[row[0] for row in WRITES])
async def test_writes(call: Call, line: str, query: str, body: object) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=REF)

    assert await call(client(answer)) == DeploymentRef(id="d", version=V)
    assert [seen(request) for request in requests] == [(line, query, body)]
    assert (requests[0].headers.get("Content-Type") == "application/json") is (body is not None)
    assert requests[0].headers["Accept"] == "application/json"


async def test_calls_that_name_no_deployment_give_none() -> None:
    assert await client(lambda _: httpx.Response(202)).cancel_deployment("d", force=True) is None
    assert await client(lambda _: httpx.Response(200, json={"tasks": []})).kill_tasks(["t"]) is None
    missing = client(lambda _: httpx.Response(404, json={"message": "App '/a' does not exist"}))
    assert await missing.delete_app("/a") is None
    gone = client(lambda _: httpx.Response(404, json={"message": "DeploymentPlan d does not exist"}))
    assert await gone.cancel_deployment("d", force=True) is None


READS: list[tuple[Call, str]] = [
    (MarathonClient.info, "/v2/info?"),
    (
        MarathonClient.apps,
        "/v2/apps?embed=apps.tasks&embed=apps.counts&embed=apps.deployments&embed=apps.lastTaskFailure&embed=apps.readiness",
    ),
    (lambda c: c.app("/shop/中文"), "/v2/apps/shop/%E4%B8%AD%E6%96%87?embed=app.tasks&embed=app.readiness"),
    (MarathonClient.deployments, "/v2/deployments?"),
    (MarathonClient.queue, "/v2/queue?"),
    (lambda c: c.app_at("/a", V), f"/v2/apps/a/versions/{V.replace(':', '%3A')}?"),
]


@pytest.mark.parametrize(("call", "target"), READS)
async def test_reads(call: Call, target: str) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise httpx.ReadTimeout("silent")

    with pytest.raises(Unreachable, match="ReadTimeout"):
        await call(client(answer))
    path, _, query = target.partition("?")
    assert [(r.method, r.url.raw_path.decode().partition("?")[0], r.url.query.decode()) for r in requests] == [("GET", path, query)]


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (Credentials(), None),
        (Credentials(username="u", password="pä:ß"), "Basic dTpww6Q6w58="),
        (Credentials(token="abc"), "token=abc"),
        (Credentials(username="u", password="p", token="abc"), "token=abc"),
    ],
)
async def test_credentials(credentials: Credentials, header: str | None) -> None:
    headers: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        headers.append(request.headers.get("Authorization"))
        return httpx.Response(200, json=REF if request.method == "PUT" else {"version": "1.11.24"})

    marathon = client(answer)
    marathon.credentials = credentials
    await marathon.info()
    await marathon.patch_app("/a", {"instances": 1})
    assert headers == [header, header]


# ---------------------------------------------------------------------------------------------------- no answer, on real sockets


async def lost(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Takes the whole request and goes away."""
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(
        int(next((line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0"))
    )


async def test_a_write_goes_to_the_next_url_only_if_the_first_was_never_reached() -> None:
    requests: list[str] = []
    async with serving(answering(REF, requests), None) as port:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            marathon = MarathonClient([f"http://127.0.0.1:{nobody.getsockname()[1]}", f"http://127.0.0.1:{port}"])
            assert await marathon.restart("/a") == DeploymentRef(id="d", version=V)
            assert await marathon.restart("/a") == DeploymentRef(id="d", version=V)
        await marathon.close()
    assert len(requests) == 2


async def test_a_write_whose_answer_was_lost_is_not_sent_again() -> None:
    requests: list[str] = []
    async with serving(lost, None) as first, serving(answering(REF, requests), None) as second:
        marathon = MarathonClient([f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}"])
        with pytest.raises(UnknownOutcome, match="sent, but no answer came"):
            await marathon.put_apps([APP])
        assert requests == []
        assert await marathon.put_apps([APP]) == DeploymentRef(id="d", version=V)
        await marathon.close()


async def test_a_read_whose_answer_was_lost_is_asked_of_the_next_url() -> None:
    async with serving(lost, None) as first, serving(answering({"version": "1.11.24"}), None) as second:
        marathon = MarathonClient([f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}"])
        assert (await marathon.info()).version == "1.11.24"
        await marathon.close()


async def test_nobody_at_all_is_told_with_every_url() -> None:
    marathon = MarathonClient(["http://127.0.0.1:9", "http://127.0.0.1:7"])
    with pytest.raises(Unreachable) as refused:
        await marathon.restart("/a")
    assert "http://127.0.0.1:9" in str(refused.value)
    assert "http://127.0.0.1:7" in str(refused.value)
    with pytest.raises(Unreachable, match=r"does not answer at http://127\.0\.0\.1:"):
        await marathon.info()
    await marathon.close()


async def test_a_stream_that_falls_silent_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\nConnection: close\r\n\r\n")
        writer.write(b'event: event_stream_attached\r\ndata: {"eventType":"event_stream_attached"}\r\n\r\n')
        await writer.drain()
        await reader.read()

    async with serving(silent, None) as port:
        marathon = MarathonClient([f"http://127.0.0.1:{port}"], silence=0.2)
        events = marathon.events()
        assert (await anext(events)).type == "event_stream_attached"
        with pytest.raises(Unreachable, match="has ended"):
            await anext(events)
        await marathon.close()


async def test_signs_of_life_keep_a_stream_open_and_its_end_is_told() -> None:
    """CR and LF come apart, as Jetty writes them."""
    go_on = asyncio.Event()

    async def living(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for piece in (b"\r", b"\n", b"\r", b"\n", b'event: a\r\ndata: {"x":1}\r', b"\n\r", b"\n\r", b"\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        await go_on.wait()

    async with serving(living, None) as port:
        marathon = MarathonClient([f"http://127.0.0.1:{port}"])
        events = marathon.events()
        event = await anext(events)
        assert (event.type, event.data) == ("a", {"x": 1})
        go_on.set()
        with pytest.raises(Unreachable, match="closed the event stream"):
            await anext(events)
        await marathon.close()


async def test_a_leader_that_is_always_elsewhere_is_not_followed_for_ever() -> None:
    answer = httpx.Response(302, headers={"Location": "http://two:8080/v2/events"})
    with pytest.raises(Unreachable, match="only redirects"):
        await anext(client(lambda _: answer).events())
