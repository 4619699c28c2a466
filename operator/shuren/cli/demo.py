"""`shuren demo`: the first full way through, told step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shuren.devenv.places import default_state_dir


def demo(
    state_dir: Annotated[Path, typer.Option(help="Directory of the demo's sandbox.", default_factory=default_state_dir)],
    *,
    once: Annotated[bool, typer.Option("--once", help="Verify, take everything down and exit with the result.")] = False,
) -> None:
    """Two apps from `kubectl apply` to answering tasks; one rolled and scaled under load, one broken and rolled back by itself."""
    from shuren.devenv.demo import run_demo  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(run_demo(state_dir, once=once))
