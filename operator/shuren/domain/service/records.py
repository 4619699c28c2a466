"""Discovery records that existing clients read: Finagle serversets, Curator x-discovery, SmartStack nerve.

Each is a folder of the user's choice in the same ZooKeeper, with a persistent node for each ready endpoint: records must outlive a restart
of the operator, so they cannot be ephemeral. What we wrote is listed in a journal below our own root, which is how we know our nodes from
others', and how nodes of endpoints that are gone are found again. A folder that holds nodes of somebody else is left alone altogether.

Formats: Finagle `serverset2` and Prometheus' discovery for serversets and nerve; Curator's `ServiceInstance`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from shuren.domain.errors import Invalid
from shuren.domain.service.values import Endpoint, EndpointState

JOURNAL = "/records"
"""Below our root: `<ns>.<svc>` lists the nodes that we keep for a service."""


class RecordFormat(Enum):
    """SERVERSET: Finagle, Aurora. CURATOR: x-discovery as of CURATOR-275. CURATOR_PLAIN: without `enabled`, which older readers refuse.

    NERVE: SmartStack.
    """

    SERVERSET = "serverset"
    CURATOR = "curator"
    CURATOR_PLAIN = "curatorPlain"
    NERVE = "nerve"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordFolder:
    """One folder of records. `path` is absolute; its last part is the name of the service for Curator.

    `additional` names further ports to tell (serversets only).
    """

    format: RecordFormat
    path: str
    additional: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordChange:
    """What to do in ZooKeeper, in this order: folders to make, nodes to create, to change, to delete; then the journal.

    Paths are absolute. `kept` is the new content of the journal: data by path.
    """

    folders: tuple[str, ...] = ()
    create: Mapping[str, bytes] = field(default_factory=dict)
    change: Mapping[str, bytes] = field(default_factory=dict)
    delete: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.create or self.change or self.delete)


def records(folder: RecordFolder, endpoints: Collection[Endpoint]) -> dict[str, bytes]:
    """The nodes that a folder should hold: data by path. Only ready endpoints are told, none of weight 0: most readers know no weight."""
    ready = [e for e in endpoints if e.state is EndpointState.READY and e.weight]
    match folder.format:
        case RecordFormat.SERVERSET:
            found = dict(_serverset(ready, folder.additional))
        case RecordFormat.CURATOR | RecordFormat.CURATOR_PLAIN:
            name = folder.path.rpartition("/")[2]
            found = {_instance_id(e): _curator(name, e, enabled=folder.format is RecordFormat.CURATOR) for e in ready}
        case RecordFormat.NERVE:
            numbers = _numbers(ready)
            found = {f"{_safe(e.id)}_{numbers[e.id]:010d}": _dump(_nerve(e)) for e in ready}
    return {f"{folder.path}/{name}": data for name, data in found.items()}


def change(folders: Collection[RecordFolder], endpoints: Collection[Endpoint], journal: Mapping[str, str]) -> RecordChange:
    """The difference between what a service's folders should hold and what the journal says that we wrote (digest by path)."""
    wanted = {path: data for folder in folders for path, data in records(folder, endpoints).items()}
    return RecordChange(
        folders=tuple(sorted(folder.path for folder in folders)),
        create={path: data for path, data in wanted.items() if path not in journal},
        change={path: data for path, data in wanted.items() if path in journal and journal[path] != digest(data)},
        delete=tuple(sorted(path for path in journal if path not in wanted)),
        kept={path: digest(data) for path, data in wanted.items()},
    )


def foreign(folder: RecordFolder, children: Iterable[str], journal: Collection[str]) -> tuple[str, ...]:
    """Nodes in a folder that are not ours: somebody else keeps his records there."""
    return tuple(sorted(name for name in children if f"{folder.path}/{name}" not in journal))


def digest(data: bytes) -> str:
    """A short name of a node's data."""
    return hashlib.sha256(data).hexdigest()[:16]


def encode_journal(kept: Mapping[str, str]) -> bytes:
    """Data of `/records/<ns>.<svc>`."""
    return _dump({"nodes": dict(sorted(kept.items()))})


def decode_journal(data: bytes) -> dict[str, str]:
    """Invalid when it is none: nothing may be deleted then, since nothing is known to be ours."""
    try:
        nodes = json.loads(data)["nodes"] if data else {}
        return {str(path): str(mark) for path, mark in nodes.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"the journal of records cannot be read: {error!r}") from error


# ---------------------------------------------------------------------------------------------------- formats


def _serverset(ready: Collection[Endpoint], additional: Collection[str]) -> Iterable[tuple[str, bytes]]:
    """Members, and one vector with their weights (a fraction of the usual weight) when they are not all the same."""
    names = {name: f"member_{number:010d}" for name, number in _numbers(ready).items()}
    for e in ready:
        document: dict[str, Any] = {
            "serviceEndpoint": {"host": e.address, "port": e.port},
            "additionalEndpoints": {name: {"host": e.address, "port": e.ports[name]} for name in additional if name in e.ports},
            "status": "ALIVE",
        }
        yield names[e.id], _dump(document)
    if len({e.weight for e in ready}) > 1:
        largest = max(e.weight for e in ready)
        vector = [{"select": f"member={names[e.id]}", "weight": round(e.weight / largest, 4), "priority": 1} for e in ready]
        yield f"vector_{_VECTOR:010d}", _dump({"vector": sorted(vector, key=lambda v: str(v["select"]))})


def _curator(name: str, e: Endpoint, *, enabled: bool) -> bytes:
    document: dict[str, Any] = {
        "name": name,
        "id": _instance_id(e),
        "address": e.address,
        "port": e.port,
        "sslPort": None,
        "payload": None,
        "registrationTimeUTC": 0,
        "serviceType": "PERMANENT",
        "uriSpec": None,
    }
    if enabled:
        document["enabled"] = True
    return _dump(document)


def _nerve(e: Endpoint) -> dict[str, Any]:
    return {"host": e.address, "port": e.port, "name": e.task or e.id, "weight": e.weight}


_FIRST = 1_000_000_000
"""Numbers of our nodes begin here: ZooKeeper's own sequence of a folder, which others' nodes would get, counts from 0."""
_VECTOR = _FIRST - 1
_LAST = 2**31 - 1
"""ZooKeeper's sequence is a 32-bit number, so that readers may take it for one."""


def _numbers(ready: Collection[Endpoint]) -> dict[str, int]:
    """A number for each endpoint, the same as long as it exists (but for the rare pair that would share one)."""
    taken: set[int] = set()
    numbers: dict[str, int] = {}
    for name in sorted(e.id for e in ready):
        number = _FIRST + int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % (_LAST - _FIRST)
        while number in taken:
            number = number + 1 if number < _LAST else _FIRST
        taken.add(number)
        numbers[name] = number
    return numbers


def _instance_id(e: Endpoint) -> str:
    return _safe(e.id)


def _safe(name: str) -> str:
    """A name of a node: slashes cannot be in it, and readers split nerve's names at the last underscore."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-._:") else "-" for c in name)
    if plain == name:
        return plain
    return f"{plain}-{base64.b32encode(hashlib.sha256(name.encode()).digest()[:5]).decode().lower()}"


def _dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
