"""The programs `shuren` and `kubectl-shuren`.

Each command has a module of its own and imports what it runs inside its function: `shuren version` must not wait for kopf.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console scripts."""
    from shuren.cli.app import app  # noqa: PLC0415 - importing the package alone must cost nothing
    from shuren.devenv.errors import DevenvError  # noqa: PLC0415
    from shuren.domain.errors import ShurenError  # noqa: PLC0415

    try:
        app()
    except (DevenvError, ShurenError) as error:  # a message, not a traceback: that is for bugs
        print(f"shuren: {error}", file=sys.stderr)
        sys.exit(1)


__all__ = ["main"]
