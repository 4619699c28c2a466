"""Requests and replies of the key-value service: a line of JSON each way, over connections that are kept."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any

Json = dict[str, Any]


class Broken(Exception):
    """No reply came. What was asked for may or may not have been done."""


class Connections:
    """Kept connections to any number of addresses. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[str, list[socket.socket]] = {}

    def ask(self, address: str, request: Json, *, within: float) -> Json:
        """One exchange. Broken when no whole reply came within so many seconds."""
        try:
            connection = self._take(address, within)
        except OSError as error:
            raise Broken(f"{address}: {error}") from error
        try:
            connection.settimeout(within)
            connection.sendall(json.dumps(request, separators=(",", ":")).encode() + b"\n")
            reply = _line(connection)
        except OSError as error:
            connection.close()
            raise Broken(f"{address}: {error}") from error
        if not reply:
            connection.close()
            raise Broken(f"{address}: the connection was closed")
        with self._lock:
            self._idle.setdefault(address, []).append(connection)
        found: Json = json.loads(reply)
        return found

    def _take(self, address: str, within: float) -> socket.socket:
        with self._lock:
            idle = self._idle.get(address)
            while idle:
                connection = idle.pop()
                if _quiet(connection):
                    return connection
                connection.close()
        host, _, port = address.rpartition(":")
        connection = socket.create_connection((host, int(port)), timeout=within)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _quiet(connection: socket.socket) -> bool:
    """Whether the other side has neither closed it nor sent what nobody asked for."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        connection.recv(1, socket.MSG_PEEK)
        return False
    return True


def _line(connection: socket.socket) -> bytes:
    parts = bytearray()
    while not parts.endswith(b"\n"):
        data = connection.recv(65_536)
        if not data:
            return b""
        parts += data
    return bytes(parts)
