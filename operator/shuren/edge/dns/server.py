"""UDP and TCP beside each other on one port."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import Any

from shuren.domain.errors import Unreachable
from shuren.edge.dns.answers import Answers

_LENGTH = struct.Struct("!H")
_IDLE = 10.0
"""Seconds for which a TCP connection may say nothing (RFC 7766 §6.2.3 asks for a few)."""
_CONNECTIONS = 256
_TRIES = 20
"""Ports that are tried when any will do: one must be free for UDP and TCP alike."""


class _Udp(asyncio.DatagramProtocol):
    """One datagram in, one out."""

    def __init__(self, answers: Answers) -> None:
        self._answer = answers.answer
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        answer = self._answer(data)
        if answer is not None:
            self._transport.sendto(answer, addr)


class Server:
    """Serves until `stop`. Port 0 takes a free one."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._connections = 0

    async def start(self, address: str, port: int) -> int:
        """Bind both. Gives the port; Unreachable when it is taken or not allowed."""
        for _ in range(_TRIES if port == 0 else 1):
            try:
                self._tcp = await asyncio.start_server(self._converse, address, port)
                bound = int(self._tcp.sockets[0].getsockname()[1])
                self._udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: _Udp(self._answers), local_addr=(address, bound)
                )
            except OSError as error:
                last = error
                await self.stop()
            else:
                return bound
        raise Unreachable(f"cannot serve DNS on {address}:{port}: {last.strerror or last}") from last

    async def stop(self) -> None:
        """Close both."""
        if self._udp is not None:
            self._udp.close()
            self._udp = None
        if self._tcp is not None:
            self._tcp.close()
            await self._tcp.wait_closed()
            self._tcp = None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Messages in order, as many as come (RFC 7766 §6.2.1)."""
        if self._connections >= _CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        try:
            while True:
                async with asyncio.timeout(_IDLE):
                    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                    data = await reader.readexactly(length)
                answer = self._answers.answer(data, udp=False)
                if answer is None:
                    return
                writer.write(_LENGTH.pack(len(answer)) + answer)
                async with asyncio.timeout(_IDLE):
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._connections -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
