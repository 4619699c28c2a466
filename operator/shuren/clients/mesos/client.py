"""The `Mesos` port over httpx.

`GET /metrics/snapshot` is answered by every master and says whether it leads (`master/elected`), how many agents are active and how much
of what is used; `GET /version` names the release. Both are small whatever the size of the cluster, unlike `/state`.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from shuren.clients.http import base_url
from shuren.domain.cluster import Amounts, MesosAgent, MesosSummary
from shuren.domain.errors import Denied, ShurenError, Unreachable

_REFUSED = frozenset({401, 403})


class MesosClient:
    """See the port. Masters are asked in the order given until one says that it leads; that one is asked first the next time.

    `login` is a user and a password for HTTP's basic authentication, which Mesos asks for with --authenticate_http_readonly.
    """

    def __init__(
        self,
        masters: Sequence[str],
        *,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._masters = [base_url(url) for url in masters]
        self._http = httpx.AsyncClient(
            auth=login,
            verify=tls if tls is not None else True,
            timeout=httpx.Timeout(timeout, connect=3.0),
            headers={"User-Agent": "shuren", "Accept": "application/json"},
            transport=transport,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def summary(self) -> MesosSummary:
        """See the port."""
        last: ShurenError = Unreachable("no Mesos master is configured")
        for master in list(self._masters):
            try:
                metrics = await self._json(master, "/metrics/snapshot")
                if not metrics.get("master/elected"):
                    last = Unreachable(f"Mesos master {master} does not lead")
                    continue
                version = await self._json(master, "/version")
            except ShurenError as error:
                last = error
                continue
            self._masters.remove(master)
            self._masters.insert(0, master)
            return MesosSummary(
                version=str(version.get("version", "")),
                leader=urlsplit(master).netloc,
                agents=int(_number(metrics, "master/slaves_active")),
                total=_amounts(metrics, "total"),
                used=_amounts(metrics, "used"),
            )
        raise last

    async def agents(self) -> tuple[MesosAgent, ...]:
        """See the port. `GET /slaves` of the master that led last; a master that does not lead redirects, which counts as no answer."""
        last: ShurenError = Unreachable("no Mesos master is configured")
        for master in list(self._masters):
            try:
                body = await self._json(master, "/slaves")
            except ShurenError as error:
                last = error
                continue
            items = body.get("slaves")
            if isinstance(items, list):
                found = (_agent(item) for item in items if isinstance(item, dict))
                return tuple(sorted((agent for agent in found if agent.id), key=lambda agent: agent.id))
            last = Unreachable(f"Mesos master {master} names no agents")
        raise last

    async def _json(self, master: str, path: str) -> Mapping[str, Any]:
        try:
            answer = await self._http.get(master + path)
            if answer.status_code in _REFUSED:
                raise Denied(f"Mesos master {master} refuses us: {answer.status_code}")
            answer.raise_for_status()
            body = answer.json()
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise Unreachable(f"Mesos master {master} does not answer {path}: {error or type(error).__name__}") from error
        if not isinstance(body, dict):
            raise Unreachable(f"Mesos master {master} answers {path} with something else than a JSON object")
        return body


def _agent(item: Mapping[str, Any]) -> MesosAgent:
    """`pid` is `slave(1)@address:port`, with brackets around an IPv6 address."""
    _, _, place = str(item.get("pid") or "").partition("@")
    attributes, domain = item.get("attributes"), item.get("domain")
    zone = attributes.get("zone") if isinstance(attributes, dict) else None
    fault = domain.get("fault_domain") if isinstance(domain, dict) else None
    if isinstance(fault, dict) and isinstance(fault.get("zone"), dict):
        zone = fault["zone"].get("name") or zone
    return MesosAgent(
        id=str(item.get("id") or ""),
        hostname=str(item.get("hostname") or ""),
        address=place.rpartition(":")[0].strip("[]"),
        zone=str(zone or ""),
        active=item.get("active") is not False,
        attributes=dict(_texts(attributes)),
        going=isinstance(item.get("drain_info"), dict) or item.get("deactivated") is True,
    )


def _texts(attributes: object) -> Iterable[tuple[str, str]]:
    """Scalars are numbers in Mesos' JSON (`{"rack": 7.0}`), all else is text."""
    for name, value in attributes.items() if isinstance(attributes, dict) else ():
        if isinstance(value, (str, int, float)):
            yield str(name), value if isinstance(value, str) else f"{value:g}"


def _number(metrics: Mapping[str, Any], name: str) -> float:
    value = metrics.get(name, 0)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) and value >= 0 else 0.0


def _amounts(metrics: Mapping[str, Any], which: str) -> Amounts:
    return Amounts(
        cpus=_number(metrics, f"master/cpus_{which}"),
        mem=_number(metrics, f"master/mem_{which}"),
        disk=_number(metrics, f"master/disk_{which}"),
        gpus=_number(metrics, f"master/gpus_{which}"),
    )
