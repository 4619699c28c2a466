"""What shells are told when somebody presses Tab."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = "import sys; from shuren.cli.completion import kubectl; sys.argv[0] = 'kubectl_complete-shuren'; kubectl()"


def answer(*words: str) -> tuple[dict[str, str], str]:
    """Suggestions with their help, and what kubectl's shell is to do."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    *found, last = ran.stdout.splitlines()
    return {value: words for value, _, words in (line.partition("\t") for line in found)}, last


def test_kubectl_is_told_commands_and_options_with_their_help() -> None:
    found, last = answer("s")
    assert {"status", "suspend", "shards", "sandbox"} <= found.keys()
    assert all(found.values())
    assert last == ":4"
    assert answer("plan", "--ex")[0].keys() == {"--exit-code"}


def test_the_shells_own_completion() -> None:
    environment = {**os.environ, "_SHUREN_COMPLETE": "complete_bash", "COMP_WORDS": "shuren pla", "COMP_CWORD": "1"}
    program = "from shuren.cli.app import app; app(prog_name='shuren')"
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["plan"], ran.stderr
