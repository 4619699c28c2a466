"""All exchanges recorded from a real Marathon agree. One engine a file, so that the files can be played side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine_process import engine
from marathon_replay import Player

pytestmark = pytest.mark.contract
TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.jsonl"))


def test_the_recordings_are_here() -> None:
    assert {path.stem for path in TRANSCRIPTS} == {
        "backoff", "groups", "ids", "lifecycle", "partial_iso", "system", "validation", "validation_put",
    }  # fmt: skip


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_recorded_exchanges_agree(transcript: Path, tmp_path: Path) -> None:
    with engine(tmp_path, "--agents", "2", "--runner", "process") as url:
        count, found = Player(url).play(transcript)
    assert count > 0
    assert not found, "\n".join(map(str, found))
