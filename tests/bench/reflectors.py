"""The floor and the peer of the event bench, as programs: a plain list+watch into a dictionary, and kopf with a handler that does
nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import aiohttp
import kopf

_PATH = "/apis/paas.shurenyun.com/v1alpha1/paasapps"


async def plain(server: str) -> None:
    """List in chunks, watch, keep the last state of each object by its name: the least that anybody has to do."""
    known: dict[str, Any] = {}
    async with aiohttp.ClientSession(server, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**20) as session:
        params: dict[str, str] = {"limit": "500"}
        while True:
            async with session.get(_PATH, params=params) as answer:
                page = await answer.json()
            for item in page["items"]:
                known[item["metadata"]["name"]] = item
            if not page["metadata"].get("continue"):
                break
            params["continue"] = page["metadata"]["continue"]
        watch = {"watch": "true", "resourceVersion": page["metadata"]["resourceVersion"], "timeoutSeconds": "3600"}
        async with session.get(_PATH, params=watch) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    event = json.loads(line)
                    item = event["object"]
                    if event["type"] == "DELETED":
                        known.pop(item["metadata"]["name"], None)
                    elif event["type"] != "BOOKMARK":
                        known[item["metadata"]["name"]] = item


def idle_kopf(server: str) -> None:
    """Kopf with one event handler that does nothing, and every setting that makes it cheaper."""
    registry = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=server)

    async def nothing(**_: Any) -> None:
        pass

    kopf.on.login(registry=registry)(login)
    kopf.on.event("paas.shurenyun.com", "v1alpha1", "paasapps", registry=registry)(nothing)
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.5
    kopf.configure(quiet=True)
    kopf.run(registry=registry, settings=settings, standalone=True, clusterwide=True)


def main() -> None:
    """`python -m bench.reflectors plain|kopf URL`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["plain", "kopf"])
    parser.add_argument("server")
    wanted = parser.parse_args()
    if wanted.which == "plain":
        asyncio.run(plain(wanted.server))
    else:
        idle_kopf(wanted.server)


if __name__ == "__main__":
    main()
