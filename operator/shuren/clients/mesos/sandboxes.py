"""Files in the sandboxes of tasks, over the agents' own HTTP API (`/state`, `/files/browse`, `/files/read` of Mesos 1.x).

An agent is found by its Mesos id through the masters. In its state, executors name the directory of their sandbox, also those that have
ended until the agent collects them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from shuren.clients.http import base_url
from shuren.domain.errors import Denied, Gone, Unreachable

_REFUSED = frozenset({401, 403})
PIECE = 64 * 1024
"""Bytes of one read; an agent gives no more than 16 pages at once."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """Where a task's files lie: base URL of the agent, and the directory there.

    `container` is the id of the task's container as Mesos writes it (`{"value": …}`, with `parent` in a pod), empty when the agent does not
    tell. `process` is the agent's name within its address: its own endpoints lie below that, files do not.
    """

    agent: str
    directory: str
    process: str = "slave(1)"
    container: Mapping[str, Any] = field(default_factory=dict, hash=False)


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
        where, process = await self._agent(agent)
        state = await self._json(where, f"/{process}/state", {})
        for executor in _executors(state):
            tasks = [*(executor.get("tasks") or ()), *(executor.get("completed_tasks") or ()), *(executor.get("queued_tasks") or ())]
            found = next((one for one in tasks if one.get("id") == task), None)
            if found is not None or executor.get("id") == task:
                container = _container(found or {}, executor)
                return Sandbox(agent=where, process=process, directory=str(executor["directory"]), container=container)
        raise Gone(f"agent {where} knows no task {task} any more; its sandbox was collected")

    async def _agent(self, agent: str) -> tuple[str, str]:
        """Base URL and process of an agent, whose pid is `slave(1)@10.0.0.1:5051`."""
        last: Unreachable | Denied = Unreachable("no Mesos master is configured (spec.mesos.masters of the MesosCluster)")
        for master in self._masters:
            try:
                body = await self._json(master, "/slaves", {"slave_id": agent})
            except (Unreachable, Denied) as error:
                last = error
                continue
            for item in body.get("slaves") or ():
                if item.get("id") == agent:
                    process, _, place = str(item.get("pid") or "").partition("@")
                    return f"{self._scheme}://{place}", process
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


def _container(task: Mapping[str, Any], executor: Mapping[str, Any]) -> Mapping[str, Any]:
    for status in reversed(task.get("statuses") or ()):
        container = (status.get("container_status") or {}).get("container_id")
        if isinstance(container, dict) and container.get("value"):
            return container
    return {"value": str(executor["container"])} if executor.get("container") else {}


def _executors(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    frameworks: Iterable[Mapping[str, Any]] = [*(state.get("frameworks") or ()), *(state.get("completed_frameworks") or ())]
    for framework in frameworks:
        yield from framework.get("executors") or ()
        yield from framework.get("completed_executors") or ()
