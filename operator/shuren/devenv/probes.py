"""Whether a part is ready: one question each, answered by the part itself rather than by a pause."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never


@dataclass(frozen=True, kw_only=True)
class HttpProbe:
    """Ready when a GET answers 200. `ca` verifies a TLS server; `insecure` accepts any certificate (kube-controller-manager's own)."""

    url: str
    ca: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, kw_only=True)
class ZooKeeperProbe:
    """Ready when `srvr` names a mode: standalone, or leader or follower of an ensemble with a quorum."""

    port: int


Probe = HttpProbe | ZooKeeperProbe

_TIMEOUT = 2.0
"""Seconds for one question."""


async def ready(probe: Probe) -> str | None:
    """None when the part is ready, else why not."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            match probe:
                case HttpProbe():
                    return await _http(probe)
                case ZooKeeperProbe(port=port):
                    return await _zookeeper(port)
                case _:
                    assert_never(probe)
    except (OSError, TimeoutError) as error:
        return _named(error)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _http(probe: HttpProbe) -> str | None:
    # its import costs half a second of CPU, and every command of `shuren` comes by here
    import aiohttp  # noqa: PLC0415

    tls: ssl.SSLContext | bool = True
    if probe.ca is not None:
        tls = ssl.create_default_context(cafile=str(probe.ca))
    elif probe.insecure:
        tls = False
    try:
        async with aiohttp.ClientSession() as session, session.get(probe.url, ssl=tls) as response:
            body = await response.text()
            return None if response.status == 200 else f"{probe.url} answers {response.status}: {body[:300]}"  # noqa: PLR2004 - HTTP OK
    except aiohttp.ClientError as error:
        return _named(error)


async def _zookeeper(port: int) -> str | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"srvr")
        answer = (await reader.read(4096)).decode(errors="replace")
    finally:
        writer.close()
    return None if "Mode:" in answer else f"no quorum yet: {answer.strip()[:200]}"
