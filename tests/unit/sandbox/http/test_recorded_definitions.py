"""The recorded exchanges that are about definitions only, played without a world: what a real Marathon takes, refuses and stores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marathon_replay import differences
from quiet_engine import QuietEngine
from shuren.sandbox.http.app import build_app
from wire import Wire

RECORDINGS = Path(__file__).parents[3] / "contract" / "engine" / "transcripts"


@pytest.mark.parametrize("name", ["ids", "validation", "validation_put", "partial_iso", "system"])
async def test_recorded_definitions_agree(name: str) -> None:
    engine = QuietEngine()
    found = []
    async with Wire(build_app(engine, address=engine.address)) as wire:
        for line in (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            request, want = record["request"], record.get("response")
            reply = await wire.send(request["method"], request["path"], request.get("body"), headers=request.get("headers"))
            if want is None:
                continue
            expected = want["json"] if "json" in want else want.get("text") or ""
            got = reply.json if "json" in want else reply.body.decode()
            lines = [] if reply.status == want["status"] else [f"status: want {want['status']}, got {reply.status}"]
            if not (isinstance(expected, str) and expected.startswith("<")):
                lines += differences(expected, got)
            found += [f"{record['n']} {record['label']}: {text}" for text in lines]
    assert not found, "\n".join(found)
