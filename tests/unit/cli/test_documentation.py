"""docs/cli.md names every command and every exit status, and nothing loads what it does not need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import typer.main
from typer.testing import CliRunner

from shuren.cli.app import app
from shuren.cli.exits import Exit

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
ELSEWHERE = {"sandbox", "operator", "demo", "lb", "dns", "version"}
"""Commands with documents of their own."""


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"`(?:kubectl )?(?:shuren )?([a-z]+)", TEXT))
    assert commands - ELSEWHERE - named == set()
    assert set(re.findall(r"^ {4}(?:kubectl )?shuren ([a-z]+)", TEXT, re.MULTILINE)) <= commands


def test_every_exit_status_is_documented() -> None:
    assert [int(number) for number in re.findall(r"^\| (\d) \|", TEXT, re.MULTILINE)] == [int(status) for status in Exit]


def test_each_command_has_help_that_says_what_it_is_for() -> None:
    for name in set(typer.main.get_command(app).commands) - {"sandbox", "shards"}:  # type: ignore[attr-defined]
        shown = CliRunner().invoke(app, [name, "--help"])
        assert shown.exit_code == 0, name
        assert len(shown.stdout.splitlines()) > 4, name


def test_every_setting_of_the_operator_is_in_its_help() -> None:
    rooms = (ROOT / "operator" / "shuren" / "operator" / "settings.py", ROOT / "operator" / "shuren" / "clients" / "page_tls.py")
    read = {name for room in rooms for name in re.findall(r'"(SHUREN_[A-Z_]+)"', room.read_text(encoding="utf-8"))}
    shown = CliRunner().invoke(app, ["operator", "--help"], env={"COLUMNS": "140"}).stdout
    assert len(read) > 10
    assert {name for name in read if name not in shown} == set()


def test_the_version_waits_for_nothing() -> None:
    script = "import sys; from shuren.cli import app; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"kopf", "kubernetes", "httpx", "kazoo", "pydantic"} & set(ran.stdout.split()) == set()
