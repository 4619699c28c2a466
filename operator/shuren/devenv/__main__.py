"""`python -m shuren.devenv STATE_DIR`: the supervisor of a sandbox in the background; its options lie in the state directory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from shuren.devenv.errors import DevenvError
from shuren.devenv.options import Options
from shuren.devenv.places import StateDir
from shuren.devenv.progress import to_stderr
from shuren.devenv.supervisor import Supervisor


async def _supervise(state_dir: Path) -> None:
    await Supervisor(Options.read(StateDir.at(state_dir).config), to_stderr).run()


def main() -> int:
    """0 after an orderly end, 1 when it could not come up (the reason is in the state file and on standard error)."""
    try:
        asyncio.run(_supervise(Path(sys.argv[1])))
    except DevenvError as error:
        to_stderr(f"failed: {error.message}")  # the whole of it is in the state file
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
