"""The transport on a raw server that answers whatever the test says."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shuren.clients.connections import Connections
from tls_room import Certificates
from tls_room import serving as serving_tls

Answer = Callable[[int, asyncio.StreamWriter], bytes | None]
"""Gets the number of the request (from 1) and the way back; None: say nothing more."""

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Counts connections and requests. A request has a Content-Length or no body."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.requests: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
                self.requests.append(head + await reader.readexactly(length))
                number = len(self.requests)
                await self.gate.wait()
                answer = self._answer(number, writer)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    made = Server(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


@asynccontextmanager
async def client(limit: int | None = None, *, timeouts: httpx.Timeout | None = None) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=Connections(limit=limit), timeout=timeouts or httpx.Timeout(20.0), trust_env=False) as made:
        yield made


async def test_a_connection_is_used_again_and_again() -> None:
    async with serving(lambda *_: PLAIN) as server, client() as http:
        for number in range(5):
            answer = await http.post(server.url + "/x?y=z", content=b"hello")
            assert (answer.status_code, answer.text) == (200, "ok"), number
        assert server.connections == 1
        assert server.requests[0].startswith(b"POST /x?y=z HTTP/1.1\r\n")
        assert server.requests[0].endswith(b"\r\n\r\nhello")


async def test_no_more_requests_at_a_time_than_allowed_and_the_others_wait() -> None:
    async with serving(lambda *_: PLAIN) as server, client(limit=3) as http:
        answers = await asyncio.gather(*(http.get(server.url) for _ in range(20)))
        assert {answer.text for answer in answers} == {"ok"}
        assert server.most_open <= 3
        assert len(server.requests) == 20


async def test_who_waits_too_long_for_a_connection_is_told() -> None:
    async with serving(lambda *_: PLAIN) as server, client(limit=1, timeouts=httpx.Timeout(20.0, pool=0.05)) as http:
        server.gate.clear()
        first = asyncio.ensure_future(http.get(server.url))
        while not server.requests:
            await asyncio.sleep(0.01)
        with pytest.raises(httpx.PoolTimeout):
            await http.get(server.url)
        server.gate.set()
        assert (await first).text == "ok"
        assert (await http.get(server.url)).text == "ok"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabcdefg",
    ],
)
async def test_bodies_however_framed(raw: bytes) -> None:
    async with serving(lambda *_: raw) as server, client() as http:
        for _ in range(3):
            assert (await http.get(server.url)).text == "abcdefg"
        assert server.connections == 1


async def test_a_server_that_says_more_than_was_asked_gets_the_next_request_on_another_connection() -> None:
    async with (
        serving(lambda number, _: PLAIN + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale" if number == 1 else PLAIN) as server,
        client() as http,
    ):
        assert (await http.get(server.url)).text == "ok"
        assert (await http.get(server.url)).text == "ok"
        assert server.connections == 2


async def test_a_body_that_ends_with_the_connection() -> None:
    def answer(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")

    async with serving(answer) as server, client() as http:
        assert (await http.get(server.url)).text == "abc"
        assert (await http.get(server.url)).text == "abc"
        assert server.connections == 2


async def test_an_answer_without_body_leaves_the_connection_usable() -> None:
    async with serving(lambda *_: b"HTTP/1.1 204 No Content\r\n\r\n") as server, client() as http:
        for _ in range(3):
            assert (await http.delete(server.url)).content == b""
        assert server.connections == 1


async def test_a_large_body_comes_in_parts_and_can_be_streamed() -> None:
    body = b"x" * 3_000_000
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(lambda *_: raw + body) as server, client() as http:
        parts = 0
        async with http.stream("GET", server.url) as answer:
            size = 0
            async for part in answer.aiter_raw():
                parts += 1
                size += len(part)
        assert size == len(body)
        assert parts > 1
        assert (await http.get(server.url)).content == body
        assert server.connections == 1


async def test_a_stream_that_is_left_early_does_not_spoil_the_next_request() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    async with serving(lambda number, _: raw if number == 1 else PLAIN) as server, client() as http:
        async with http.stream("GET", server.url) as answer:
            assert answer.status_code == 200
        assert (await http.get(server.url)).text == "ok"
        assert server.connections == 2


async def test_a_kept_connection_that_the_server_has_closed_is_not_used() -> None:
    def answer(_: int, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(PLAIN)
        return None

    async with serving(answer) as server, client() as http:
        assert (await http.get(server.url)).text == "ok"
        while server.open:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        assert (await http.get(server.url)).text == "ok"
        assert len(server.requests) == 2


async def test_a_request_whose_connection_breaks_is_an_error_and_not_sent_again() -> None:
    async with serving(lambda *_: None) as server, client() as http:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await http.put(server.url, content=b"once")
        assert len(server.requests) == 1


async def test_what_is_no_http_is_an_error() -> None:
    async with serving(lambda *_: b"SSH-2.0-OpenSSH\r\n\r\n") as server, client() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(server.url)


async def test_a_server_that_says_nothing_in_time() -> None:
    async with serving(lambda *_: PLAIN) as server, client(limit=1, timeouts=httpx.Timeout(20.0, read=0.05)) as http:
        server.gate.clear()
        with pytest.raises(httpx.ReadTimeout):
            await http.get(server.url)
        server.gate.set()
        assert (await http.get(server.url)).text == "ok", "its place is free again, on another connection"


async def test_a_cancelled_request_gives_its_place_back() -> None:
    async with serving(lambda *_: PLAIN) as server, client(limit=1) as http:
        server.gate.clear()
        lost = asyncio.ensure_future(http.get(server.url))
        while not server.requests:
            await asyncio.sleep(0.01)
        lost.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lost
        server.gate.set()
        assert (await http.get(server.url)).text == "ok"
        assert server.connections == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_request_cancelled_at_any_moment_leaves_nothing_open(tmp_path: Path, scheme: str) -> None:
    """After so many turns of the loop; a socket that is left open is told when it is collected, and fails the test."""
    certificates = Certificates(tmp_path)
    server = Server(lambda *_: PLAIN)
    trusted = ssl.create_default_context(cafile=str(certificates.authority.ca.certificate))
    finished = False
    async with serving_tls(server.serve, certificates.server_context() if scheme == "https" else None) as port:
        for turns in range(1000):
            async with httpx.AsyncClient(transport=Connections(tls=trusted, limit=1), trust_env=False, timeout=20.0) as http:
                request = asyncio.create_task(http.get(f"{scheme}://127.0.0.1:{port}/"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                finished = request.done()
                request.cancel()
                await asyncio.gather(request, return_exceptions=True)
            if finished:
                break
    gc.collect()
    assert finished


async def test_a_request_under_way_when_all_is_closed_leaves_nothing_open() -> None:
    """At any moment, also while it connects: then it fails, and no connection comes after the end."""
    failed = finished = 0
    async with serving(lambda *_: PLAIN) as server:
        for turns in range(1000):
            transport = Connections(limit=1)
            http = httpx.AsyncClient(transport=transport, trust_env=False, timeout=20.0)
            request = asyncio.create_task(http.get(server.url))
            for _ in range(turns):
                await asyncio.sleep(0)
            finished += request.done()
            await transport.aclose()
            (found,) = await asyncio.gather(request, return_exceptions=True)
            failed += isinstance(found, httpx.TransportError)
            assert isinstance(found, (httpx.Response, httpx.TransportError))
            assert (transport._open, sum(map(len, transport._idle.values()))) == (set(), 0)
            if finished:
                break
        with pytest.raises(httpx.TransportError, match="closed"):
            await http.get(server.url)
    gc.collect()
    assert (finished, failed > 0) == (1, True)


async def test_nobody_listens() -> None:
    async with serving(lambda *_: PLAIN) as server:
        url = server.url
    async with client() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


async def test_a_server_that_does_not_speak_tls() -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server, client() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")


@pytest.mark.parametrize("who", ["client", "stranger"])
async def test_both_sides_of_a_tls_connection_prove_who_they_are(tmp_path: Path, who: str) -> None:
    certificates = Certificates(tmp_path)
    pair = certificates.client if who == "client" else certificates.stranger
    context = ssl.create_default_context(cafile=str(certificates.authority.ca.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    server = Server(lambda *_: PLAIN)
    async with (
        serving_tls(server.serve, certificates.server_context(mutual=True)) as port,
        httpx.AsyncClient(transport=Connections(tls=context), trust_env=False, timeout=20.0) as http,
    ):
        if who == "client":
            answers = [await http.get(f"https://localhost:{port}/") for _ in range(3)]
            assert [answer.text for answer in answers] == ["ok"] * 3
            assert server.connections == 1
        else:
            with pytest.raises(httpx.TransportError):
                await http.get(f"https://localhost:{port}/")
            assert not server.requests


@pytest.mark.parametrize("why", ["unknown authority", "other name"])
async def test_a_server_that_cannot_prove_its_name_gets_no_request(tmp_path: Path, why: str) -> None:
    certificates = Certificates(tmp_path)
    trusted = None if why == "unknown authority" else ssl.create_default_context(cafile=str(certificates.authority.ca.certificate))
    server = Server(lambda *_: PLAIN)
    async with (
        serving_tls(server.serve, certificates.server_context()) as port,
        httpx.AsyncClient(transport=Connections(tls=trusted), trust_env=False, timeout=20.0) as http,
    ):
        extensions = {} if trusted is None else {"sni_hostname": "other.example.org"}
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await http.get(f"https://127.0.0.1:{port}/", extensions=extensions)
        assert not server.requests


async def test_closing_ends_every_connection() -> None:
    async with serving(lambda *_: PLAIN) as server:
        async with client() as http:
            await asyncio.gather(*(http.get(server.url) for _ in range(4)))
            assert server.open > 0
        async with asyncio.timeout(10):
            while server.open:
                await asyncio.sleep(0.01)
