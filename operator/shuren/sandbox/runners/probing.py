"""Performs checks over the network and as commands, a bounded number at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shuren.sandbox.contract import Json

MAX_CONCURRENT = 256
"""Marathon's own limit of concurrent health checks."""
HEALTHY = range(200, 400)


class Prober:
    """HTTP, TCP and command probes. One client session for the life of the engine."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=False)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self, check: Json, *, host: str, port: int | None, directory: Path, environment: Mapping[str, str]) -> str | None:
        """None when the check succeeds, else why not."""
        timeout = max(0.001, float(check.get("timeoutSeconds", 20)))
        async with self._slots:
            protocol = check.get("protocol", "HTTP").removeprefix("MESOS_")
            if protocol == "COMMAND":
                command = check.get("command", {}).get("value", "false")
                return await run_command(command, directory=directory, environment=environment, timeout=timeout)
            if port is None:
                return f"Missing health check port: the check names index {check.get('portIndex')}, the task has no such port"
            address = await self._reachable(host, port, timeout)
            if address is None:
                return f"{host}:{port}: Connection refused"
            if protocol == "TCP":
                return None
            path = check.get("path") or "/"
            url = f"{protocol.lower()}://{address}:{port}{path if path.startswith('/') else '/' + path}"
            status, reason, _ = await self.get(url, timeout=timeout)
            return None if status in HEALTHY else (f"{status} {reason}" if status else reason)

    async def _reachable(self, host: str, port: int, timeout: float) -> str | None:  # noqa: ASYNC109 - the check's own setting
        """The address that answers: the agent's, or its loopback (all virtual hosts share the machine's, where a task may well listen)."""
        for address in dict.fromkeys((host, "127.0.0.1")):
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), timeout)
            except (OSError, TimeoutError):
                continue
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return address
        return None

    async def get(self, url: str, *, timeout: float) -> tuple[int, str, str]:  # noqa: ASYNC109 - the check's own setting
        """GETs an URL without following redirects: (status, reason, body); status 0 when there was no answer, with the cause as reason."""
        try:
            async with self._client().get(url, timeout=aiohttp.ClientTimeout(total=timeout), allow_redirects=False) as answer:
                body = (await answer.content.read(4096)).decode(errors="replace")
                return answer.status, answer.reason or "", body
        except TimeoutError:
            return 0, f"Timeout after {timeout:g} s", ""
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return 0, str(error) or type(error).__name__, ""

    async def ready(self, url: str, *, timeout: float) -> tuple[int, str, str]:  # noqa: ASYNC109 - the check's own setting
        """For readiness checks: (status, content type, body), the loopback tried when the agent's address does not answer. Status 0 when
        there was no answer, with the cause as body.
        """
        scheme, _, rest = url.partition("://")
        target, _, path = rest.partition("/")
        host, _, port = target.rpartition(":")
        address = await self._reachable(host, int(port), timeout) or host
        try:
            async with self._client().get(
                f"{scheme}://{address}:{port}/{path}", timeout=aiohttp.ClientTimeout(total=timeout), allow_redirects=False
            ) as answer:
                body = (await answer.content.read(4096)).decode(errors="replace")
                return answer.status, answer.content_type, body
        except TimeoutError:
            return 0, "", f"Timeout after {timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return 0, "", str(error) or type(error).__name__


async def run_command(command: str, *, directory: Path, environment: Mapping[str, str], timeout: float) -> str | None:  # noqa: ASYNC109
    """Runs a shell command in a task's sandbox; None when it exits 0 within the time, else why not."""
    try:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            cwd=directory,
            env={"PATH": os.environ.get("PATH", os.defpath), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"Command could not be run: {error}"
    try:
        code = await asyncio.wait_for(process.wait(), timeout)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return f"Command timed out after {timeout:g} s"
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return None if code == 0 else f"Command returned exit status {code}"


def bindable(port: int) -> bool:
    """Whether nobody on this machine listens on that port, on whatever address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
