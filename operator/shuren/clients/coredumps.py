"""Core files hold what the memory of a process holds, and so the values of Secrets."""

from __future__ import annotations

import resource


def refuse() -> None:
    """This process and those that it starts leave no core file, whatever the machine's default is."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
