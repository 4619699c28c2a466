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
def stream(tmp_path: Path) -> Iterator[socket.socket]:
    with engine(tmp_path, "--agents", "1", "--runner", "simulated") as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            yield connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        more = connection.recv(1)
        assert more, f"the stream ended after {got!r}"
        got += more
    return got


def test_idle_streams_are_kept_alive_by_a_bare_line_end(stream: socket.socket) -> None:
    stream.sendall(b"GET /v2/events HTTP/1.1\r\nHost: engine\r\nAccept: text/event-stream\r\n\r\n")
    head = read_until(stream, b"\r\n\r\n").decode()
    assert "Transfer-Encoding" not in head
    attached = read_until(stream, b"\r\n\r\n")
    assert attached.startswith(b"event: event_stream_attached\r\ndata: {")
    assert read_until(stream, b"\n") == b"\r\n"


def test_unknown_types_match_nothing(stream: socket.socket) -> None:
    stream.sendall(b"GET /v2/events?event_type=a,b&event_type= HTTP/1.1\r\nHost: engine\r\nAccept: text/event-stream\r\n\r\n")
    read_until(stream, b"\r\n\r\n")
    assert read_until(stream, b"\n") == b"\r\n", "not even the event of its own beginning comes before the first sign of life"
