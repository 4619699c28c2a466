"""CPU per resource event, of the whole operator process, with 10,000 PaasApps.

Each program lists all apps and then gets a change of every app, as fast as it takes them: once of the spec, once of the status. The
operator is the real program as a standby (somebody else holds the Lease): it keeps its store warm and queues keys, which is all that
an event costs; passes are another bench's subject. Floor: a plain list+watch into a dictionary. Peer: kopf with a handler that does
nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import shuren
from bench import objects, worlds
from bench.programs import Program, program
from bench.report import Row
from bench.worlds import KOPF, NATIVE, Api
from shuren.ports.leadership import VERSION_ANNOTATION

_TARGET_MS = 0.10


async def run(directory: Path, *, apps: int, repeats: int) -> list[Row]:
    """All four programs on the same API server, one after the other; medians over `repeats` bursts."""
    async with worlds.fake_api(directory) as api:
        size = (await api.order("apps", count=apps, settled="true"))["bytes"]
        await api.order("object", objects.mesos_cluster(marathon="http://127.0.0.1:1", zookeeper="127.0.0.1:1", mesos="http://127.0.0.1:1"))
        await api.order("object", foreign_lease())
        found: dict[str, dict[str, float]] = {}
        for which in ("plain", "kopf no-op", NATIVE, KOPF):
            async with _watching(directory, api, which) as running:
                found[which] = await _measure(api, running, apps=apps, repeats=repeats)
    note = f"objects of {size:,} bytes"
    rows = []
    for what in ("spec", "status"):
        floor, peer = found["plain"][what], found["kopf no-op"][what]
        rows += [
            Row(
                bench="events",
                what=f"native source, change of {what}",
                measured=found[NATIVE][what],
                unit="ms CPU/event",
                against="plain list+watch",
                reference=floor,
                limit=_TARGET_MS,
                note=note,
            ),
            Row(
                bench="events",
                what=f"through kopf, change of {what}",
                measured=found[KOPF][what],
                unit="ms CPU/event",
                against="kopf no-op",
                reference=peer,
                limit=peer + _TARGET_MS,
            ),
        ]
    return rows


def foreign_lease(holder: str = "another-replica") -> objects.Object:
    """The operator's Lease, held by another replica of this release for as long as the bench takes; free when there is no holder."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "shuren-operator",
            "namespace": "shuren-system",
            "uid": objects.uid_of("lease"),
            "annotations": {VERSION_ANNOTATION: shuren.__version__},
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 100_000,
            "renewTime": "2026-01-01T00:00:00.000000Z",
            "leaseTransitions": 1,
        },
    }


@contextlib.asynccontextmanager
async def _watching(directory: Path, api: Api, which: str) -> AsyncIterator[Program]:
    if which in {NATIVE, KOPF}:
        async with worlds.operator(directory, api, which) as running:
            await worlds.until_synced(running)
            yield running.program
        return
    name = which.split(maxsplit=1)[0]
    with program(f"reflector-{name}", ["-m", "bench.reflectors", name, api.url], directory=directory) as running_peer:
        yield running_peer


async def _measure(api: Api, running: Program, *, apps: int, repeats: int) -> dict[str, float]:
    """CPU milliseconds per event, by what changed."""
    await api.until_delivered()
    found: dict[str, float] = {}
    for what in ("spec", "status"):
        spent = []
        for turn in range(repeats):
            before = await running.until_quiet()
            await api.order("touch", what=what, turn=turn + 1)
            await api.until_delivered()
            spent.append((await running.until_quiet() - before) / apps * 1000)
        found[what] = median(spent)
    return found
