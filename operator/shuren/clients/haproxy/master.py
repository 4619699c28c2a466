"""HAProxy's master process: which workers there are, reloads, and questions to workers that are on their way out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from shuren.clients.haproxy import parse
from shuren.clients.haproxy.wire import exchange
from shuren.domain.errors import Invalid, Unreachable
from shuren.domain.haproxy.converge import batches
from shuren.domain.haproxy.traffic import StatRow

_POLL = 0.02
_PATIENCE = 2.0
"""Seconds for which nobody may listen: the master executes itself anew at each start and reload, and once more after (seen on 2.6.12)."""


class Master:
    """The socket that `haproxy -W -S PATH` opens. `timeout` in seconds for one exchange."""

    def __init__(self, socket: Path, *, timeout: float = 5.0, patience: float = _PATIENCE) -> None:
        self._socket = socket
        self._timeout = timeout
        self._patience = patience

    async def processes(self) -> parse.Processes:
        """Master and workers."""
        return parse.processes(await self._patiently("show proc"))

    async def _patiently(self, question: str) -> str:
        """Ask what changes nothing; a master that is executing itself anew gets a moment to listen again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            try:
                return await exchange(self._socket, question, timeout=self._timeout)
            except Unreachable:
                if loop.time() > deadline:
                    raise
            await asyncio.sleep(_POLL)

    async def reload(self, *, within: float = 60.0) -> parse.Processes:
        """Have the configuration read anew, and wait until a new worker serves by it.

        Invalid when HAProxy could not start by it: the old worker then goes on. Before 2.7 `reload` itself answers nothing, so the outcome
        is read from the master's counters.
        """
        before = await self.processes()
        await exchange(self._socket, "reload", timeout=self._timeout, writes=True)
        try:
            async with asyncio.timeout(within):
                now = await self._after(before)
        except TimeoutError as error:
            raise Unreachable(f"HAProxy did not finish a reload within {within:.0f} s") from error
        if now.failed > 0 or not set(now.workers) - set(before.workers):
            raise Invalid("HAProxy could not start by the new configuration and goes on by the old one; its log says why")
        return now

    async def _after(self, before: parse.Processes) -> parse.Processes:
        while True:
            try:
                now = await self.processes()
            except Unreachable:
                now = before
            if now.reloads > before.reloads and now.workers:
                return now
            await asyncio.sleep(_POLL)

    async def worker_statistics(self, pid: int, backends: Sequence[str] = ()) -> tuple[StatRow, ...]:
        """Counters of one worker, of one on its way out as well; of these backends, or of all.

        The master takes a line apart at each `;` and keeps what has no prefix for itself, so every question carries it.
        """
        if not backends:
            return parse.statistics(await self._patiently(f"@!{pid} show stat -1 6 -1"))
        found: list[StatRow] = []
        for batch in batches(f"@!{pid} show stat {name} 4 -1" for name in backends):
            found += parse.statistics(await self._patiently("; ".join(batch)))
        return tuple(found)
