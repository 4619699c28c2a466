"""What the load counts as a failure: a measuring device that misses some is worse than none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from shuren.devenv.load import KEPT, NEW, POST, load
from waiting import eventually

Answer = Callable[[bytes, int], bytes]


@contextmanager
def server(answer: Answer, *, keep: bool = True) -> Iterator[tuple[int, list[int]]]:
    """Answers each request (its head and its number on the connection); closes after one unless `keep`. Gives its port, and the
    number of connections as a list that grows.
    """
    connections: list[int] = []
    port: list[int] = []
    ending: list[Callable[[], object]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        number = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")).split(b":")[1])
                await reader.readexactly(length)
                writer.write(answer(head, number))
                await writer.drain()
                number += 1
                if not keep:
                    break
        except (EOFError, OSError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        stop = asyncio.Event()
        ending.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set))
        made = await asyncio.start_server(serve, "127.0.0.1", 0)
        port.append(made.sockets[0].getsockname()[1])
        await stop.wait()
        made.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        eventually(lambda: bool(port))
        yield port[0], connections
    finally:
        ending[0]()
        thread.join()


def good(_head: bytes, _number: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_whole_answers_are_counted_by_kind_over_kept_and_new_connections() -> None:
    seen: set[bytes] = set()

    def answer(head: bytes, number: int) -> bytes:
        seen.add(head.split()[0])
        return good(head, number)

    with server(answer) as (port, connections):
        with load("127.0.0.1", port, "web.example", kinds=(KEPT, NEW, POST)) as tally:
            eventually(lambda: all(tally.good[kind.name] > 5 for kind in (KEPT, NEW, POST)))
        assert tally.failed == []
        assert seen == {b"GET", b"POST"}
        assert len(connections) == 2 + tally.good[NEW.name]
        assert str(tally).endswith(", 0 failed")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", "ValueError: HTTP/1.1 503 Service Unavailable: busy"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "IncompleteReadError"),
        (b"", "IncompleteReadError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n", "ValueError"),
    ],
    ids=["status", "half an answer", "none", "nonsense"],
)
def test_anything_less_than_a_whole_good_answer_is_a_failure(answer: bytes, why: str) -> None:
    with server(lambda _head, _number: answer, keep=False) as (port, _), load("127.0.0.1", port, "x", kinds=(KEPT,)) as tally:
        eventually(lambda: len(tally.failed) > 0)
    assert tally.good.total() == 0
    assert all(failure.sent and why in failure.why for failure in tally.failed)


def test_a_connection_that_breaks_is_a_failure_even_where_others_would_try_again() -> None:
    """A GET on a kept connection that the other side closes: clients may repeat it, and nobody would see that anything was lost."""

    with server(good, keep=False) as (port, _), load("127.0.0.1", port, "x", kinds=(KEPT,)) as tally:
        eventually(lambda: tally.good.total() > 0 and len(tally.failed) > 0)
    assert tally.total == tally.good.total() + len(tally.failed)


def test_nobody_there_is_told_apart_from_a_lost_request() -> None:
    with server(good) as (port, _):
        pass
    with load("127.0.0.1", port, "x", kinds=(KEPT,)) as tally:
        eventually(lambda: len(tally.failed) > 0)
    assert not any(failure.sent for failure in tally.failed)
