"""Documents hold together: links lead somewhere, and the two READMEs say the same commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed]


def test_links_between_documents_lead_somewhere() -> None:
    lost = []
    for document in documents():
        text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in LINK.findall(text):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (document.parent / target.partition("#")[0]).exists():
                lost.append(f"{document.relative_to(ROOT)} → {target}")
    assert lost == []


def test_both_readmes_have_the_same_blocks() -> None:
    english, chinese = (re.findall(r"```\w*\n.*?```", (ROOT / name).read_text(), re.DOTALL) for name in ("README.md", "README.zh.md"))
    assert len(english) > 5
    assert english == chinese


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "howto").glob("*.md")), ids=lambda page: page.stem)
def test_every_how_to_is_in_the_index(page: Path) -> None:
    assert f"(howto/{page.name})" in (ROOT / "docs" / "README.md").read_text()
