"""What Marathon 1.11 checks about external volumes beyond one definition's shape: who may scale, and who shares what with whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shuren.sandbox.contract import Group

from .errors import Violation, refused

Json = Mapping[str, Any]
_READ_ONLY = ("SINGLE_NODE_READER_ONLY", "MULTI_NODE_READER_ONLY")
_SINGLE_WRITER = "MULTI_NODE_SINGLE_WRITER"


def _volumes(app: Json, provider: str) -> list[Json]:
    volumes = (app.get("container") or {}).get("volumes", ())
    return [volume for volume in volumes if volume.get("external", {}).get("provider") == provider]


def _mode(volume: Json) -> str:
    return str(volume["external"]["options"]["capability"]["accessMode"])


def _shareable(volume: Json) -> bool:
    return _mode(volume).startswith("MULTI_NODE_")


def _writes_alone(volume: Json) -> bool:
    """One of many may write, and this one does."""
    return _mode(volume) == _SINGLE_WRITER and volume["mode"] != "RO"


def csi_rules(app: Json) -> Iterator[Violation]:
    """CSI volumes of one app: read-only ones are mounted so, and what only one node can mount (or write) goes with one instance."""
    if any("capability" not in volume["external"]["options"] for volume in _volumes(app, "csi")):
        raise refused(500, "Bug. CSIVolumeValidator applied to DVDI external volume")  # read as the other kind, as a real one does
    volumes = (app.get("container") or {}).get("volumes", ())
    for index, volume in enumerate(volumes):
        if volume.get("external", {}).get("provider") == "csi" and _mode(volume) in _READ_ONLY and volume["mode"] != "RO":
            message = "CSI volume must be mounted readonly with a read-only access mode"
            yield Violation(path=f"/container/volumes({index})/volume", message=message)
    mine = _volumes(app, "csi")
    if not mine or app["instances"] <= 1:
        return
    got = f"got {app['instances']}, expected 1 or less"
    if not all(map(_shareable, mine)):
        yield Violation(path="/instances", message=f"{got} while non-shareable CSI volumes are defined")
    elif all(map(_writes_alone, mine)):
        yield Violation(path="/instances", message=f"{got} while a multi-node single-writer volume is defined mounted as read/write")


def _claims(app: Json, provider: str) -> Iterator[str]:
    """Names of the volumes that an app has for itself."""
    for volume in _volumes(app, provider):
        alone = not volume["external"].get("shared") if provider == "dvdi" else not _shareable(volume) or _writes_alone(volume)
        if alone and "name" in volume["external"]:
            yield volume["external"]["name"]


def names_twice(app: Json) -> list[str]:
    """Names of DVDI volumes that one app mounts more than once for itself."""
    names = list(_claims(app, "dvdi"))
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def conflicts(root: Group) -> Iterator[Violation]:
    """Volumes that several apps of the tree want for themselves: said of each app that mounts one, in its place in the tree."""
    for provider in ("dvdi", "csi"):
        owners: dict[str, list[str]] = {}
        for app in _everything(root):
            for name in _claims(app, provider):
                owners.setdefault(name, []).append(app["id"])
        if owners:
            yield from _conflicts_in(root, "", provider, owners)


def _everything(group: Group) -> Iterable[Json]:
    yield from group.apps.values()
    for child in group.groups.values():
        yield from _everything(child)


def _conflicts_in(group: Group, path: str, provider: str, owners: Mapping[str, list[str]]) -> Iterator[Violation]:
    for index, app in enumerate(group.apps.values()):
        for volume in _volumes(app, provider):
            if provider == "csi" and _mode(volume) == _SINGLE_WRITER and volume["mode"] == "RO":
                continue
            name = volume["external"]["name"]
            others = [owner for owner in owners.get(name, ()) if owner != app["id"]]
            if others:
                message = f"Volume name '{name}' in {app['id']} conflicts with volume(s) of same name in app(s): {', '.join(others)}"
                yield Violation(path=f"{path}/apps({index})/container", message=message)
    for index, child in enumerate(group.groups.values()):
        yield from _conflicts_in(child, f"{path}/groups({index})", provider, owners)
