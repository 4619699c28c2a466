"""Rolling updates pass through the same states as recorded from a real Marathon, for each strategy and kind of check.

Times depend on the machine, so what is compared is the path: every pair (old instances, new instances with a task) that was recorded is
visited, and nothing leaves the limits that the recording shows (most tasks at a time, fewest running, fewest healthy).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox_room import Room

pytestmark = pytest.mark.contract
RECORDED = [json.loads(line) for line in (Path(__file__).parent / "rolling-updates.jsonl").read_text("utf-8").splitlines()]


def _check(protocol: str) -> dict[str, Any]:
    return {"protocol": protocol, "portIndex": 0, "path": "/", "gracePeriodSeconds": 20, "intervalSeconds": 1, "delaySeconds": 1}


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda r: r["name"])
async def test_same_path_as_the_real_one(recorded: dict[str, Any], tmp_path: Path) -> None:
    room = Room(tmp_path)
    fields = {
        "instances": recorded["instances"],
        "upgradeStrategy": recorded["upgradeStrategy"],
        "healthChecks": [_check(p) for p in recorded["healthChecks"]],
    }
    await room.settled("/app", **fields, env={"V": "1"})
    await room.put("/app", **fields, env={"V": "2"})
    config = room.instances("/app")[0].config
    visited: list[tuple[int, int, int, int]] = []

    def watch(*_: object) -> None:
        tasks = [i for i in room.instances("/app") if i.active]
        counts = room.leading.world.instances.counts("/app")
        old = sum(i.config == config for i in tasks)
        visited.append((old, len(tasks) - old, counts[1], counts[2]))

    room.leading.world.instances.listeners.append(watch)
    room.leading.world.instances.removed.append(watch)
    watch()
    if recorded["finished"]:
        room.until(lambda: not len(room.leading.deployments))
    else:
        with pytest.raises(AssertionError):
            room.until(lambda: not len(room.leading.deployments), seconds=60)
    seen = {(len(s["old"]), len(s["new"])) for s in recorded["steps"]}
    assert seen <= {v[:2] for v in visited}
    assert max(v[0] + v[1] for v in visited) == max(len(s["old"]) + len(s["new"]) for s in recorded["steps"])
    # A poller may miss a moment, so the recording is no lower bound where several tasks end together.
    assert min(v[2] for v in visited) >= min(s["running"] for s in recorded["steps"])
    if recorded["healthChecks"]:
        assert min(v[3] for v in visited) >= min(s["healthy"] for s in recorded["steps"])
    await room.close()
