"""The event stream of the engine's program, byte by byte."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engine_process import engine

pytestmark = pytest.mark.contract


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connections to one engine."""
    with engine(tmp_path, "--agents", "1", "--runner", "simulated") as url:
        address = urlsplit(url)
        where = (address.hostname, address.port)
        with socket.create_connection(where, timeout=30) as one, socket.create_connection(where, timeout=30) as other:
            yield one, other


def read_until(connection: socket.socket, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        more = connection.recv(1)
        assert more, f"the stream ended after {got!r}"
        got += more
    return got


def asked(connection: socket.socket, query: str = "") -> None:
    connection.sendall(f"GET /v2/events{query} HTTP/1.1\r\nHost: engine\r\nAccept: text/event-stream\r\n\r\n".encode())


def test_idle_streams_are_kept_alive_by_a_bare_line_end_and_unknown_types_match_nothing(
    streams: tuple[socket.socket, socket.socket],
) -> None:
    every, unknown = streams
    asked(unknown, "?event_type=a,b&event_type=")
    read_until(unknown, b"\r\n\r\n")
    asked(every)
    head = read_until(every, b"\r\n\r\n").decode()
    assert "Transfer-Encoding" not in head
    attached = read_until(every, b"\r\n\r\n")
    assert attached.startswith(b"event: event_stream_attached\r\ndata: {")
    assert read_until(every, b"\n") == b"\r\n"
    assert read_until(unknown, b"\n") == b"\r\n", "not even the event of its own beginning comes before the first sign of life"
