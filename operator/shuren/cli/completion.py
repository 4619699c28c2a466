"""Completion of `kubectl shuren …`: kubectl runs `kubectl_complete-shuren` with the words so far and reads what it prints.

That is kubectl's own protocol (since 1.26), which is cobra's: a suggestion a line, its help behind a tab, and a last line with what the
shell is to do. Typer tells fish in the very same form, so that is what it is asked for. Completion of `shuren` itself is typer's
(`shuren --install-completion`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

_NO_FILES = ":4"
"""cobra's ShellCompDirectiveNoFileComp."""


def kubectl() -> None:
    """Entry point of `kubectl_complete-shuren`."""
    os.environ.update(asked(sys.argv[1:]))
    from shuren.cli.app import app  # noqa: PLC0415 - importing the module alone must cost nothing

    try:
        app(prog_name="shuren")
    except SystemExit:
        print(_NO_FILES)


def asked(words: Sequence[str]) -> Mapping[str, str]:
    """The question as typer takes it; the last of `words` is the one that is being written, maybe empty."""
    return {
        "_SHUREN_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": " ".join(["shuren", *words]),
    }
