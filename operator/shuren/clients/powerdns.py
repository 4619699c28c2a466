"""The `ZoneKeeper` port over PowerDNS' HTTP API (4.x, `api=yes`).

Sets that we keep carry a comment with the account `shuren`: all others are left alone. So the backend has to keep comments, as the SQL
backends do; the bind backend and LMDB before 4.7 do not. Source: doc.powerdns.com, "HTTP API".
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from shuren.clients.http import base_url
from shuren.domain.dns.rrsets import RecordSet, ZoneChange
from shuren.domain.errors import Denied, Invalid, Unreachable

ACCOUNT = "shuren"
_COMMENT = "kept by shuren dns; changes by hand do not last"
_AT_ONCE = 500
"""Sets of one request."""
_REFUSED = frozenset({401, 403})
_WRONG = frozenset({400, 409, 413, 422})
_NOT_FOUND = 404


class PowerDnsClient:
    """See the port. `url` is the server's base URL, `key` its `api-key`, `server` its id (of the authoritative server `localhost`)."""

    def __init__(
        self,
        url: str,
        *,
        key: str,
        server: str = "localhost",
        tls: ssl.SSLContext | None = None,
        timeout: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = f"{base_url(url)}/api/v1/servers/{quote(server, safe='')}/zones"
        self._http = httpx.AsyncClient(
            verify=tls if tls is not None else True,
            timeout=httpx.Timeout(timeout, connect=3.0),
            headers={"User-Agent": "shuren", "Accept": "application/json", "X-API-Key": key},
            transport=transport,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def read(self, zone: str) -> tuple[RecordSet, ...] | None:
        """See the port."""
        answer = await self._ask("GET", f"/{quote(zone, safe='')}")
        # 4.7 says 422 "Could not find domain" to some requests for a zone that is not there, and 404 to others
        if answer.status_code == _NOT_FOUND or (answer.status_code in _WRONG and "Could not find domain" in answer.text):
            return None
        self._require(answer, zone)
        try:
            return tuple(sorted(_sets(answer.json()["rrsets"], zone)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unreachable(f"PowerDNS at {self._url} answers with something else than a zone: {error!r}") from error

    async def create(self, zone: str, servers: Sequence[str]) -> None:
        """See the port."""
        body = {"name": zone, "kind": "Native", "nameservers": list(servers)}
        self._require(await self._ask("POST", "", body), zone)

    async def change(self, zone: str, change: ZoneChange) -> None:
        """See the port."""
        sets = [_removal(name, kind) for name, kind in change.remove] + [_replacement(one) for one in change.replace]
        for start in range(0, len(sets), _AT_ONCE):
            self._require(await self._ask("PATCH", f"/{quote(zone, safe='')}", {"rrsets": sets[start : start + _AT_ONCE]}), zone)

    async def _ask(self, verb: str, path: str, body: object = None) -> httpx.Response:
        try:
            answer = await self._http.request(verb, self._url + path, json=body)
        except httpx.HTTPError as error:
            raise Unreachable(f"PowerDNS does not answer at {self._url}: {error or type(error).__name__}") from error
        if answer.status_code in _REFUSED:
            raise Denied(
                f"PowerDNS at {self._url} refuses us: {answer.status_code}; is the key its api-key, and are we in webserver-allow-from?"
            )
        return answer

    def _require(self, answer: httpx.Response, zone: str) -> None:
        if answer.is_success:
            return
        said = f"PowerDNS at {self._url} answers {answer.status_code} about {zone}: {_words(answer)}"
        if answer.status_code in _WRONG or answer.status_code == _NOT_FOUND:
            raise Invalid(said)
        raise Unreachable(said)


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]


def _sets(given: Iterable[Mapping[str, Any]], zone: str) -> Iterable[RecordSet]:
    for one in given:
        if one["type"] == "SOA" or (one["type"] == "NS" and one["name"] == zone):
            continue
        yield RecordSet(
            name=one["name"],
            type=one["type"],
            ttl=int(one["ttl"]),
            records=tuple(sorted(record["content"] for record in one["records"])),
            ours=any(comment.get("account") == ACCOUNT for comment in one.get("comments", ())),
        )


def _replacement(one: RecordSet) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.type,
        "ttl": one.ttl,
        "changetype": "REPLACE",
        "records": [{"content": content, "disabled": False} for content in one.records],
        "comments": [{"content": _COMMENT, "account": ACCOUNT}],
    }


def _removal(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "changetype": "DELETE"}
