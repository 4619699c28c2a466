"""One shard on one member: its keys on disk, and how a primary keeps the copies equal.

A file per shard, a line of JSON per write, written to the file before anything is answered; a copy that comes as a whole takes its place
by a rename. (What a process wrote survives its SIGKILL without fsync; a machine's end is not what these tests are about.)

A primary's time is told by its reign: the fence that it was activated with, and when. Copies take what comes under a reign that is not
below the highest they have seen: so whoever was replaced, however late, writes nowhere but on its own disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

Reign = tuple[int, int, int]
"""Term and epoch of the fence, and the nanosecond (of the machine's clock since its start) in which it was activated."""


class Deposed(Exception):
    """A higher reign has been seen."""


class OutOfStep(Exception):
    """A copy lacks what comes before; it needs the whole."""


class Replica:
    """Not for several threads at once but under `lock`, which a primary holds from the write to the last copy's answer."""

    def __init__(self, directory: Path, shard: int) -> None:
        self.shard = shard
        self.lock = threading.Lock()
        self.path = directory / f"shard-{shard}"
        self.data: dict[str, Any] = {}
        self.reign: Reign = (0, 0, 0)
        """The highest seen."""
        self.leads = False
        self.closed = False
        """Whether its keys went into others when the map was split."""
        self.at = 0
        """Writes in the present reign."""
        self.last: tuple[str, Any] | None = None
        """The last of them."""
        self.in_step: dict[str, int] = {}
        """As the primary: how far each copy is, in this reign."""
        self.excused: set[str] = set()
        """As the primary: copies that need not be asked before they join again."""
        self.joined: dict[str, str] = {}
        """As the primary: members that follow and are not in the table yet, with their addresses."""
        self._load()

    def _load(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError):
                    self._remember(json.loads(line))
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _remember(self, line: dict[str, Any]) -> None:
        if "key" in line:
            self.data[line["key"]] = line["value"]
        self.reign = max(self.reign, tuple(line["reign"]))

    def close(self) -> None:
        os.close(self._file)

    def forget(self) -> None:
        """Off the disk."""
        self.close()
        self.path.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------ as the primary

    def lead(self, reign: Reign) -> None:
        """A new reign begins: of every copy nothing is known. Deposed when a higher one was seen."""
        if reign < self.reign:
            raise Deposed(f"shard {self.shard}: {reign} after {self.reign}")
        self.reign, self.leads, self.at, self.last = reign, True, 0, None
        self.in_step, self.excused, self.joined = {}, set(), {}
        os.write(self._file, _line({"reign": reign}))

    def write(self, key: str, value: object) -> None:
        """Onto the disk and into memory."""
        os.write(self._file, _line({"key": key, "value": value, "reign": self.reign}))
        self.data[key] = value
        self.at += 1
        self.last = key, value

    # ------------------------------------------------------------------------------------------------- as a copy

    def follow(self, reign: Reign, at: int, key: str, value: object) -> None:
        """One write of the primary. OutOfStep when it is not the next one."""
        if self.closed:
            raise OutOfStep
        if reign < self.reign:
            raise Deposed(f"shard {self.shard}: {reign} after {self.reign}")
        if reign != self.reign or self.leads or at != self.at + 1:
            raise OutOfStep
        self.write(key, value)

    def adopt(self, reign: Reign, at: int, data: dict[str, Any]) -> None:
        """Everything, as the primary has it."""
        if self.closed:
            raise OutOfStep
        if reign < self.reign or (reign == self.reign and self.leads):
            raise Deposed(f"shard {self.shard}: {reign} after {self.reign}")
        self.replace(reign, data)
        self.leads, self.at = False, at

    def replace(self, reign: Reign, data: dict[str, Any]) -> None:
        """The file anew."""
        aside = self.path.with_suffix(".new")
        lines = [_line({"reign": reign}), *(_line({"key": key, "value": value, "reign": reign}) for key, value in data.items())]
        aside.write_bytes(b"".join(lines))
        aside.rename(self.path)
        os.close(self._file)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        self.data, self.reign = dict(data), reign


def _line(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


class Disk:
    """Where a member's shards lie: a directory for each layout, `<count>.<shards>`; the one with the highest count is in use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        found = sorted((int(count), int(shards)) for count, _, shards in (p.name.partition(".") for p in directory.glob("*.*[0-9]")))
        self._count, self.shards = found[-1] if found else (0, 0)

    @property
    def place(self) -> Path:
        return self._directory / f"{self._count}.{self.shards}"

    def begin(self, shards: int) -> None:
        """The first layout."""
        self.shards = shards
        self.place.mkdir(exist_ok=True)

    def replicas(self) -> dict[int, Replica]:
        """What a process finds when it starts."""
        paths = [path for path in self.place.glob("shard-*") if path.suffix != ".new"] if self.shards else []
        return {shard: Replica(self.place, shard) for shard in sorted(int(path.name.removeprefix("shard-")) for path in paths)}

    def relay(self, shards: int, content: dict[int, tuple[Reign, dict[str, Any]]]) -> dict[int, Replica]:
        """Everything under other numbers, at once."""
        aside, before = self._directory / "aside", self.place
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for shard, (reign, data) in content.items():
            replica = Replica(aside, shard)
            replica.replace(reign, data)
            replica.close()
        self._count, self.shards = self._count + 1, shards
        aside.rename(self.place)
        shutil.rmtree(before, ignore_errors=True)
        return self.replicas()
