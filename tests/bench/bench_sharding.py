"""How fast a key finds its member, against libraries of PyPI in the same run; what a client pays for a table; imbalance and churn.

    python tests/bench/bench_sharding.py [--json FILE] [--peers DIRECTORY]

One table for all that `docs/sharding.md` promises in numbers: look-ups, tables, imbalance and churn, and the planner (`bench_planner`,
which has more columns when it is run by itself). The directory has peers that are no dependency of ours (`make bench PEERS=1` fills it:
OR-tools, the C library ketama, and fastring, which is asked in a process of Python 3.13, in turns with ours there, where the machine has
such a Python); those that are not there are named in the end.

Rates are per second of CPU time of one core (other work on the machine slows the wall clock more than it). Ours and the peers take turns
with windows of at least 20 ms over the same 20,000 keys, str of 10 to 15 characters; the best window of each is kept, with the median
beside it. Imbalance and churn are exact counts over 100,000 fixed keys or over all shards, and do not depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "operator"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import jump
import uhashring
import xxhash

from bench import bench_planner, fastring_peer
from bench.turns import one_by_one, rates
from sharding_tables import members_of
from shardmap_large import large
from shuren.domain.shards.load import LoadPolicy, balance
from shuren.domain.shards.members import Member as Planned
from shuren.domain.shards.members import Wanted
from shuren.domain.shards.planner import plan
from shuren.domain.shards.shares import shares
from shuren.sharding.core import Algorithm, Backend, Member, Ring, Router, ShardTable, Slots, available, make_table, router_of_members
from shuren.sharding.core.codec import publication
from zookeeper_process import JAR, zookeeper_server

WINDOW = 20_000
SHARDS = 65_536
_KETAMA_MOST = 100
_RENDEZVOUS_MOST = 100
"""It looks at every member for every key."""
_SHARE_LIMITS = {100: 1.002, 1_000: 1.008}
_CHURN_KEYS = 100_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure; `limit` is the target, the least that is allowed when `at_least`. `reference` is the peer's figure of the same run."""

    what: str
    measured: float
    unit: str
    median: float | None = None
    against: str = ""
    reference: float | None = None
    limit: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """Whether the target is reached; empty without one."""
        if self.limit is None:
            return ""
        return "met" if (self.measured >= self.limit if self.at_least else self.measured <= self.limit) else "MISSED"


# ------------------------------------------------------------------------------------------------------------------------------- rates


def _at_once(router: Router, keys: Sequence[str]) -> Callable[[], object]:
    return lambda: router.route_many(keys)


def _table(members: tuple[Member, ...], replicas: int = 1, *, seed: int = 1) -> ShardTable:
    """Even to one shard, placed at random, replicas on other racks."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable map
    numbers = [m.number for m in members]
    rows: list[list[int]] = []
    while len(rows) < SHARDS:
        chance.shuffle(numbers)
        rows += [[numbers[(i + step * 7) % len(numbers)] for step in range(replicas)] for i in range(len(numbers))]
    owners = array("H", [row[replica] for replica in range(replicas) for row in rows[:SHARDS]])
    return make_table(shards=SHARDS, replicas=replicas, members=members, owners=owners, generation=1, term=1)


_TARGETS = {Backend.NATIVE: (20.0, 40.0), Backend.XXHASH: (5.0, 5.0), Backend.PYTHON: (0.3, None)}
"""Million keys a second one by one, and at once (issue C §1, sharding.md §3.7)."""


def _ketama(names: Sequence[str]) -> Any:
    """libketama's own C code where it is installed, else None. It crashes when it is given a thousand servers."""
    try:
        module = importlib.import_module("ketama")
    except ImportError:
        return None
    if len(names) > _KETAMA_MOST:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".list") as servers:
        servers.writelines(f"{name}:1\t100\n" for name in names)
        servers.flush()
        return module.Ketama(servers.name)


def absent(peers: Path | None) -> list[str]:
    """Peers that were not asked, and why."""
    found = {"ketama": "make bench PEERS=1 brings it", "ortools": "make bench PEERS=1 brings it"}
    missing = [f"{name} ({why})" for name, why in found.items() if importlib.util.find_spec(name) is None]
    fastring = fastring_peer.why_not(peers)
    return [*missing, *([f"fastring ({fastring})"] if fastring else [])]


_TIMES_FASTRING = {False: 3.0, True: 5.0}
"""So many times as quick as fastring the accelerator is, one by one and at once (sharding.md §3.7)."""


def against_fastring(peers: Path | None) -> list[Row]:
    """Ours and fastring in turns in one process of a newer Python; nothing where that is not to be had."""
    if peers is None or fastring_peer.why_not(peers):
        return []
    found = fastring_peer.measured(peers)
    rows = []
    for count, rate in found["rates"].items():
        for name, (best, middle) in rate.items():
            if name.startswith("fastring"):
                continue
            batch = name.endswith(", batch")
            peer = "fastring, batch" if batch else "fastring"
            title = f"slots, {int(count):,} members, Python {found['python']}: {name}"
            rows.append(Row(what=title, measured=best, median=middle, unit="M/s", against=peer, reference=rate[peer][0]))
            if name.startswith(Backend.NATIVE.value):
                times = best / rate[peer][0]
                rows.append(Row(what=f"{title} / {peer}", measured=times, unit="×", limit=_TIMES_FASTRING[batch], at_least=True))
    return rows


def lookups(count: int) -> list[Row]:
    """Key -> member among `count` members."""
    chance = random.Random(count)  # noqa: S311 - repeatable keys
    keys = [f"user:{chance.randrange(10**10)}" for _ in range(WINDOW)]
    members = members_of(count)
    table = _table(members)
    routers = {backend: Slots(table, backend=backend) for backend in available()}
    ring, ketama = uhashring.HashRing([m.id for m in members]), uhashring.HashRing([m.id for m in members], hash_fn="ketama")
    names = [m.id for m in members]
    digest, bucket = xxhash.xxh64_intdigest, jump.hash
    peers: dict[str, Callable[[], object]] = {
        "uhashring": one_by_one(ring.get_node, keys),
        "uhashring ketama": one_by_one(ketama.get_node, keys),
        "jump-consistent-hash + xxhash": one_by_one(lambda key: names[bucket(digest(key.encode()), count)], keys),
    }
    libketama = _ketama(names)
    if libketama is not None:
        peers["ketama (C)"] = one_by_one(libketama.get_server, keys)
    single = {b.value: one_by_one(r.route, keys) for b, r in routers.items()}
    batch = {f"{b.value}, batch": _at_once(r, keys) for b, r in routers.items()}
    found = rates({**single, **batch, **peers}, WINDOW)
    quickest = {
        kind: max((p for p in peers if p.endswith(", batch") is kind), key=lambda p: found[p][0], default="") for kind in (False, True)
    }
    rows = []
    for backend in routers:
        for name, target in zip((backend.value, f"{backend.value}, batch"), _TARGETS[backend], strict=True):
            # a peer that has no batch is compared with key by key
            peer = quickest[name.endswith(", batch")] or quickest[False]
            rows.append(
                Row(
                    what=f"slots, {count:,} members: {name}",
                    measured=found[name][0],
                    median=found[name][1],
                    unit="M/s",
                    against=peer,
                    reference=found[peer][0],
                    limit=target,
                    at_least=True,
                )
            )
    rows += [Row(what=f"peer, {count:,} members: {p}", measured=found[p][0], median=found[p][1], unit="M/s") for p in peers]
    return rows


def other_algorithms(count: int) -> list[Row]:
    """The rest at their best, one by one."""
    chance = random.Random(count)  # noqa: S311 - repeatable keys
    keys = [f"user:{chance.randrange(10**10)}" for _ in range(WINDOW // 10)]
    members = members_of(count)
    routers: dict[str, Router] = {
        a.value: router_of_members(a, members) for a in Algorithm if a not in {Algorithm.SLOTS, Algorithm.REDIS16384}
    }
    found = rates({name: one_by_one(router.route, keys) for name, router in routers.items()}, len(keys))
    return [Row(what=f"{name}, {count:,} members", measured=best, median=middle, unit="M/s") for name, (best, middle) in found.items()]


# ------------------------------------------------------------------------------------------------------------------------------ tables


def _milliseconds(work: Callable[[], object], repeats: int = 7) -> tuple[float, float]:
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        taken.append((time.process_time() - began) * 1e3)
    return min(taken), statistics.median(taken)


def tables() -> list[Row]:
    """What a client pays at 1,000 members x 65,536 shards x 3, and what travels."""
    members = members_of(1_000, racks=20)
    old = _table(members, 3)
    owners, epochs = array("H", old.owners), array("I", old.epochs)
    chance = random.Random(3)  # noqa: S311 - a repeatable map
    for place, number in enumerate(owners):
        if number == members[-1].number:
            row = set(owners[place % SHARDS :: SHARDS])
            owners[place] = chance.choice([m.number for m in members[:-1] if m.number not in row])
            epochs[place % SHARDS] += place < SHARDS
    new = make_table(shards=SHARDS, replicas=3, members=members[:-1], owners=owners, epochs=epochs, generation=2, term=1)
    found = publication.publish(new, previous=old)
    chunks = [found.nodes[f"gen/2/map-{i}"] for i in range(len(found.head.map))]
    delta, member_data = found.nodes["gen/2/delta"], found.nodes["gen/2/members"]
    rings = {
        "uhashring": _milliseconds(lambda: uhashring.HashRing([m.id for m in members]), 3)[0],
        "our own ring": _milliseconds(lambda: Ring(members), 3)[0],
    }
    whole, whole_median = _milliseconds(lambda: Slots(publication.read_map(found.head, new.members, chunks)))
    step, step_median = _milliseconds(lambda: Slots(publication.read_delta(found.head, old, new.members, delta)), 25)
    return [
        Row(
            what="client: whole map read, checked, router made",
            measured=whole,
            median=whole_median,
            unit="ms",
            against="uhashring: ring made",
            reference=rings["uhashring"],
            limit=15.0,
        ),
        Row(what="client: delta read, checked, router made", measured=step, median=step_median, unit="ms", limit=1.0),
        Row(what="our own ring of 160,000 points made", measured=rings["our own ring"], unit="ms"),
        Row(what="operator: map encoded with delta", measured=_milliseconds(lambda: publication.publish(new, previous=old))[0], unit="ms"),
        Row(what="map", measured=sum(map(len, chunks)), unit="bytes", limit=300_000),
        Row(what="delta of one leave", measured=len(delta), unit="bytes", limit=2_000),
        Row(what="members", measured=len(member_data), unit="bytes"),
        Row(what="head", measured=len(found.head_data), unit="bytes", limit=1_000),
    ]


# ---------------------------------------------------------------------------------------------------------------------------- quality


def quality(count: int) -> list[Row]:
    """max/mean of fixed keys, and keys moved by a leave against those that the leaver had."""
    keys = [f"user:{n}" for n in range(_CHURN_KEYS)]
    members = members_of(count)
    rows = []
    for algorithm in (Algorithm.RING, Algorithm.KETAMA, Algorithm.MAGLEV, Algorithm.JUMP, Algorithm.RENDEZVOUS):
        if algorithm is Algorithm.RENDEZVOUS and count > _RENDEZVOUS_MOST:
            continue
        before, after = ([m.id for m in router_of_members(algorithm, some).route_many(keys)] for some in (members, members[:-1]))
        shares = Counter(before)
        moved = sum(one != other for one, other in zip(before, after, strict=True))
        rows.append(
            Row(what=f"{algorithm.value}, {count:,} members: max/mean of keys", measured=max(shares.values()) * count / len(keys), unit="×")
        )
        rows.append(
            Row(what=f"{algorithm.value}, {count:,} members: moved by a leave / least", measured=moved / shares[members[-1].id], unit="×")
        )
    rows += _peers_quality(members, keys)
    spread = Counter(_table(members).owners)
    shares = Counter(m.id for m in Slots(_table(members)).route_many(keys))
    rows.append(Row(what=f"slots, {count:,} members: max/mean of keys", measured=max(shares.values()) * count / len(keys), unit="×"))
    rows.append(
        Row(
            what=f"slots, {count:,} members: max/mean of shards",
            measured=max(spread.values()) * count / SHARDS,
            unit="×",
            limit=_SHARE_LIMITS[count],
        )
    )
    return rows


def _peers_quality(members: Sequence[Member], keys: Sequence[str]) -> list[Row]:
    """The same of libraries; of jump, also what the leave of a member moves that is not the last."""
    names, count = [m.id for m in members], len(members)
    ring, smaller = uhashring.HashRing(names), uhashring.HashRing(names[:-1])
    before, after = [ring.get_node(key) for key in keys], [smaller.get_node(key) for key in keys]
    hashed = [xxhash.xxh64_intdigest(key.encode()) for key in keys]
    first = [names[jump.hash(one, count)] for one in hashed]
    without = [names[1:][jump.hash(one, count - 1)] for one in hashed]
    moved = sum(one != other for one, other in zip(before, after, strict=True))
    scattered = sum(one != other for one, other in zip(first, without, strict=True))
    title = f"peer, {count:,} members: "
    return [
        Row(what=f"{title}uhashring, max/mean of keys", measured=max(Counter(before).values()) * count / len(keys), unit="×"),
        Row(what=f"{title}uhashring, moved by a leave / least", measured=moved / Counter(before)[names[-1]], unit="×"),
        Row(what=f"{title}jump, max/mean of keys", measured=max(Counter(first).values()) * count / len(keys), unit="×"),
        Row(what=f"{title}jump, moved by the first's leave / least", measured=scattered / Counter(first)[names[0]], unit="×"),
    ]


def million() -> list[Row]:
    """A million keys on a thousand members: chance alone gives 1.10."""
    members = members_of(1_000)
    shares = Counter(m.id for m in Slots(_table(members)).route_many(f"user:{n}" for n in range(1_000_000)))
    return [Row(what="slots, 1,000 members: max/mean of 1,000,000 keys", measured=max(shares.values()) / 1_000, unit="×", limit=1.12)]


# ---------------------------------------------------------------------------------------------------------------------------- planner


def planned() -> list[Row]:
    """Every change of `bench_planner` at 1,000 members x 65,536 shards x 3: placement, with primaries, and what moves for what must."""
    (first, middle), changes = bench_planner.rows()
    rows = [Row(what="planner: first table", measured=first, median=middle, unit="ms", limit=300.0)]
    for change in changes:
        solver = "OR-tools, exact" if change.exact is not None else ""
        reference = change.exact[0] if change.exact is not None else None
        placement, whole = change.placement, change.whole
        title = f"planner: {change.change}"
        rows += [
            Row(what=f"{title}, placement", measured=placement[0], median=placement[1], unit="ms", limit=100.0),
            Row(what=f"{title}, whole", measured=whole[0], median=whole[1], unit="ms", against=solver, reference=reference, limit=250.0),
            Row(
                what=f"{title}, replicas moved / least",
                measured=change.moves / change.bound,
                unit="×",
                against="made anew",
                reference=change.renewed / change.bound,
                limit=1.0,
            ),
            # the bound of primaries is not tight when the replicas leave no better choice; `proven` then says so
            Row(
                what=f"{title}, new primaries / bound{' (proven)' if change.led_proven else ''}",
                measured=change.led / change.led_bound,
                unit="×",
                limit=1.10,
            ),
        ]
    return rows


def by_load() -> list[Row]:
    """A round of a map that is balanced by load, at the same size: when a part of the members is hot, and when a rack is lost meanwhile."""
    members = tuple(Planned(id=n, name=f"m{n}", rack=f"r{n % 20}", host=f"h{n}") for n in range(1_000))
    wanted = Wanted(slots=SHARDS, replicas=3, members=members)
    table = plan(wanted).table
    fewer = Wanted(slots=SHARDS, replicas=3, members=tuple(m for m in members if m.rack != "r7"))
    hot = [4.0 if primary < len(members) // 20 else 1.0 for primary in table.primaries]
    rows = []
    for what, left in (("5 % of members four times as hot", wanted), ("the same, and a rack lost", fewer)):
        share = shares(left, reach=max(table.holders))
        found = balance(table, hot, share)
        best, middle = _milliseconds(lambda share=share: balance(table, hot, share), 3)  # type: ignore[misc]
        title = f"by load: {what}"
        rows += [
            Row(what=f"{title}, round planned", measured=best, median=middle, unit="ms"),
            Row(what=f"{title}, hottest after / share", measured=found.hottest[1], unit="×", limit=LoadPolicy().until),
            Row(what=f"{title}, churn / all shards", measured=found.churn / SHARDS, unit="×", limit=LoadPolicy().budget),
        ]
    return rows


# ------------------------------------------------------------------------------------------------------------------------ publication


async def _published(hosts: str) -> list[Row]:
    async with large(hosts) as one:
        one.want()
        first, _ = await one.generation(1)
        wall, cpu = [], []
        for turn in range(1, 7):
            await one.move(turn, port=7000 + turn)
            taken, worked = await one.generation(1 + turn)
            wall.append(taken)
            cpu.append(worked)
        sizes = one.sizes()
    largest = max(sizes, key=lambda name: sizes[name])
    return [
        Row(what="controller: first table planned and published", measured=first, unit="s"),
        Row(what="controller: one more generation published, wall", measured=min(wall), median=statistics.median(wall), unit="s"),
        Row(what="controller: one more generation published, CPU", measured=min(cpu), median=statistics.median(cpu), unit="s"),
        Row(what=f"largest node in ZooKeeper ({largest.rpartition('/')[2]})", measured=sizes[largest], unit="bytes", limit=0xFFFFF),
        Row(what="all nodes of the five generations kept", measured=sum(sizes.values()), unit="bytes"),
    ]


def published() -> list[Row]:
    """1,000 members x 65,536 shards x 3 through the controller to a real ZooKeeper; nothing where there is none."""
    if not JAR.exists():
        return []
    with tempfile.TemporaryDirectory(prefix="bench-sharding-") as place:
        return _with_zookeeper(Path(place))


def _with_zookeeper(place: Path) -> list[Row]:
    # sessions that outlast a machine with other work
    with zookeeper_server(place, more="maxSessionTimeout=60000\n") as (hosts, _):
        return asyncio.run(_published(hosts))


# ------------------------------------------------------------------------------------------------------------------------------ output


def _cell(value: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    digits = 0 if unit == "bytes" else 3 if value < 1 or unit == "×" else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def text(rows: Sequence[Row]) -> str:
    """The rows as text columns."""
    lines = [("what", "best", "median", "peer in the same run", "ratio", "target", "verdict")]
    for row in rows:
        target = "" if row.limit is None else f"{'≥' if row.at_least else '≤'} {_cell(row.limit, row.unit)}"
        against = "" if row.reference is None else f"{row.against}: {_cell(row.reference, row.unit)}"
        ratio = "" if row.reference is None else f"{row.measured / row.reference:.2f} ×"
        lines.append((row.what, _cell(row.measured, row.unit), _cell(row.median), against, ratio, target, row.verdict))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result there too")
    parser.add_argument("--peers", type=Path, help="where peers lie that are no dependency of ours")
    wanted = parser.parse_args(arguments)
    if wanted.peers:
        sys.path.append(str(wanted.peers))
    rows = [row for count in (10, 100, 1_000) for row in lookups(count)] + against_fastring(wanted.peers)
    rows += other_algorithms(100) + tables() + quality(100) + quality(1_000) + million() + planned() + by_load() + published()
    document: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": [round(v, 2) for v in os.getloadavg()]},
        "backends": [backend.value for backend in available()],
        "absent": absent(wanted.peers),
        "rows": [{**asdict(row), "verdict": row.verdict} for row in rows],
    }
    sys.stdout.write(f"{text(rows)}\n\n{json.dumps(document)}\n")
    if document["absent"]:
        sys.stdout.write(f"not asked: {', '.join(document['absent'])}\n")
    if Backend.NATIVE not in available():
        sys.stdout.write("the accelerator is not built here (make setup builds it): its targets were not measured\n")
    if wanted.json:
        wanted.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if any(row.verdict == "MISSED" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
