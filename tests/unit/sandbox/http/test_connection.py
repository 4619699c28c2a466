"""Requests that aiohttp's parser would refuse or change, answered as a Jetty 9.4.8 with Jersey 2.27 was seen to answer them."""

from __future__ import annotations

import gzip
import json

import pytest

from quiet_engine import QuietEngine
from shuren.sandbox.http.app import build_app
from wire import Wire

CLOSE = b"Host: h\r\nConnection: close\r\n"


async def exchange(wire: Wire, line: str | bytes, *headers: str, body: bytes = b"") -> tuple[str, str]:
    """The status line and the body."""
    first = line if isinstance(line, bytes) else line.encode()
    lines = b"".join(f"{header}\r\n".encode() for header in headers) + (b"Content-Length: %d\r\n" % len(body) if body else b"")
    head, _, content = (await wire.raw(first + b" HTTP/1.1\r\n" + CLOSE + lines + b"\r\n" + body)).partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode("latin-1").removeprefix("HTTP/1.1 ").removeprefix("HTTP/1.0 "), content.decode()


@pytest.mark.parametrize("path", ["/v2/apps/é", "/v2/apps/%C3%A9", "/v2/apps/é/"])
async def test_characters_beyond_ascii_in_a_path(wire: Wire, path: str) -> None:
    assert await exchange(wire, f"GET {path}") == ("404 Not Found", '{"message":"App \'/é\' does not exist","details":[]}')


async def test_characters_beyond_ascii_in_a_query(wire: Wire) -> None:
    assert await exchange(wire, "GET /v2/apps?id=é") == ("200 OK", '{"apps":[]}')


@pytest.mark.parametrize("target", [b"/v2/apps/\xff", b"/v2/apps/%", b"/v2/apps/%2", b"/v2/apps/%zz"])
async def test_a_path_that_is_no_text_is_a_bad_message(wire: Wire, target: bytes) -> None:
    assert await exchange(wire, b"GET " + target) == ("400 Bad Request", "<h1>Bad Message 400</h1><pre>reason: Bad Request</pre>")


@pytest.mark.parametrize("path", ["/v2/apps/{id}", "/v2/groups/}"])
async def test_braces_in_a_path_are_refused(wire: Wire, path: str) -> None:
    status, body = await exchange(wire, f"GET {path}")
    assert (status, "<h2>HTTP ERROR 400</h2>" in body) == ("400 Bad Request", True)
    assert (await exchange(wire, "GET /v2/apps/%7Bid%7D?label={}"))[0] == "404 Not Found"


async def test_broken_escapes_in_a_query_stand_for_themselves(wire: Wire) -> None:
    assert await exchange(wire, "GET /v2/apps?id=%zz") == ("200 OK", '{"apps":[]}')


@pytest.mark.parametrize("method", ["FOO", "get", "PROPFIND", "UNLINK", "CONNECT", "TRACE"])
@pytest.mark.parametrize("path", ["/v2/apps", "/v2/apps/a", "/ping", "/v2/info"])
async def test_methods_that_a_resource_does_not_have(wire: Wire, method: str, path: str) -> None:
    assert await exchange(wire, f"{method} {path}") == ("405 Method Not Allowed", '{"message":"Method Not Allowed"}')


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("PUT", "405 HTTP method PUT is not supported by this URL"),
        ("DELETE", "405 Http method DELETE is not supported by this URL"),
        ("TRACE", "405 HTTP method TRACE is not supported by this URL"),
        ("PATCH", "501 Method PATCH is not defined in RFC 2068 and is not supported by the Servlet API"),
        ("FOO", "501 Method FOO is not defined in RFC 2068 and is not supported by the Servlet API"),
    ],
)
async def test_methods_that_a_servlet_does_not_have(wire: Wire, method: str, status: str) -> None:
    assert await exchange(wire, f"{method} /v2/events") == (status, "")


async def test_a_servlet_answers_a_post_with_a_page(wire: Wire) -> None:
    status, body = await exchange(wire, "POST /v2/events")
    assert status == "405 HTTP method POST is not supported by this URL"
    assert "HTTP method POST is not supported by this URL" in body


async def test_options_of_the_server(wire: Wire) -> None:
    assert await exchange(wire, "OPTIONS *") == ("500 Internal Server Error", '{"message":"URI not found"}')


async def test_a_compressed_body_is_read_as_it_is(wire: Wire, engine: QuietEngine) -> None:
    app = json.dumps({"id": "/a", "cmd": "sleep 1"}).encode()
    status, body = await exchange(
        wire, "POST /v2/apps", "Content-Type: application/json", "Content-Encoding: gzip", body=gzip.compress(app)
    )
    assert (status, json.loads(body)["message"]) == ("400 Bad Request", "Invalid JSON")
    for coding in ("gzip", "deflate", "br"):
        status, _ = await exchange(wire, f"PUT /v2/apps/{coding}", f"Content-Encoding: {coding}", body=app)
        assert status == "201 Created"
    assert {"/gzip", "/deflate", "/br"} == set(engine.root.apps)


@pytest.mark.parametrize(
    ("request_head", "status", "reason"),
    [
        (b"GET /ping HTTP/2.0\r\n", 426, "Upgrade Required"),
        (b"GET /ping HTTP/1.7\r\n", 400, "Unknown Version"),
        (b"GET /ping\r\n", 400, "HTTP/0.9 not supported"),
        (b"GET /ping HTTP/1.1\r\nbad header\r\n", 400, "Bad Request"),
        (b"GET /ping HTTP/1.1\r\nX-A: " + b"a" * 9000 + b"\r\n", 431, "Request Header Fields Too Large"),
        (b"GET /v2/apps?id=" + b"a" * 9000 + b" HTTP/1.1\r\n", 414, "URI Too Long"),
        (b"GET /ping HTTP/1.1\r\nExpect: magic\r\n", 417, "Expectation Failed"),
    ],
)
async def test_bad_messages(wire: Wire, request_head: bytes, status: int, reason: str) -> None:
    answer = await wire.raw(request_head + CLOSE + b"\r\n")
    assert f" {status} {reason}\r\n".encode() in answer
    assert answer.endswith(f"<h1>Bad Message {status}</h1><pre>reason: {reason}</pre>".encode())


@pytest.mark.parametrize("kind", ["foo", "/json", "application/", "a/b/c", "a/b, c/d", "text/plain; charset"])
async def test_a_content_type_that_is_none(wire: Wire, kind: str) -> None:
    status, body = await exchange(wire, "POST /v2/apps", f"Content-Type: {kind}", body=b'{"id":"/a","cmd":"sleep 1"}')
    assert (status, "<h2>HTTP ERROR 400</h2>" in body) == ("400 Bad Request", True)


@pytest.mark.parametrize("kind", ["application/json;", 'application/json ; charset="utf-8"', "Application/JSON", "*/*", "application/*"])
async def test_content_types_that_are_json(wire: Wire, kind: str) -> None:
    status, _ = await exchange(wire, "POST /v2/apps", f"Content-Type: {kind}", body=b'{"id":"/a","cmd":"sleep 1"}')
    assert status == "201 Created"


@pytest.mark.parametrize("kind", ["application/json;q=2", "application/json;q=x", ";q=1"])
async def test_accepting_what_is_no_type(wire: Wire, kind: str) -> None:
    assert await exchange(wire, "GET /v2/apps", f"Accept: {kind}") == ("400 Bad Request", "")


@pytest.mark.parametrize("kind", ["application/json;q=0", "text/html, */*;q=0", "application", "*", "a/b,*", " application/json ;q=0.5"])
async def test_accepting_json_after_all(wire: Wire, kind: str) -> None:
    assert (await exchange(wire, "GET /v2/apps", f"Accept: {kind}"))[0] == "200 OK"


@pytest.mark.parametrize("value", ["", "=", "=%20"])
async def test_a_flag_without_a_value_has_its_default(value: str) -> None:
    engine = QuietEngine()
    async with Wire(build_app(engine, address=engine.address)) as wire:
        assert (await wire.put("/v2/apps/a", {"cmd": "sleep 1", "labels": {"a": "b"}})).status == 201
        assert (await wire.put(f"/v2/apps/a?partialUpdate{value}", {"instances": 2})).status == 200
        assert engine.root.apps["/a"]["labels"] == {"a": "b"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
async def test_json_in_any_encoding_of_unicode(wire: Wire, engine: QuietEngine, encoding: str) -> None:
    status, _ = await exchange(wire, "PUT /v2/apps/a", body='{"cmd":"echo é"}'.encode(encoding))
    assert (status, engine.root.apps["/a"]["cmd"]) == ("201 Created", "echo é")


async def test_half_a_character_does_not_spoil_what_is_read_later(wire: Wire) -> None:
    status, body = await exchange(wire, "POST /v2/apps", body=rb'{"id":"/a","cmd":"a\ud800b","labels":{"\uD83D\uDE00":"\udc00"}}')
    assert (status, json.loads(body)["cmd"], json.loads(body)["labels"]) == ("201 Created", "a?b", {"\U0001f600": "?"})
    assert (await exchange(wire, "GET /v2/apps"))[0] == "200 OK"


async def test_a_number_beyond_all_numbers_is_read_as_a_text(wire: Wire) -> None:
    status, body = await exchange(wire, "POST /v2/apps", body=b'{"id":"/a","cmd":"aa","cpus":1e400}')
    assert (status, json.loads(body)["cpus"]) == ("201 Created", "Infinity")
    _, body = await exchange(wire, "GET /v2/apps")
    assert [app["cpus"] for app in json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["apps"]] == ["Infinity"]


async def test_whole_numbers_beyond_all_doubles(wire: Wire) -> None:
    many = b"9" * 400
    status, body = await exchange(wire, "POST /v2/apps", body=b'{"id":"/a","cmd":"aa","instances":%s}' % many)
    assert (status, json.loads(body)["details"]) == ("422 Unprocessable Entity", [{"path": "/instances", "errors": ["error.expected.int"]}])
    status, body = await exchange(wire, "POST /v2/apps", body=b'{"id":"/a","cmd":"aa","mem":%s}' % many)
    assert (status, json.loads(body)["mem"]) == ("201 Created", "Infinity")


async def test_a_group_cannot_be_scaled_beyond_what_a_number_of_instances_can_be(wire: Wire, engine: QuietEngine) -> None:
    apps = [{"id": "a", "cmd": "aa", "instances": 2}, {"id": "b", "cmd": "aa", "instances": 0}]
    assert (await wire.put("/v2/groups/g", {"apps": apps})).status == 200
    for factor in (b"1e300", b"1e400"):
        assert (await exchange(wire, "PUT /v2/groups/g?force=true", body=b'{"scaleBy":%s}' % factor))[0] == "200 OK"
        assert [app["instances"] for app in engine.root.groups["/g"].apps.values()] == [2**31 - 1, 0]
