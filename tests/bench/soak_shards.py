"""The sharded key-value service under random faults for as long as wanted: what `tests/integration/shards` does fault by fault, on and on.

    python tests/bench/soak_shards.py [--seconds 300] [--seed 1] [--json FILE]

Each round befalls one to three members, callers, operator or ZooKeeper servers, together or one after the other, then everything is
mended, the map comes to rest, and the whole history of the round is judged. Exit status 1 at the first fault found; what led to it stays
on the disk.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "operator"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from shardkv.cluster import SESSION_SECONDS, Cluster
from shardkv.operators import ThinOperator, wait_until

MEMBERS = 5


class Soak:
    """A cluster and what can befall it. Each fault gives how it is mended."""

    def __init__(self, cluster: Cluster, thin: ThinOperator, seed: int) -> None:
        self._cluster, self._thin = cluster, thin
        self.draw = random.Random(seed)  # noqa: S311  a repeatable choice
        self.faults: dict[str, Callable[[], Callable[[], None]]] = {
            "killed": self._kill,
            "stopped": self._stop,
            "cut off": self._cut,
            "emptied": self._empty,
            "operator killed": self._operator,
            "leader killed": self._leader,
        }
        self._taken: set[int] = set()

    def begin(self) -> None:
        """A new round: nobody is out of order."""
        self._taken.clear()

    def _member(self) -> int:
        """One that nothing has befallen yet."""
        number = self.draw.choice([n for n in self._cluster.placed if n not in self._taken])
        self._taken.add(number)
        return number

    def _kill(self) -> Callable[[], None]:
        member = self._cluster.members[self._member()]
        member.kill()
        return member.start

    def _stop(self) -> Callable[[], None]:
        member = self._cluster.members[self._member()]
        member.signal(signal.SIGSTOP)
        return lambda: member.signal(signal.SIGCONT)

    def _cut(self) -> Callable[[], None]:
        proxies = [self._cluster.members[self._member()].proxy, self.draw.choice(self._cluster.callers).proxy]
        for proxy in proxies:
            proxy.cut()

        def mend() -> None:
            for proxy in proxies:
                proxy.heal()

        return mend

    def _empty(self) -> Callable[[], None]:
        self._cluster.want(draining=[self._cluster.members[self._member()].id])
        return lambda: self._cluster.want(draining=[])

    def _operator(self) -> Callable[[], None]:
        deaths = self._cluster.directory / "deaths"
        deaths.unlink(missing_ok=True)
        self._cluster.want(deaths=str(deaths))
        return lambda: self._cluster.want(deaths=None)

    def _leader(self) -> Callable[[], None]:
        wait_until(lambda: self._thin.ensemble.leader() is not None, "a leader of ZooKeeper")
        number = self._thin.ensemble.leader()
        assert number is not None
        self._thin.ensemble.kill(number)

        def mend() -> None:
            self._thin.ensemble.start(number)
            wait_until(self._thin.ensemble.all_serve, "three ZooKeeper servers")

        return mend


def rounds(directory: Path, *, seconds: float, seed: int) -> list[dict[str, Any]]:
    """One document for each round; the last one may have faults."""
    thin = ThinOperator(directory)
    cluster = Cluster(directory, thin)
    found: list[dict[str, Any]] = []
    try:
        cluster.begin(members=MEMBERS, callers=2)
        soak, until = Soak(cluster, thin, seed), time.monotonic() + seconds
        while time.monotonic() < until:
            soak.begin()
            names = soak.draw.sample(sorted(soak.faults), soak.draw.randint(1, 3))
            with cluster.traffic(f"round {len(found)}") as run:
                with ExitStack() as mends:
                    for name in names:
                        mends.callback(soak.faults[name]())
                        time.sleep(soak.draw.random() * SESSION_SECONDS)
                    time.sleep(SESSION_SECONDS * (1 + soak.draw.random()))
                cluster.rest()
            verdict = run.verdict()
            found.append({"faults": names, "verdict": asdict(verdict)})
            sys.stdout.write(f"{len(found)}. {', '.join(names)}: {verdict}\n")
            sys.stdout.flush()
            if verdict.faults:
                break
    finally:
        cluster.end()
        thin.end()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long to go on")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of faults")
    parser.add_argument("--json", type=Path, help="write what was found there")
    options = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="soak-shards-"))
    found = rounds(directory, seconds=options.seconds, seed=options.seed)
    bad = [one for one in found if one["verdict"]["faults"]]
    calls = sum(one["verdict"]["calls"] for one in found)
    sys.stdout.write(f"{len(found)} rounds, {calls:,} calls, {len(bad)} with faults (seed {options.seed}, {directory})\n")
    for one in bad:
        sys.stdout.write(json.dumps(one["verdict"]["faults"], indent=1) + "\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
