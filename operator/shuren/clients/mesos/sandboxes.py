"""Files in the sandboxes of tasks, over the agents' own HTTP API (`/state`, `/files/browse`, `/files/read` of Mesos 1.x).

An agent is found by its Mesos id through the masters. In its state, executors name the directory of their sandbox, also those that have
ended until the agent collects them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from shuren.clients.http import base_url
from shuren.domain.errors import Denied, Gone, Unreachable

_REFUSED = frozenset({401, 403})
PIECE = 64 * 1024
"""Bytes of one read; an agent gives no more than 16 pages at once."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """Where a task's files lie: base URL of the agent, and the directory there."""

    agent: str
    directory: str


class Sandboxes:
    """See the module. Raises Unreachable, Denied; Gone when there is no such agent, task or file (any more).

    `login` is shown to masters and agents; `secure`: agents are asked over TLS, as masters are.
    """

    def __init__(
        self,
        masters: Sequence[str],
        *,
        login: tuple[str, str] | None = None,
        secure: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._masters = [base_url(url) for url in masters]
        self._scheme = "https" if secure else "http"
        self._http = httpx.AsyncClient(
            auth=login, timeout=httpx.Timeout(timeout, connect=3.0), headers={"User-Agent": "shuren"}, transport=transport, trust_env=False
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def find(self, task: str, *, agent: str) -> Sandbox:
        """The sandbox of a task; `agent` is Mesos' id of its agent."""
        where = await self._agent(agent)
        state = await self._json(where, "/state", {})
        for executor in _executors(state):
            tasks = [*(executor.get("tasks") or ()), *(executor.get("completed_tasks") or ()), *(executor.get("queued_tasks") or ())]
            if any(one.get("id") == task for one in tasks) or executor.get("id") == task:
                return Sandbox(agent=where, directory=str(executor["directory"]))
        raise Gone(f"agent {where} knows no task {task} any more; its sandbox was collected")

    async def _agent(self, agent: str) -> str:
        last: Unreachable | Denied = Unreachable("no Mesos master is configured (spec.mesos.masters of the MesosCluster)")
        for master in self._masters:
            try:
                body = await self._json(master, "/slaves", {"slave_id": agent})
            except (Unreachable, Denied) as error:
                last = error
                continue
            for item in body.get("slaves") or ():
                if item.get("id") == agent:
                    return f"{self._scheme}://{str(item.get('pid') or '').partition('@')[2]}"
            raise Gone(f"Mesos knows no agent {agent} any more")
        raise last

    async def files(self, sandbox: Sandbox) -> tuple[str, ...]:
        """Names of the files in a sandbox."""
        found = await self._json(sandbox.agent, "/files/browse", {"path": sandbox.directory})
        return tuple(str(item["path"]).rpartition("/")[2] for item in found)

    async def size(self, sandbox: Sandbox, file: str) -> int:
        """How long a file is now."""
        answer = await self._json(sandbox.agent, "/files/read", {"path": f"{sandbox.directory}/{file}", "offset": "-1"})
        return int(answer["offset"])

    async def read(self, sandbox: Sandbox, file: str, *, offset: int, length: int) -> str:
        """What stands at an offset: `length` bytes (at most `PIECE`) as text; what is no UTF-8 is replaced."""
        query = {"path": f"{sandbox.directory}/{file}", "offset": str(offset), "length": str(length)}
        return str((await self._json(sandbox.agent, "/files/read", query))["data"])

    async def _json(self, base: str, path: str, query: Mapping[str, str]) -> Any:
        try:
            answer = await self._http.get(base + path, params=query)
        except httpx.HTTPError as error:
            raise Unreachable(f"{base} does not answer {path}: {error or type(error).__name__}") from error
        if answer.status_code in _REFUSED:
            raise Denied(f"{base} refuses {path}: {answer.status_code}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise Gone(f"{base} has no {query.get('path', path)}")
        try:
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unreachable(f"{base} answers {path} with {answer.status_code} and no JSON") from error


def _executors(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    frameworks: Iterable[Mapping[str, Any]] = [*(state.get("frameworks") or ()), *(state.get("completed_frameworks") or ())]
    for framework in frameworks:
        yield from framework.get("executors") or ()
        yield from framework.get("completed_executors") or ()
