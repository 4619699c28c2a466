"""Whatever a Marathon, or a proxy that stands where it was, answers: an error of ours, never a crash, and never "there are no apps"."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.clients.marathon import parse
from shuren.clients.marathon.client import Credentials, MarathonClient
from shuren.domain.errors import Conflict, Denied, Gone, Invalid, Locked, ShurenError, Transient, UnknownOutcome, Unreachable

Answer = Callable[[httpx.Request], httpx.Response]

VERSION = "2026-01-01T00:00:00.000Z"
APP: dict[str, Any] = {"id": "/a", "version": VERSION, "instances": 1, "tasks": [], "deployments": []}
_HTML = b"<html><body>maintenance</body></html>"


def client(answer: Answer, *urls: str, credentials: Credentials | None = None) -> MarathonClient:
    return MarathonClient(urls or ("http://one:8080",), transport=httpx.MockTransport(answer), credentials=credentials)


def always(status: int, content: bytes = b"", **headers: str) -> Answer:
    return lambda _: httpx.Response(status, content=content, headers=headers)


READS: tuple[Callable[[MarathonClient], Awaitable[object]], ...] = (
    MarathonClient.info,
    MarathonClient.apps,
    lambda c: c.app("/a"),
    MarathonClient.deployments,
    MarathonClient.queue,
    lambda c: c.app_at("/a", VERSION),
)
WRITES: tuple[Callable[[MarathonClient], Awaitable[object]], ...] = (
    lambda c: c.put_apps([{"id": "/a"}]),
    lambda c: c.put_apps([{"id": "/a"}, {"id": "/b"}]),
    lambda c: c.patch_apps([{"id": "/a", "instances": 1}, {"id": "/b", "instances": 1}]),
    lambda c: c.patch_app("/a", {"instances": 1}),
    lambda c: c.restore("/a", VERSION),
    lambda c: c.restart("/a"),
    lambda c: c.delete_app("/a"),
    lambda c: c.kill_tasks(["t"], scale=True),
)


@pytest.mark.parametrize("call", READS)
@pytest.mark.parametrize(
    "content", [b"", b"null", b"[5]", b'"pong"', b"5", _HTML, b"\xff\xfe", b'{"apps":', b"{}", b'{"message":"?"}', b"[" * 100_000]
)
async def test_a_read_that_makes_no_sense_is_no_answer(call: Callable[[MarathonClient], Awaitable[object]], content: bytes) -> None:
    marathon = client(always(200, content))
    if content in {b"{}", b'{"message":"?"}'} and call is READS[-1]:
        assert isinstance(await call(marathon), dict)  # a stored definition may hold anything
        return
    with pytest.raises(Unreachable):
        await call(marathon)


@pytest.mark.parametrize("call", READS)
@pytest.mark.parametrize("status", [302, 307, 400, 404, 405, 500, 502, 503, 504, 599])
async def test_a_page_of_a_proxy_is_no_answer(call: Callable[[MarathonClient], Awaitable[object]], status: int) -> None:
    with pytest.raises(Unreachable):
        await call(client(always(status, _HTML, Location="http://elsewhere/")))


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", _HTML, b'{"deploymentId":5,"version":"v"}'])
async def test_a_write_whose_answer_makes_no_sense_may_have_been_done(
    call: Callable[[MarathonClient], Awaitable[object]], content: bytes
) -> None:
    with pytest.raises(UnknownOutcome):
        await call(client(always(200, content)))


async def test_an_app_is_missing_only_when_marathon_says_so() -> None:
    said = json.dumps({"message": "App '/a' does not exist", "details": []}).encode()
    assert await client(always(404, said)).app("/a") is None
    assert await client(always(404, said)).delete_app("/a") is None
    for page in (_HTML, b"", b'{"message":"no Route matched with those values"}', b'{"error":"not found"}'):
        with pytest.raises(Unreachable):
            await client(always(404, page)).app("/a")
        with pytest.raises(Unreachable):
            await client(always(404, page)).delete_app("/a")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (409, {"message": "locked", "deployments": None}, Conflict),
        (409, {"message": "locked", "deployments": "x"}, Conflict),
        (409, {"message": "locked", "deployments": [5, {"id": 7}]}, Locked),
        (422, {"message": "Object is not valid", "details": [{"path": 5, "errors": None}, 5]}, Invalid),
        (422, {"message": "Object is not valid", "details": [{"errors": "one"}]}, Invalid),
        (422, {"message": ["Object is not valid"], "details": 5}, Invalid),
        (422, {}, Unreachable),
        (400, {"message": "Invalid JSON", "details": "Unexpected character"}, Invalid),
        (413, None, Invalid),
        (403, {"message": None}, Denied),
        (401, None, Denied),
    ],
)
async def test_odd_refusals_are_refusals(status: int, body: object, expected: type[ShurenError]) -> None:
    with pytest.raises(expected):
        await client(always(status, json.dumps(body).encode())).put_apps([{"id": "/a"}])


# ---------------------------------------------------------------------------------------------------- wrong types anywhere

_ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.text(max_size=3), st.just([]), st.just([5]), st.just({})
)
_FULL = {
    **APP,
    "versionInfo": {"lastScalingAt": VERSION, "lastConfigChangeAt": VERSION},
    "tasksStaged": 0,
    "tasksRunning": 1,
    "tasksHealthy": 1,
    "tasksUnhealthy": 0,
    "healthChecks": [{"protocol": "HTTP"}],
    "deployments": [{"id": "d"}],
    "lastTaskFailure": {"message": "m", "state": "TASK_FAILED", "host": "h", "timestamp": VERSION, "taskId": "t", "version": VERSION},
    "readinessCheckResults": [{"taskId": "t", "ready": True}],
    "tasks": [
        {
            "id": "t",
            "appId": "/a",
            "state": "TASK_RUNNING",
            "host": "h",
            "slaveId": "s",
            "ports": [1],
            "ipAddresses": [{"ipAddress": "10.0.0.1"}],
            "version": VERSION,
            "stagedAt": VERSION,
            "startedAt": VERSION,
            "healthCheckResults": [{"alive": True}],
        }
    ],
}
_DEPLOYMENT = {
    "id": "d",
    "version": VERSION,
    "affectedApps": ["/a"],
    "currentStep": 1,
    "totalSteps": 2,
    "currentActions": [{"action": "x", "app": "/a"}],
}
_QUEUED = {
    "app": {"id": "/a"},
    "count": 1,
    "delay": {"timeLeftSeconds": 1, "overdue": False},
    "since": VERSION,
    "processedOffersSummary": {
        "processedOffersCount": 1,
        "unusedOffersCount": 1,
        "rejectSummaryLastOffers": [{"reason": "InsufficientCpus", "declined": 1, "processed": 1}],
    },
}
_INFO = {
    "version": "1.11.24",
    "frameworkId": "f",
    "leader": "l:1",
    "marathon_config": {"features": ["x"], "mesos_role": "*", "default_network_name": "n", "local_port_min": 1, "local_port_max": 2},
}


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in places(item, (*path, key)))]


def spoilt(value: Any, path: tuple[str | int, ...], odd: Any) -> Any:
    """The document with something else at one place."""
    if not path:
        return odd
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = spoilt(value[path[0]], path[1:], odd)
    return copy


@given(st.sampled_from([(parse.app, _FULL), (parse.info, _INFO)]), st.data(), _ODD)
def test_a_document_with_something_odd_in_it_is_read_or_malformed(
    subject: tuple[Callable[[Any], object], Any], data: st.DataObject, odd: Any
) -> None:
    read, document = subject
    with suppress(parse.Malformed):
        read(spoilt(document, data.draw(st.sampled_from(places(document))), odd))


@given(st.sampled_from([(parse.deployments, [_DEPLOYMENT]), (parse.queue, {"queue": [_QUEUED]})]), st.data(), _ODD)
def test_a_list_with_something_odd_in_it_is_read_or_malformed(
    subject: tuple[Callable[[Any], object], Any], data: st.DataObject, odd: Any
) -> None:
    read, document = subject
    with suppress(parse.Malformed):
        read(spoilt(document, data.draw(st.sampled_from(places(document))), odd))


@pytest.mark.parametrize(
    "change",
    [
        {"instances": "3"},
        {"instances": None},
        {"instances": True},
        {"instances": 1.5},
        {"version": 5},
        {"id": "a"},
        {"versionInfo": {"lastConfigChangeAt": 5}},
        {"tasks": {}},
        {"tasks": [{"id": "t", "appId": "/a", "version": 5}]},
        {"lastTaskFailure": {"message": 5}},
    ],
)
def test_types_that_decisions_rely_on_are_not_guessed(change: dict[str, Any]) -> None:
    with pytest.raises(parse.Malformed):
        parse.app(APP | change)


def test_nulls_where_marathon_may_leave_something_out_are_fine() -> None:
    app = parse.app(APP | {"tasks": None, "deployments": None, "lastTaskFailure": {"message": None, "host": None}, "versionInfo": None})
    assert (app.tasks, app.deployments) == ((), ())
    assert app.last_task_failure is not None
    assert app.last_task_failure.message == ""


# ---------------------------------------------------------------------------------------------------- several URLs


def by_host(**hosts: Answer) -> Answer:
    return lambda request: hosts[request.url.host](request)


_GOOD = always(200, json.dumps({"apps": [APP]}).encode())


@pytest.mark.parametrize(
    "bad", [always(502, _HTML), always(503), always(200, _HTML), always(200), always(404, _HTML), always(302, Location="http://x/")]
)
async def test_a_url_that_answers_nonsense_is_left_for_the_next(bad: Answer) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return by_host(one=bad, two=_GOOD)(request)

    marathon = client(answer, "http://one:8080", "http://two:8080")
    assert [app.id for app in await marathon.apps()] == ["/a"]
    assert [app.id for app in await marathon.apps()] == ["/a"]
    assert asked == ["one", "two", "two"], "the one that made sense is asked first from then on"


async def test_when_no_url_makes_sense_the_last_reason_is_told() -> None:
    with pytest.raises(Unreachable, match="not JSON"):
        await client(by_host(one=always(502), two=always(200, _HTML)), "http://one", "http://two").apps()


async def test_a_refusal_is_an_answer_and_no_other_url_is_asked() -> None:
    with pytest.raises(Denied):
        await client(by_host(one=always(401), two=_GOOD), "http://one", "http://two").apps()


async def test_a_write_is_sent_once_and_the_next_goes_elsewhere() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        good = always(200, json.dumps({"deploymentId": "d", "version": VERSION}).encode())
        return by_host(one=always(502, _HTML), two=good)(request)

    marathon = client(answer, "http://one", "http://two")
    with pytest.raises(UnknownOutcome):
        await marathon.restart("/a")
    assert (await marathon.restart("/a")).id == "d"
    assert asked == ["one", "two"]


# ---------------------------------------------------------------------------------------------------- the event stream


async def _first_event(marathon: MarathonClient) -> str:
    async for event in marathon.events():
        return event.type
    return ""


def _stream(text: str = 'event: x\r\ndata: {"eventType":"x"}\r\n\r\n') -> Answer:
    async def chunks() -> AsyncIterator[bytes]:
        yield text.encode()

    return lambda _: httpx.Response(200, content=chunks(), headers={"Content-Type": "text/event-stream;charset=utf-8"})


async def test_a_standby_sends_the_stream_to_the_leader_and_credentials_go_along() -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers.get("Authorization")))
        redirect = always(302, Location="http://two:8080/v2/events")
        return by_host(one=redirect, two=_stream())(request)

    assert await _first_event(client(answer, "http://one:8080", credentials=Credentials(token="t"))) == "x"
    assert seen == [("one", "token=t"), ("two", "token=t")]


async def test_credentials_are_not_sent_in_clear_because_a_redirect_says_so() -> None:
    marathon = client(
        by_host(one=always(302, Location="http://two:8080/v2/events"), two=_stream()),
        "https://one:8443",
        credentials=Credentials(username="u", password="p"),
    )
    with pytest.raises(Unreachable, match="not encrypted"):
        await _first_event(marathon)


@pytest.mark.parametrize("bad", [always(200, _HTML), always(200, b"{}"), always(302), always(502, _HTML), always(404, _HTML), always(405)])
async def test_what_is_no_stream_is_left_for_the_next_url(bad: Answer) -> None:
    marathon = client(by_host(one=bad, two=_stream()), "http://one:8080", "http://two:8080")
    with pytest.raises(Transient):
        await _first_event(marathon)
    assert await _first_event(marathon) == "x"


async def test_the_stream_is_never_compressed() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Accept-Encoding"])
        return _stream()(request)

    await _first_event(client(answer))
    assert asked == ["identity"]


# ---------------------------------------------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    "url", ["http://a:99999", "http://[::1", "http://[zz]:80", "http://xn--:80", "ftp://a", "marathon:8080", "http://", "http://a:0"]
)
async def test_a_url_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(Invalid, match="URL"):
        client(_GOOD, url)


async def test_a_url_must_not_hold_a_password_and_the_refusal_does_not_show_it() -> None:
    with pytest.raises(Invalid, match="authSecretRef") as caught:
        client(_GOOD, "http://user:s3cret@one:8080")
    assert "s3cret" not in str(caught.value)


async def test_gone_is_told_from_a_version_that_is_forgotten() -> None:
    said = json.dumps({"message": f"App '/a' does not exist in version {VERSION}"}).encode()
    assert await client(always(404, said)).app_at("/a", VERSION) is None
    with pytest.raises(Gone):
        await client(always(404, said)).restore("/a", VERSION)
