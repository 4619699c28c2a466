"""The whole service on this machine: members, callers, and what is to befall them, under an operator."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

from engine_process import free_port
from linearizability import Kind, Operation, violations
from shardkv.operators import Operating, finish, launch, wait_until
from shardkv.proxy import Proxy
from shuren.sharding.core import slot_of

SESSION_SECONDS = 2.0
SLOTS = 8
REPLICAS = 2
Json = dict[str, Any]
_USUAL: Json = {"draining": [], "delay": 6.0, "deaths": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What callers saw of one run. `faults` are what must not be, by name; empty when all is well."""

    calls: int
    acknowledged: int
    outcomes: Mapping[str, int]
    members: int
    fences: int
    longest: float
    faults: Mapping[str, str]

    def __str__(self) -> str:
        told = " ".join(f"{name}={count}" for name, count in sorted(self.outcomes.items()))
        return (
            f"calls={self.calls} writes acknowledged={self.acknowledged} {told} answered by {self.members} members under "
            f"{self.fences} fences, longest without an answer {self.longest:.1f} s"
        )


class Member:
    """One server process, and its way to ZooKeeper."""

    def __init__(self, cluster: Cluster, number: int, *, module: str = "server") -> None:
        self.id, self.number, self.module = f"node-{number}", number, module
        self.address = f"127.0.0.1:{free_port()}"
        self.proxy = Proxy(cluster.hosts.split(","))
        self._cluster = cluster
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        port, place = self.address.rpartition(":")[2], self._cluster.directory / self.id
        log = self._cluster.directory / f"{self.id}.log"
        arguments = (self.proxy.address, self._cluster.path, self.id, port, place, SESSION_SECONDS)
        self.process = launch(self.module, *arguments, log=log)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            finish(self.process)
            self.process = None


class Callers:
    """One process of callers."""

    def __init__(self, cluster: Cluster, name: str, *, threads: int = 2) -> None:
        self.name = name
        self.proxy = Proxy(cluster.hosts.split(","))
        self._log = cluster.directory / f"{name}.history"
        self._read, self._history = 0, list[Any]()
        self._process = launch(
            "client", self.proxy.address, cluster.path, name, SESSION_SECONDS, threads, log=cluster.directory / f"{name}.log"
        )
        self._told()

    def _told(self) -> Json:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self.name} has ended"
        found: Json = json.loads(line)
        return found

    def _tell(self, command: Json) -> Json:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._told()

    def go(self, keys: list[str]) -> None:
        self._read, self._history = 0, []
        self._tell({"go": keys, "log": str(self._log)})

    def stop(self) -> Json:
        return self._tell({"stop": True})

    def history(self) -> list[Any]:
        """The calls so far."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            lines = log.read().split(b"\n")
        self._history += [json.loads(line) for line in lines[:-1]]
        self._read += sum(len(line) + 1 for line in lines[:-1])
        return self._history

    def end(self) -> None:
        finish(self._process)
        self.proxy.close()


class Cluster:
    """See the module. Members are numbered from 0."""

    def __init__(self, directory: Path, operator: Operating, *, slots: int = SLOTS) -> None:
        self.directory = directory
        self.hosts, self.path = operator.hosts, operator.path
        self.members: dict[int, Member] = {}
        self.callers: list[Callers] = []
        self._operator = operator
        self._wants: Json = {
            "serial": 0,
            "partitionings": [{"name": "p1", "shards": slots}],
            "replicas": REPLICAS,
            "members": [],
            **_USUAL,
        }
        self.placed: list[int] = []
        """Numbers of the members that the operator knows."""
        self.finest = slots
        """The most shards that the map ever had."""

    def begin(self, members: int, callers: int) -> None:
        """Everything up, the map at rest."""
        for _ in range(members):
            self.add()
        self.want(members=range(members))
        self.rest()
        self.callers = [Callers(self, f"callers-{n}") for n in range(callers)]

    def add(self, *, module: str = "server") -> int:
        """Start one more member, which the operator does not know yet. Gives its number."""
        number = len(self.members)
        self.members[number] = Member(self, number, module=module)
        self.members[number].start()
        return number

    def mend(self) -> None:
        """Whatever befell it, as before: everybody who is placed is up and heard, nobody is to be emptied, and the map is at rest."""
        for proxy in [*(member.proxy for member in self.members.values()), *(callers.proxy for callers in self.callers)]:
            proxy.heal()
        honest = [number for number in self.placed if self.members[number].module == "server"]
        others = [self.members[number] for number in self.placed if number not in honest]
        for number, member in self.members.items():
            if number in honest and member.process is None:
                member.start()
            elif member.process is not None:
                member.signal(signal.SIGCONT)
        if others or any(self._wants[name] != usual for name, usual in _USUAL.items()):
            self.want(**(_USUAL | {"draining": [member.id for member in others]}))
        if others:
            self.rest()
            for member in others:
                member.stop()
            self.want(members=honest, draining=[])
        if len(self.partitionings) > 1:
            self.want(partitionings=self.partitionings[1:] if self.status.get("retiring") else self.partitionings[:1])
        self.rest()

    def end(self) -> None:
        """Callers and members; the operator is whoever's gave it."""
        for callers in self.callers:
            callers.end()
        for member in self.members.values():
            member.stop()
            member.proxy.close()

    # -------------------------------------------------------------------------------------------- the operator

    def want(self, *, members: range | list[int] | None = None, **more: object) -> None:
        """Tell the operator what is wanted now."""
        self._wants["serial"] += 1
        self._wants.update(more)
        if members is not None:
            self.placed = list(members)
            self._wants["members"] = [
                {"id": m.id, "number": m.number, "rack": f"rack-{m.number % 3}", "address": m.address}
                for m in (self.members[number] for number in self.placed)
            ]
        self.finest = max(self.finest, *(one["shards"] for one in self.partitionings))
        self._operator.want(self._wants)

    @property
    def partitionings(self) -> list[Json]:
        """What was wanted last."""
        found: list[Json] = self._wants["partitionings"]
        return found

    @property
    def status(self) -> Json:
        """What the operator said last; empty before it said anything about what is wanted now."""
        found = self._operator.status()
        return found if found.get("serial") == self._wants["serial"] else {}

    def rest(self) -> Json:
        """Until every shard is where it belongs and led, with everybody counted who runs."""
        found: Json = {}

        def rests() -> bool:
            found.clear()
            found.update(self.status)
            up = [self.members[n].id for n in self.placed if self.members[n].process is not None]
            return bool(found.get("rest")) and not found["leaderless"] and set(up) <= set(found["live"])

        wait_until(rests, f"the map at rest, see {self.directory}")
        return found

    def rows(self) -> list[list[int]]:
        """Who holds each shard, its primary first."""
        return self._operator.rows()

    def leads(self, member: int) -> int:
        """Of how many shards a member is the primary."""
        return sum(row[0] == member for row in self.rows())

    # -------------------------------------------------------------------------------------------------- a run

    @contextlib.contextmanager
    def traffic(self, name: str) -> Iterator[Run]:
        """Calls go on while the block runs, and for a while before and after: every key is served again at the end.

        Each shard has a key, also once the map has been split: that all keys answer says so of all shards.
        """
        keys = one_in_each(2 * max(one["shards"] for one in self.partitionings), name)
        for callers in self.callers:
            callers.go(keys)
        run = Run(self, keys)
        try:
            run.all_keys_answer()
            yield run
            run.all_keys_answer()
        finally:
            run.outcomes = Counter[str]()
            for callers in self.callers:
                run.outcomes.update(callers.stop())


class Run:
    """One run of calls."""

    def __init__(self, cluster: Cluster, keys: list[str]) -> None:
        self._cluster, self._keys = cluster, keys
        self.outcomes: Counter[str] = Counter()

    def _history(self) -> list[Any]:
        return [call for callers in self._cluster.callers for call in callers.history()]

    def all_keys_answer(self) -> None:
        """Until each key was written and read after now."""
        since = time.monotonic()
        left = {(operation, key) for operation in ("get", "put") for key in self._keys}
        looked_at = [0] * len(self._cluster.callers)

        def answered() -> bool:
            for number, callers in enumerate(self._cluster.callers):
                history = callers.history()
                left.difference_update(
                    (op, key) for _, op, key, _, begin, end, *_ in history[looked_at[number] :] if end is not None and begin > since
                )
                looked_at[number] = len(history)
            return not left

        wait_until(answered, lambda: f"each key written and read again; not yet {sorted(left)[:5]}")

    def verdict(self) -> Verdict:
        """What is to be said about all calls, once they have ended."""
        history = self._history()
        keys: dict[str, list[Operation]] = defaultdict(list)
        for who, operation, key, value, begin, end, *_ in history:
            kind = Kind.WRITE if operation == "put" else Kind.READ
            keys[key].append(Operation(kind=kind, value=value, begin=begin, end=inf if end is None else end, who=who))
        done = [call for call in history if call[5] is not None]
        faults = violations(keys)
        faults.update(fenced_but_heard(done, self._cluster.finest))
        return Verdict(
            calls=len(history),
            acknowledged=sum(call[1] == "put" for call in done),
            outcomes=dict(self.outcomes),
            members=len({call[7] for call in done}),
            fences=len({tuple(call[6]) for call in done}),
            longest=_longest(done),
            faults=faults,
        )


def one_in_each(shards: int, prefix: str) -> list[str]:
    """A key for each shard of a map of so many."""
    found: dict[int, str] = {}
    for n in count():
        found.setdefault(slot_of(f"{prefix}:{n}", shards), f"{prefix}:{n}")
        if len(found) == shards:
            return sorted(found.values())
    raise AssertionError


def fenced_but_heard(done: list[Any], finest: int) -> dict[str, str]:
    """Calls that were served under a fence after one under a higher fence of the same shard had been answered before they began.

    When a map is split, its shards get other numbers: keys that are together among `finest` shards were together all the time.
    """
    faults: dict[str, str] = {}
    heard: dict[int, list[tuple[float, tuple[int, int], str]]] = defaultdict(list)
    for _, _, key, _, _, answered, fence, by, _ in done:
        heard[slot_of(key, finest)].append((answered, tuple(fence), by))
    highest: dict[int, list[tuple[float, tuple[int, int], str]]] = {}
    for slot, seen in heard.items():
        seen.sort()
        rising, top = [], (-1, -1)
        for answered, fence, by in seen:
            if fence > top:
                top = fence
                rising.append((answered, fence, by))
        highest[slot] = rising
    for who, operation, key, _, begin, _, fence, by, shard in done:
        for answered, higher, other in highest[slot_of(key, finest)]:
            if answered < begin and higher > tuple(fence):
                late = f"{operation} {key} of {who} was served by {by} under {fence}"
                faults[f"shard {shard}"] = f"{late} after {other} had served under {higher}"
    return faults


def _longest(done: list[Any]) -> float:
    """The longest time in which a key that was asked for got no answer."""
    ends: dict[str, list[float]] = defaultdict(list)
    for call in done:
        ends[call[2]].append(call[5])
    gaps = [later - earlier for times in ends.values() for earlier, later in zip(sorted(times), sorted(times)[1:], strict=False)]
    return max(gaps, default=0.0)
