"""External volumes: who may scale, who must mount read-only, and who shares a volume with whom (Marathon's CSIProvider, DVDIProvider)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from quiet_engine import QuietEngine
from shuren.sandbox.contract import Settings
from shuren.sandbox.http.app import build_app
from wire import Wire

Json = dict[str, Any]
ALONE = "while non-shareable CSI volumes are defined"
WRITER = "while a multi-node single-writer volume is defined mounted as read/write"


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    engine = QuietEngine(settings=Settings(features=frozenset({"external_volumes"})))
    async with Wire(build_app(engine, address=engine.address)) as client:
        yield client


def csi(mode: str, mount: str = "RW", name: str = "v") -> Json:
    options = {"pluginName": "nfs", "capability": {"accessType": "mount", "accessMode": mode}}
    return {"containerPath": "d", "mode": mount, "external": {"provider": "csi", "name": name, "options": options}}


def dvdi(*, shared: bool = False) -> Json:
    external = {"provider": "dvdi", "name": "v", "shared": shared, "options": {"dvdi/driver": "rexray"}}
    return {"containerPath": "d", "mode": "RW", "external": external}


def app(app_id: str, volume: Json, *, instances: int = 1) -> Json:
    container = {"type": "MESOS", "docker": {"image": "x"}, "volumes": [volume]}
    return {"id": app_id, "instances": instances, "container": container}


@pytest.mark.parametrize(
    ("volume", "instances", "expected"),
    [
        (csi("SINGLE_NODE_WRITER"), 0, {}),
        (csi("SINGLE_NODE_WRITER"), 2, {"/instances": [f"got 2, expected 1 or less {ALONE}"]}),
        (csi("SINGLE_NODE_READER_ONLY", "RO"), 3, {"/instances": [f"got 3, expected 1 or less {ALONE}"]}),
        (csi("MULTI_NODE_SINGLE_WRITER"), 2, {"/instances": [f"got 2, expected 1 or less {WRITER}"]}),
        (csi("MULTI_NODE_SINGLE_WRITER", "RO"), 2, {}),
        (csi("MULTI_NODE_MULTI_WRITER"), 2, {}),
        (csi("MULTI_NODE_READER_ONLY", "RO"), 2, {}),
        (
            csi("SINGLE_NODE_READER_ONLY"),
            1,
            {"/container/volumes(0)/volume": ["CSI volume must be mounted readonly with a read-only access mode"]},
        ),
    ],
)
async def test_csi_volumes_of_one_app(wire: Wire, volume: Json, instances: int, expected: Json) -> None:
    reply = await wire.post("/v2/apps", app("/a", volume, instances=instances))
    found = {detail["path"]: detail["errors"] for detail in reply.json.get("details", ())}
    assert (reply.status, found) == (422 if expected else 201, expected)


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        (csi("SINGLE_NODE_WRITER"), csi("SINGLE_NODE_WRITER"), False),
        (csi("SINGLE_NODE_WRITER"), csi("SINGLE_NODE_WRITER", name="w"), True),
        (csi("MULTI_NODE_READER_ONLY", "RO"), csi("MULTI_NODE_READER_ONLY", "RO"), True),
        (csi("MULTI_NODE_SINGLE_WRITER", "RO"), csi("MULTI_NODE_SINGLE_WRITER"), True),
        (csi("MULTI_NODE_SINGLE_WRITER"), csi("MULTI_NODE_SINGLE_WRITER"), False),
        (csi("MULTI_NODE_MULTI_WRITER"), csi("MULTI_NODE_MULTI_WRITER"), True),
        (dvdi(), dvdi(), False),
        (dvdi(shared=True), dvdi(shared=True), True),
        (dvdi(), csi("SINGLE_NODE_WRITER"), True),
    ],
)
async def test_who_shares_a_volume(wire: Wire, first: Json, second: Json, *, fits: bool) -> None:
    assert (await wire.post("/v2/apps", app("/a", first))).status == 201
    reply = await wire.post("/v2/apps", app("/g/b", second))
    if fits:
        assert reply.status == 201
        return
    words = "Volume name 'v' in {} conflicts with volume(s) of same name in app(s): {}"
    assert (reply.status, reply.json["details"]) == (
        422,
        [
            {"path": "/apps(0)/container", "errors": [words.format("/a", "/g/b")]},
            {"path": "/groups(0)/apps(0)/container", "errors": [words.format("/g/b", "/a")]},
        ],
    )
    assert (await wire.put("/v2/apps/a", app("/a", first))).status == 200, "an app is in no conflict with itself"


async def test_a_shared_volume_may_be_mounted_twice_by_one_app(wire: Wire) -> None:
    for shared in (True, False):
        body = app(f"/a{int(shared)}", dvdi(shared=shared))
        body["container"]["volumes"].append(dvdi(shared=shared) | {"containerPath": "e"})
        reply = await wire.post("/v2/apps", body)
        found = [error for detail in reply.json.get("details", ()) for error in detail["errors"]]
        twice = "Requested DVDI volume 'v' is declared more than once within app /a0"
        assert (twice in found) is (not shared)


async def test_csi_without_a_capability_is_read_as_the_other_kind(wire: Wire) -> None:
    reply = await wire.post("/v2/apps", app("/a", csi("SINGLE_NODE_WRITER") | {"external": {"provider": "csi", "name": "v"}}))
    assert (reply.status, reply.json) == (500, {"message": "Bug. CSIVolumeValidator applied to DVDI external volume"})
