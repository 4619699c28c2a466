from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from shuren.clients.kubernetes.client import Known, KubernetesClient
from shuren.clients.kubernetes.config import Access
from shuren.domain.errors import Conflict, Denied, Exists, Gone, Invalid, ShurenError, Throttled, Unauthenticated, Unreachable
from shuren.ports.kubernetes import CONFIG_MAPS, NAMESPACES, PAAS_APPS, Change, Expired, Object, WatchEvent

Answer = Callable[[httpx.Request], httpx.Response]

_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client(answer: Answer, *, known: Known = lambda *_: None, token: Callable[[], str] = lambda: "t") -> KubernetesClient:
    access = Access(server="https://api", context=_TLS, token=token)
    return KubernetesClient(access, transport=httpx.MockTransport(answer), known=known)


def status(code: int, *, reason: str = "", message: str = "no", **details: Any) -> httpx.Response:
    return httpx.Response(code, json={"kind": "Status", "code": code, "reason": reason, "message": message, "details": details})


def item(version: str, uid: str = "u") -> Object:
    return {"metadata": {"name": "a", "namespace": "n", "uid": uid, "resourceVersion": version}}


class Lines(httpx.AsyncByteStream):
    """A body that comes in the given pieces and may then break."""

    def __init__(self, *pieces: bytes, end: Exception | None = None) -> None:
        self._pieces = pieces
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._end is not None:
            raise self._end


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(401), Unauthenticated),
        (status(403), Denied),
        (status(403, causes=[{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]), Conflict),
        (status(404, name="a"), Gone),
        (status(409, reason="AlreadyExists"), Exists),
        (status(409, reason="Conflict"), Conflict),
        (status(410), Expired),
        (status(422, reason="Invalid"), Invalid),
        (status(400), Invalid),
        (status(429), Throttled),
        (status(500), Unreachable),
        (status(500, message="failed to create typed patch object: .status.x: field not declared in schema"), Invalid),
        (status(503), Unreachable),
        (httpx.Response(502, text="<html>Bad Gateway</html>"), Unreachable),
    ],
)
async def test_each_refusal_becomes_one_error_of_ours(answer: httpx.Response, error: type[Exception]) -> None:
    kubernetes = client(lambda _: answer)
    with pytest.raises(error) as caught:
        await kubernetes.create(CONFIG_MAPS, "n", item("1"))
    assert type(caught.value) is error
    assert "create configmaps a" in str(caught.value)
    await kubernetes.close()


async def test_a_refusal_names_the_fields() -> None:
    answer = status(422, causes=[{"field": "spec.cpus", "message": "must be positive"}])
    with pytest.raises(Invalid) as caught:
        await client(lambda _: answer).create(PAAS_APPS, "n", item("1"))
    assert [(e.path, e.message) for e in caught.value.errors] == [("spec.cpus", "must be positive")]


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (httpx.Response(429, headers={"Retry-After": "7"}, json={}), 7),
        (status(429, retryAfterSeconds=3), 3),
        (status(429), 1),
    ],
)
async def test_the_server_says_when_to_come_back(answer: httpx.Response, seconds: float) -> None:
    with pytest.raises(Throttled) as caught:
        await client(lambda _: answer).get(PAAS_APPS, "n", "a")
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut off")])
async def test_no_answer_is_unreachable(failure: httpx.HTTPError) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise failure

    with pytest.raises(Unreachable, match="list paasapps"):
        await client(answer).list(PAAS_APPS)


@pytest.mark.parametrize("body", ["", "<html>", "[]"])
async def test_an_answer_that_is_no_object_is_unreachable(body: str) -> None:
    with pytest.raises(Unreachable):
        await client(lambda _: httpx.Response(200, text=body)).get(PAAS_APPS, "n", "a")


async def test_a_missing_object_is_none_but_a_missing_kind_is_an_error() -> None:
    assert await client(lambda _: status(404, name="a")).get(PAAS_APPS, "n", "a") is None
    with pytest.raises(Gone):
        await client(lambda _: httpx.Response(404, text="404 page not found")).get(PAAS_APPS, "n", "a")


async def test_the_token_is_read_for_each_request() -> None:
    tokens = iter(["one", "two"])
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200, json=item("1"))

    kubernetes = client(answer, token=lambda: next(tokens))
    await kubernetes.get(PAAS_APPS, "n", "a")
    await kubernetes.get(PAAS_APPS, "n", "a")
    assert seen == ["Bearer one", "Bearer two"]


async def test_a_token_file_that_cannot_be_read_is_said() -> None:
    def gone() -> str:
        raise FileNotFoundError("/token")

    with pytest.raises(Denied, match="token"):
        await client(lambda _: httpx.Response(200, json={}), token=gone).get(PAAS_APPS, "n", "a")


async def test_paths_of_core_namespaced_and_cluster_wide_kinds() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(200, json=item("1"))

    kubernetes = client(answer)
    await kubernetes.get(CONFIG_MAPS, "n", "a")
    await kubernetes.get(PAAS_APPS, "n", "a")
    await kubernetes.get(NAMESPACES, "", "a")
    assert seen == [
        "/api/v1/namespaces/n/configmaps/a",
        "/apis/paas.shurenyun.com/v1alpha1/namespaces/n/paasapps/a",
        "/api/v1/namespaces/a",
    ]


async def test_a_list_whose_token_expired_is_begun_again() -> None:
    pages = [
        httpx.Response(200, json={"items": [item("1")], "metadata": {"continue": "more", "resourceVersion": "5"}}),
        status(410),
        httpx.Response(200, json={"items": [item("2")], "metadata": {"resourceVersion": "9"}}),
    ]
    page = await client(lambda _: pages.pop(0)).list(PAAS_APPS)
    assert [i["metadata"]["resourceVersion"] for i in page.items] == ["2"]
    assert page.resource_version == "9"


async def test_a_list_that_expires_again_and_again_is_given_back() -> None:
    with pytest.raises(Expired):
        await client(lambda _: status(410)).list(PAAS_APPS)


# ---------------------------------------------------------------------------------------------------- status


async def test_a_known_object_costs_one_request() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=item("8"))

    await client(answer, known=lambda *_: ("u", "7")).apply_status(PAAS_APPS, "n", "a", {}, manager="m", uid="u")
    (request,) = seen
    assert (request.method, request.headers["Content-Type"]) == ("PATCH", "application/apply-patch+yaml")
    assert dict(request.url.params) == {"fieldManager": "m", "force": "true"}
    assert json.loads(request.content)["metadata"] == {"name": "a", "namespace": "n", "resourceVersion": "7"}


async def test_a_known_object_of_another_uid_costs_none() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise AssertionError

    with pytest.raises(Conflict, match="another object"):
        await client(answer, known=lambda *_: ("other", "7")).apply_status(PAAS_APPS, "n", "a", {}, manager="m", uid="u")


async def test_somebody_elses_change_costs_a_read_and_a_second_round() -> None:
    answers = [status(409), httpx.Response(200, json=item("9")), httpx.Response(200, json=item("10"))]
    kubernetes = client(lambda _: answers.pop(0), known=lambda *_: ("u", "7"))
    done = await kubernetes.apply_status(PAAS_APPS, "n", "a", {}, manager="m", uid="u")
    assert done["metadata"]["resourceVersion"] == "10"


async def test_an_object_that_never_rests_gives_the_pass_back() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=item("9")) if request.method == "GET" else status(409)

    with pytest.raises(Conflict, match="faster"):
        await client(answer).apply_status(PAAS_APPS, "n", "a", {}, manager="m", uid="u")


# ---------------------------------------------------------------------------------------------------- json patch


async def test_only_a_failed_test_makes_a_conflict_of_a_refused_patch() -> None:
    change = {"op": "add", "path": "/spec/cpus", "value": -1}
    kubernetes = client(lambda _: status(422))
    with pytest.raises(Invalid):
        await kubernetes.patch_json(PAAS_APPS, "n", "a", [change])
    with pytest.raises(Conflict):
        await kubernetes.patch_json(PAAS_APPS, "n", "a", [{"op": "test", "path": "/x", "value": 1}, change])
    named = client(lambda _: status(422, causes=[{"field": "spec.cpus", "message": "bad"}]))
    with pytest.raises(Invalid):
        await named.patch_json(PAAS_APPS, "n", "a", [{"op": "test", "path": "/x", "value": 1}, change])


async def test_raw_json_is_sent_as_the_server_would_encode_it() -> None:
    """The API server keeps raw data as sent, re-encodes it as Go does, and then calls immutable data changed."""
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(200, json=item("1"))

    await client(answer).create(CONFIG_MAPS, "n", {"metadata": {"name": "a"}, "data": {"k": "a<b>&é"}})
    assert b"a\\u003cb\\u003e\\u0026" in seen[0]
    assert json.loads(seen[0])["data"] == {"k": "a<b>&é"}


# ---------------------------------------------------------------------------------------------------- watch


async def watched(stream: httpx.AsyncByteStream, code: int = 200) -> tuple[list[WatchEvent], BaseException | None]:
    """What a watch gives, and how it ends."""
    found: list[WatchEvent] = []
    try:
        async for event in client(lambda _: httpx.Response(code, stream=stream)).watch(PAAS_APPS, resource_version="1"):
            found.append(event)  # noqa: PERF401 - what came before an error counts
    except (ShurenError, Expired) as error:
        return found, error
    return found, None


def line(change: str, document: Object) -> bytes:
    return json.dumps({"type": change, "object": document}).encode() + b"\n"


async def test_lines_are_found_wherever_the_bytes_are_cut() -> None:
    whole = line("ADDED", item("1")) + line("MODIFIED", item("2")) + line("BOOKMARK", item("3")) + b"\n" + line("DELETED", item("4"))
    for cut in range(1, len(whole), 7):
        pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
        events, error = await watched(Lines(*pieces))
        assert error is None
        assert [(e.change, e.object["metadata"]["resourceVersion"]) for e in events] == [
            (Change.ADDED, "1"),
            (Change.MODIFIED, "2"),
            (Change.BOOKMARK, "3"),
            (Change.DELETED, "4"),
        ]


@pytest.mark.parametrize(
    ("stream", "code", "error", "says"),
    [
        (Lines(line("ERROR", {"kind": "Status", "code": 410, "message": "too old"})), 200, Expired, "too old"),
        (Lines(line("ERROR", {"kind": "Status", "code": 500, "message": "etcd"})), 200, Unreachable, "etcd"),
        (Lines(b'{"message": "too old"}'), 410, Expired, "too old"),
        (Lines(b'{"message": "no right to watch"}'), 403, Denied, "no right to watch"),
        (Lines(end=httpx.ReadTimeout("")), 503, Unreachable, "silent for 70 s"),
        (Lines(end=httpx.ReadError("reset")), 200, Unreachable, "reset"),
        (Lines(b"<html>\n"), 200, Unreachable, "not an event"),
        (Lines(b'{"type": "NEWS", "object": {}}\n'), 200, Unreachable, "not an event"),
        (Lines(b'["ADDED"]\n'), 200, Unreachable, "not an event"),
    ],
)
async def test_how_a_watch_ends(stream: Lines, code: int, error: type[Exception], says: str) -> None:
    _, caught = await watched(stream, code)
    assert type(caught) is error
    assert says in str(caught)


async def test_a_watch_that_falls_silent_just_ends_for_the_server_may_have_nothing_to_tell() -> None:
    """An API server sends no bookmarks of a kind of which nothing has happened since its start (seen on 1.37)."""
    events, error = await watched(Lines(line("ADDED", item("1")), end=httpx.ReadTimeout("")))
    assert [e.change for e in events] == [Change.ADDED]
    assert error is None


async def test_a_broken_event_is_not_quoted_since_it_may_hold_a_secret() -> None:
    _, caught = await watched(Lines(b'{"type": "ADDED", "object": {"data": "c2VjcmV0"\n'))
    assert caught is not None
    assert "c2VjcmV0" not in str(caught)


async def test_what_came_before_the_break_is_delivered() -> None:
    events, error = await watched(Lines(line("ADDED", item("1")), b'{"type": "MOD', end=httpx.ReadError("reset")))
    assert [e.change for e in events] == [Change.ADDED]
    assert isinstance(error, Unreachable)


async def test_a_watch_asks_for_one_object_and_for_bookmarks() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=Lines())

    async for _ in client(answer).watch(PAAS_APPS, resource_version="5", namespace="n", name="a", label_selector="x=y"):
        raise AssertionError
    assert dict(seen[0].url.params) == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "5",
        "timeoutSeconds": "300",
        "fieldSelector": "metadata.name=a",
        "labelSelector": "x=y",
    }
    assert seen[0].headers["Accept-Encoding"] == "identity"
