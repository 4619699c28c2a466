"""Who leads: a lock on a file in the state directory, which the kernel gives back when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LeaderLock:
    """At most one engine per state directory holds it. The holder writes its address beside it."""

    def __init__(self, directory: Path, address: str) -> None:
        self._lock = directory / "leader.lock"
        self._note = directory / "leader.json"
        self._address = address
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self) -> bool:
        """Tries once; True when this engine leads now."""
        if self._file is not None:
            return True
        file = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def announce(self) -> None:
        """Tells standbys where the leader is: called once it can serve."""
        part = self._note.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({"address": self._address}), encoding="utf-8")
        part.replace(self._note)

    def release(self) -> None:
        if self._file is None:
            return
        self._note.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def leader(self) -> str | None:
        """host:port of the living leader, None when there is none."""
        if self._file is not None:
            return self._address
        try:
            address = str(json.loads(self._note.read_text(encoding="utf-8"))["address"])
            file = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except (OSError, ValueError, KeyError):
            return None
        try:
            # A shared lock can be had only when nobody holds the exclusive one: then the note is a dead leader's.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return address
        finally:
            os.close(file)
        return None
