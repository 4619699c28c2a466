"""UDP and TCP beside each other on one port."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from shuren.domain.errors import Unreachable
from shuren.edge.dns.answers import Answers

_LENGTH = struct.Struct("!H")
_IDLE = 10.0
"""Seconds for which a TCP connection may say nothing (RFC 7766 §6.2.3 asks for a few)."""
_CONNECTIONS = 256
_DATAGRAM = 65_535
_IN_A_ROW = 64
"""Datagrams after which others get their turn."""
_TRIES = 20
"""Ports that are tried when any will do: one must be free for UDP and TCP alike."""


class _Udp:
    """One datagram in, one out, as many in a row as there are: asyncio's own transport goes through the loop for each, at a higher cost."""

    def __init__(self, answers: Answers, address: str, port: int) -> None:
        self._answer = answers.answer
        family, kind, protocol, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        try:
            self._socket.bind(where)
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        receive, send, answer = self._socket.recvfrom, self._socket.sendto, self._answer
        for _ in range(_IN_A_ROW):
            try:
                data, asker = receive(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # the kernel tells that an answer of before did not arrive
                continue
            said = answer(data)
            if said is not None:
                # an answer that the kernel does not take is lost like any other: the client asks again
                with suppress(OSError):
                    send(said, asker)


class Server:
    """Serves until `stop`. Port 0 takes a free one."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._udp: _Udp | None = None
        self._tcp: asyncio.Server | None = None
        self._connections = 0

    async def start(self, address: str, port: int) -> int:
        """Bind both. Gives the port; Unreachable when it is taken or not allowed."""
        for _ in range(_TRIES if port == 0 else 1):
            try:
                self._tcp = await asyncio.start_server(self._converse, address, port)
                bound = int(self._tcp.sockets[0].getsockname()[1])
                self._udp = _Udp(self._answers, address, bound)
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
