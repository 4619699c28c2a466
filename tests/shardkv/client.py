"""Callers in a process of their own that read and write without end and write down what they saw:
`python -m shardkv.client ZOOKEEPER PATH NAME SESSION-SECONDS THREADS`.

Commands come by standard input, a line of JSON each: {"go": [key, …], "log": FILE} and {"stop": true}; both are answered. A
line of the log is one call: who, what, key, value, begin, end (null when the outcome is not known), fence, member, shard. Times are the
machine's, the same for all processes.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from shardkv.wire import Broken, Connections, Json
from shuren.sharding import NotServing, OutcomeUnknown, ShardMapClient, WrongShard, ZooKeeperStore
from shuren.sharding.core import Member
from shuren.sharding.lease import Lease

_PAUSE_SECONDS = 0.025


class Caller:
    """One thread that calls one after the other: each key is written and read once a round, in another order each time."""

    def __init__(self, client: ShardMapClient, who: str, *, keys: Sequence[str], reply_within: float, log: TextIO) -> None:
        self._client, self._who, self._bound, self._log = client, who, reply_within, log
        self._connections = Connections()
        self._draw = random.Random(f"{keys[0]} {who}")  # noqa: S311
        self._round = [(key, writes) for key in keys for writes in (True, False)]
        self._left: list[tuple[str, bool]] = []
        self._count = 0
        self.outcomes: Counter[str] = Counter()

    def run(self, until: threading.Event) -> None:
        """Until the event is set."""
        while not until.is_set():
            self._call_once()
            until.wait(_PAUSE_SECONDS * self._draw.random() * 2)

    def _call_once(self) -> None:
        self._count += 1
        self._left = self._left or self._draw.sample(self._round, len(self._round))
        key, writes = self._left.pop()
        value = f"{self._who}-{self._count}" if writes else None
        request: Json = {"op": "get", "key": key} if value is None else {"op": "put", "key": key, "value": value}
        begin, end, reply = time.monotonic(), None, dict[str, object]()
        try:
            reply = self._client.call(key, lambda member: self._send(member, request), tries=6, pause=0.05, reply_within=self._bound)
            end = time.monotonic()
            outcome = "done"
        except OutcomeUnknown:
            outcome = "late"
        except Broken:
            outcome = "broken"
        except (WrongShard, NotServing):
            # nothing was carried out, so nothing is to be explained
            self.outcomes["refused"] += 1
            return
        self.outcomes[outcome] += 1
        seen = reply.get("value") if value is None else value
        line = [self._who, request["op"], key, seen, begin, end, reply.get("fence"), reply.get("by"), reply.get("shard")]
        self._log.write(json.dumps(line) + "\n")

    def _send(self, member: Member, request: Json) -> Json:
        # waited for a little longer than would be believed, so that late replies come and have to be told
        reply = self._connections.ask(member.address, request, within=self._bound * 1.5)
        match reply.get("error"):
            case None:
                return reply
            case "NOT_SERVING":
                raise NotServing(str(reply["why"]), slot=int(reply["slot"]))
            case _:
                raise WrongShard.from_bytes(json.dumps(reply).encode())


def main(hosts: str, path: str, name: str, session: str, threads: str) -> None:
    """Goes on until its standard input ends."""
    bound = Lease.reply_bound(float(session))
    with ShardMapClient(ZooKeeperStore(hosts, session_seconds=float(session)), path) as client:
        stop, running, log, callers = threading.Event(), list[threading.Thread](), sys.stdout, list[Caller]()
        _say({"up": name})
        for line in sys.stdin:
            command = json.loads(line)
            if "go" in command:
                stop.clear()
                log = Path(command["log"]).open("w", buffering=1)  # noqa: SIM115  closed by the next command
                callers = [Caller(client, f"{name}.{n}", keys=command["go"], reply_within=bound, log=log) for n in range(int(threads))]
                running = [threading.Thread(target=caller.run, args=(stop,)) for caller in callers]
                for thread in running:
                    thread.start()
                _say({"going": True})
            else:
                stop.set()
                for thread in running:
                    thread.join()
                log.close()
                total: Counter[str] = Counter()
                for caller in callers:
                    total.update(caller.outcomes)
                _say(dict(total))


def _say(document: Json) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
