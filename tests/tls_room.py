"""Certificates and TLS servers on loopback, for tests of who trusts whom."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from shuren.devenv.keypairs import KeyPair
from shuren.devenv.pki import Authority

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Certificates:
    """An authority, a server (localhost and 127.0.0.1) and a client that it vouches for, and an authority that nobody knows."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory / "known")
        self.server = self.authority.server("server", common_name="server")
        self.client = self.authority.client("client", user="shuren")
        self.stranger = Authority(directory / "unknown").client("client", user="shuren")

    @property
    def ca(self) -> bytes:
        return self.authority.ca.certificate.read_bytes()

    def server_context(self, *, mutual: bool = False) -> ssl.SSLContext:
        """A server's side; `mutual` demands a certificate of ours."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server.certificate, self.server.key)
        if mutual:
            context.load_verify_locations(self.authority.ca.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def encrypted(pair: KeyPair) -> bytes:
    """The key of a pair under a password."""
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"a password")
    )


async def ended(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever state it is in."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """A server on a free port of 127.0.0.1, whose connections end with it."""
    open_now: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            open_now.discard(task)
            await ended(writer)

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
        await server.wait_closed()


def answering(document: object, seen: list[str] | None = None) -> Serve:
    """An HTTP server that answers everything with one JSON document; `seen` collects the heads of requests."""
    body = json.dumps(document).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head.decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    return serve


def forwarding(port: int) -> Serve:
    """Passes bytes on to a server on 127.0.0.1, both ways."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))
        finally:
            await ended(inner_writer)

    return serve
