"""The runtime API of one HAProxy process (its `stats socket`, or a worker behind the master's socket)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from shuren.clients.haproxy import parse
from shuren.clients.haproxy.wire import exchange
from shuren.domain.errors import Conflict, Invalid, Unreachable
from shuren.domain.haproxy.converge import ObservedServer, batches
from shuren.domain.haproxy.document import MapEntry
from shuren.domain.haproxy.traffic import StatRow

_PAYLOAD = 12_000
"""Bytes of a payload; HAProxy holds all of it in one buffer of `tune.bufsize` (16384)."""


class RuntimeApi:
    """Commands and questions. `timeout` in seconds for one exchange."""

    def __init__(self, socket: Path, *, timeout: float = 5.0) -> None:
        self._socket = socket
        self._timeout = timeout

    async def ask(self, question: str) -> str:
        """The answer as it is."""
        return await exchange(self._socket, question, timeout=self._timeout)

    async def servers(self, backends: Sequence[str] = ()) -> tuple[ObservedServer, ...]:
        """Servers of these backends, of all when none is named. A backend that does not exist has none."""
        if not backends:
            return parse.servers(await self.ask("show servers state"))
        found: list[ObservedServer] = []
        for batch in batches(f"show servers state {name}" for name in backends):
            answer = await self.ask("; ".join(batch))
            found += parse.servers(answer) if "\n#" in answer else ()
        return tuple(found)

    async def servers_as_text(self) -> str:
        """The same as HAProxy reads it again from its state file."""
        return await self.ask("show servers state")

    async def backends(self) -> frozenset[str]:
        """Names of all backends, those without servers too."""
        return frozenset(line for line in (await self.ask("show backend")).splitlines() if line and not line.startswith("#"))

    async def statistics(self, backends: Sequence[str] = ()) -> tuple[StatRow, ...]:
        """Counters of servers of these backends; of all backends and their servers when none is named."""
        if not backends:
            return parse.statistics(await self.ask("show stat -1 6 -1"))
        found: list[StatRow] = []
        for batch in batches(f"show stat {name} 4 -1" for name in backends):
            found += parse.statistics(await self.ask("; ".join(batch)))
        return tuple(found)

    async def info(self) -> dict[str, str]:
        """Version, pid, connections, …"""
        return parse.info(await self.ask("show info"))

    async def execute(self, commands: Iterable[str]) -> tuple[str, ...]:
        """Carry commands out in order, many to a line. Gives what was refused, in HAProxy's words; the others went through.

        UnknownOutcome when an answer did not come: some of them may have been carried out.
        """
        lines = ["; ".join(batch) for batch in batches(commands)]
        if not lines:
            return ()
        # after `prompt` HAProxy reads line after line of one connection: none waits for an answer, and others get their turn between them
        said = "\n".join(("prompt", "set severity-output number", *lines, "quit"))
        return parse.refusals(await exchange(self._socket, said, timeout=self._timeout * len(lines), writes=True))

    # ------------------------------------------------------------------------------------------------ certificates

    async def set_certificate(self, file: str, pem: str) -> None:
        """Replace a certificate that is in use. Conflict when HAProxy holds none of that file; Invalid when it refuses this one."""
        await self._replace("cert", file, pem)

    async def set_authority(self, file: str, pem: str) -> None:
        """Replace the certificates to trust of a file that is in use."""
        await self._replace("ca-file", file, pem)

    async def _replace(self, kind: str, file: str, pem: str) -> None:
        payload = "\n".join(line for line in pem.splitlines() if line.strip())
        if len(payload) > _PAYLOAD:
            raise Conflict(f"{file} has {len(payload)} bytes, more than HAProxy takes at run time")
        answer = await exchange(self._socket, f"set ssl {kind} {file} <<\n{payload}\n", timeout=self._timeout, writes=True)
        if "ransaction" not in answer:
            kept = "is not" in answer or "not found" in answer.lower() or "doesn't exist" in answer.lower()
            raise (Conflict if kept else Invalid)(f"HAProxy does not take {file}: {' '.join(answer.split())[:300]}")
        committed = await exchange(self._socket, f"commit ssl {kind} {file}", timeout=self._timeout, writes=True)
        if "Success" not in committed:
            await exchange(self._socket, f"abort ssl {kind} {file}", timeout=self._timeout, writes=True)
            raise Invalid(f"HAProxy does not take {file}: {' '.join(committed.split())[:300]}")

    # --------------------------------------------------------------------------------------------------------- maps

    async def replace_map(self, name: str, entries: Sequence[MapEntry]) -> None:
        """Put all entries of a map in place at once; requests see the old ones or the new ones, never a mixture."""
        answer = await exchange(self._socket, f"prepare map {name}", timeout=self._timeout, writes=True)
        version = re.search(r"created: (\d+)", answer)
        if version is None:
            raise Conflict(f"HAProxy has no map {name}: {answer.strip()[:200]}")
        for payload in _payloads(entries):
            refused = await exchange(self._socket, f"add map @{version[1]} {name} <<\n{payload}", timeout=self._timeout, writes=True)
            if refused.strip():
                raise Unreachable(f"HAProxy does not take entries of {name}: {refused.strip()[:200]}")
        committed = await exchange(self._socket, f"commit map @{version[1]} {name}", timeout=self._timeout, writes=True)
        if committed.strip():
            raise Unreachable(f"HAProxy does not put {name} in place: {committed.strip()[:200]}")

    async def map_entries(self, name: str) -> frozenset[MapEntry]:
        """What a map holds now."""
        fields = (line.split(" ", 2) for line in (await self.ask(f"show map {name}")).splitlines() if line.startswith("0x"))
        return frozenset(MapEntry(f[1], f[2]) for f in fields)


def _payloads(entries: Sequence[MapEntry]) -> Iterable[str]:
    part: list[str] = []
    size = 0
    for entry in entries:
        line = f"{entry.key} {entry.value}\n"
        if part and size + len(line) > _PAYLOAD:
            yield "".join(part)
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield "".join(part)
