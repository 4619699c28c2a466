"""All exchanges recorded from a real Marathon agree. One engine a file, so that the files can be played side by side."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from engine_process import engine
from marathon_replay import Player

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("unmeasured_programs")]
TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.jsonl"))


def test_the_recordings_are_here() -> None:
    assert {path.stem for path in TRANSCRIPTS} == {
        "backoff", "groups", "ids", "lifecycle", "partial_iso", "system", "validation", "validation_put",
    }  # fmt: skip


def hosts_in_maintenance(player: Player, *, enabled: bool) -> None:
    """While they are, nothing starts: what a request meets before the tasks run is met on a busy machine, too."""
    for agent in player.send({"method": "GET", "path": "/sandbox/agents"})[2]["agents"]:
        body = json.dumps({"enabled": enabled})
        player.send({"method": "POST", "path": f"/sandbox/agents/{agent['id']}/maintenance", "body": body})


def all_healthy(player: Player) -> None:
    """What was killed is up again and has been checked, which takes longer on a busy machine than where this was recorded."""
    for _ in range(300):
        app = player.send({"method": "GET", "path": "/v2/apps/l/web"})[2]["app"]
        if app["tasksHealthy"] == app["instances"]:
            return
        time.sleep(0.1)


RECOVERED = 1317
"""The exchange of `lifecycle` that tells of an app after it has recovered from a kill."""

FIRST_LAUNCH = {1240: True, 1250: False}
"""Exchanges of `lifecycle` from which on no task may run yet, and from which on they do."""


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_recorded_exchanges_agree(transcript: Path, tmp_path: Path) -> None:
    with engine(tmp_path, "--agents", "2", "--runner", "process") as url:
        player = Player(url)

        def before(number: int) -> None:
            if (enabled := FIRST_LAUNCH.get(number)) is not None:
                hosts_in_maintenance(player, enabled=enabled)
            if number == RECOVERED:
                all_healthy(player)

        count, found = player.play(transcript, before=before)
    assert count > 0
    assert not found, "\n".join(map(str, found))
