"""What `python -m hatchling build` puts into the source archive: the program and what describes it, and no stray name-sakes of these."""

from __future__ import annotations

from pathlib import Path

from hatchling.builders.sdist import SdistBuilder

ROOT = Path(__file__).parents[2]


def test_it_holds_the_program_and_what_describes_it() -> None:
    files = [Path(file.relative_path) for file in SdistBuilder(str(ROOT)).recurse_included_files()]
    assert {file.parts[0] for file in files} == {"operator", "crds", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"}
    assert Path("operator/shuren/sharding/core/accel/native.c") in files
    assert Path("operator/hatch_accelerator.py") in files
