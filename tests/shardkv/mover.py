"""A thin operator in a process of its own: the product's planner and scheduler, and as much of ZooKeeper as they need.

    python -m shardkv.mover ZOOKEEPER PATH CONTROL STATUS

CONTROL is a file with {"serial", "partitionings": [{"name", "shards"}], "replicas", "members": [{"id", "number", "rack", "address"}],
"draining": [id], "delay", "deaths"}; STATUS is written after each pass. `deaths` names a file: the process is ended by SIGKILL right after
each write of a kind that is not in it yet (each state of a move, of a primary and of another replica; each piece of a publication), and
begun anew by its parent, which does nothing else.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

from shuren.domain.errors import Invalid
from shuren.domain.shards.advance import Publish, Write
from shuren.domain.shards.assignment import VACANT, Assignment
from shuren.domain.shards.goals import Goal, counted, why_plan
from shuren.domain.shards.members import Member, Wanted
from shuren.domain.shards.migration import Caps, Deadlines, Failure, MovePolicy, Presence, World, effective
from shuren.domain.shards.partitions import (
    Layout,
    Partitioning,
    Published,
    Relay,
    elder,
    faults,
    merged,
    merged_epochs,
    next_layout,
    split,
    split_epochs,
)
from shuren.domain.shards.planner import Planned, plan
from shuren.domain.shards.schedule import Step, step
from shuren.sharding.core import NOBODY, ShardTable, make_table
from shuren.sharding.core.codec import head as head_codec
from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.codec import publication
from shuren.sharding.core.member import Member as Named
from shuren.sharding.core.moves import Live, Move, Report

_PASS_SECONDS = 0.1
_KEPT = 5


class Fenced(Exception):
    """Another operator has taken the epoch, or somebody changed what we looked at."""


class Mover:
    """One life."""

    def __init__(self, client: KazooClient, path: str, control: Path, status: Path) -> None:
        self._zk, self._path, self._control, self._status = client, path, control, status
        self._wants: dict[str, Any] = {}
        self._goal: Goal | None = None
        self._planned: Planned | None = None
        self._failures: Mapping[int, Failure] = {}
        self._away: dict[str, float] = {}
        self._table: ShardTable | None = None
        self._head_version = -1
        self._published: Published | None = None
        self._term, self._epoch_version = self._take_epoch()

    # ---------------------------------------------------------------------------------------------- writes

    def _take_epoch(self) -> tuple[int, int]:
        place = f"{self._path}/epoch"
        self._zk.ensure_path(self._path)
        while True:
            try:
                self._zk.create(place, b"1")
            except NodeExistsError:
                data, stat = self._zk.get(place)
                term = int(data) + 1
                try:
                    return term, self._zk.set(place, str(term).encode(), version=stat.version).version
                except KazooException:
                    continue
            return 1, 0

    def _commit(self, transaction: TransactionRequest, kind: str) -> None:
        """All of it, as long as we lead. Right after this, the process may have to die."""
        transaction.check(f"{self._path}/epoch", self._epoch_version)
        refused = [result for result in transaction.commit() if isinstance(result, Exception)]
        if refused:
            raise Fenced(repr(refused))
        if self._wants["deaths"] is not None:
            deaths = Path(self._wants["deaths"])
            if kind not in (deaths.read_text().split("\n") if deaths.exists() else []):
                with deaths.open("a") as file:
                    file.write(f"{kind}\n")
                os.kill(os.getpid(), signal.SIGKILL)

    def _publish(self, table: ShardTable, layout: Layout) -> None:
        found = publication.publish(table, previous=self._table, partitioning=layout.partitioning.name, retiring=layout.retiring)
        for name, data in found.nodes.items():
            self._zk.ensure_path(f"{self._path}/{name}".rpartition("/")[0])
            transaction = self._zk.transaction()
            if self._zk.exists(f"{self._path}/{name}"):
                # left by a life that ended before its head
                transaction.set_data(f"{self._path}/{name}", data)
            else:
                transaction.create(f"{self._path}/{name}", data)
            self._commit(transaction, f"publish {name.rpartition('/')[2]}")
        transaction = self._zk.transaction()
        if self._table is None:
            transaction.create(f"{self._path}/head", found.head_data)
        else:
            transaction.set_data(f"{self._path}/head", found.head_data, version=self._head_version)
        self._commit(transaction, "publish head")
        if table.generation > _KEPT:
            self._zk.delete(f"{self._path}/gen/{table.generation - _KEPT}", recursive=True)

    def _order(self, order: Write, version: int | None) -> None:
        place = f"{self._path}/moves/{order.move.shard}"
        transaction = self._zk.transaction()
        for member in order.unless_live:
            transaction.create(f"{self._path}/live/{codec.node_name(member)}", b"")
            transaction.delete(f"{self._path}/live/{codec.node_name(member)}")
        if version is None:
            transaction.create(place, codec.encode_move(order.move))
        else:
            transaction.set_data(place, codec.encode_move(order.move), version=version)
        self._commit(transaction, f"{'primary' if order.move.primary else 'replica'} {order.move.state.value}")

    def _remove(self, slot: int, version: int) -> None:
        place = f"{self._path}/moves/{slot}"
        transaction = self._zk.transaction()
        for name in self._zk.get_children(place):
            transaction.delete(f"{place}/{name}")
        transaction.delete(place, version=version)
        self._commit(transaction, "remove")

    # --------------------------------------------------------------------------------------------- reading

    def _read_table(self) -> ShardTable | None:
        try:
            data, stat = self._zk.get(f"{self._path}/head")
        except NoNodeError:
            return None
        self._head_version = stat.version
        head = head_codec.decode(data)
        self._published = Published(partitioning=Partitioning(name=head.partitioning, shards=head.shards), retiring=head.retiring)
        if self._table is not None and self._table.generation == head.generation:
            return self._table
        place = f"{self._path}/{publication.directory(head.generation)}"
        members = publication.read_members(head, self._zk.get(f"{place}/members")[0])
        return publication.read_map(head, members, [self._zk.get(f"{place}/map-{i}")[0] for i in range(len(head.map))])

    def _read_moves(self) -> tuple[dict[int, Move], dict[int, int], dict[int, dict[str, Report]]]:
        moves, versions, reports = dict[int, Move](), dict[int, int](), dict[int, dict[str, Report]]()
        self._zk.ensure_path(f"{self._path}/moves")
        for name in self._zk.get_children(f"{self._path}/moves"):
            data, stat = self._zk.get(f"{self._path}/moves/{name}")
            moves[int(name)], versions[int(name)] = codec.decode_move(int(name), data), stat.version
            below = self._zk.get_children(f"{self._path}/moves/{name}")
            reports[int(name)] = {
                codec.member_of(one): codec.decode_report(self._zk.get(f"{self._path}/moves/{name}/{one}")[0]) for one in below
            }
        return moves, versions, reports

    def _read_live(self) -> dict[str, Live]:
        self._zk.ensure_path(f"{self._path}/live")
        found = {}
        for name in self._zk.get_children(f"{self._path}/live"):
            try:
                live = codec.decode_live(self._zk.get(f"{self._path}/live/{name}")[0])
            except NoNodeError:
                continue
            found[live.id] = live
        return found

    # ------------------------------------------------------------------------------------------------ pass

    def pass_once(self) -> None:
        """Look, decide, write, tell."""
        self._wants = json.loads(self._control.read_text())
        live = self._read_live()
        moves, versions, reports = self._read_moves()
        self._table = self._read_table()
        wanted = [Partitioning(name=one["name"], shards=one["shards"]) for one in self._wants["partitionings"]]
        refused = faults(wanted, self._published)
        if refused:
            raise ValueError(refused)
        if self._table is None:
            layout = next_layout(wanted, None)
            self._publish(self._first(layout.partitioning.shards), layout)
            return
        world = self._world(self._table, live, moves, reports)
        layout = next_layout(wanted, self._published, moving=len(moves), table=world.table)
        if Published(partitioning=layout.partitioning, retiring=layout.retiring) != self._published:
            self._publish(self._relaid(self._table, world, layout.relay), layout)
            return
        made = self._decide(replace(world, paused=bool(layout.wait and not layout.together)), together=layout.together)
        self._apply(made, self._table, versions, layout)
        at_rest = made.idle and not moves and self._goal is not None and self._goal.table == world.table
        self._tell(made, world, at_rest=at_rest)

    def _members(self) -> tuple[Member, ...]:
        return tuple(Member(id=one["number"], name=one["id"], rack=one["rack"]) for one in self._wants["members"])

    def _named(self) -> list[Named]:
        return [Named(id=m["id"], number=m["number"], rack=m["rack"], address=m["address"]) for m in self._wants["members"]]

    def _relaid(self, table: ShardTable, world: World, relay: Relay) -> ShardTable:
        rows, epochs = world.table, list(world.epochs)
        match relay:
            case Relay.SPLIT:
                rows, epochs = split(rows), split_epochs(epochs)
            case Relay.MERGE:
                once = merged(rows)
                assert once is not None
                rows, epochs = once, merged_epochs(epochs)
            case Relay.KEEP:
                pass
        owners = [NOBODY if n == VACANT else n for r in range(rows.replicas) for n in rows.holders[r :: rows.replicas]]
        return make_table(
            shards=rows.slots,
            replicas=rows.replicas,
            members=self._named(),
            owners=owners,
            epochs=epochs,
            generation=table.generation + 1,
            term=self._term,
        )

    def _first(self, slots: int) -> ShardTable:
        replicas = self._wants["replicas"]
        planned = plan(Wanted(slots=slots, replicas=replicas, members=self._members()))
        owners = [n for r in range(replicas) for n in planned.table.holders[r::replicas]]
        return make_table(
            shards=slots, replicas=replicas, members=self._named(), owners=owners, epochs=[1] * slots, generation=1, term=self._term
        )

    def _world(
        self, table: ShardTable, live: Mapping[str, Live], moves: dict[int, Move], reports: Mapping[int, Mapping[str, Report]]
    ) -> World:
        now, presences = time.time(), []
        for one in self._wants["members"]:
            here = live.get(one["id"])
            if here is not None:
                self._away.pop(one["id"], None)
            since = self._away.setdefault(one["id"], now) if here is None else now
            presences.append(
                Presence(
                    id=one["id"],
                    number=one["number"],
                    absent_for=0.0 if here is not None else max(now - since, 0.001),
                    generation=here.generation if here is not None else 0,
                    copying=here.counts.get("copying", 0) + here.counts.get("forwarding", 0) if here is not None else 0,
                    draining=one["id"] in self._wants["draining"],
                    rack=one["rack"],
                )
            )
        owners = [VACANT if n == NOBODY else n for slot in range(table.shards) for n in table.owners_of(slot)]
        return World(
            table=Assignment(replicas=table.replicas, holders=tuple(owners)),
            epochs=table.epochs.tolist(),
            generation=table.generation,
            members=tuple(presences),
            now=now,
            term=self._term,
            moves=moves,
            reports=reports,
            policy=MovePolicy(
                caps=Caps(share=0.25),
                recovery=Caps(share=0.25),
                delay=self._wants["delay"],
                promote_after=0.0,
                retry_after=0.5,
                deadlines=Deadlines(forward=10.0, abort=10.0, drop=20.0),
            ),
            failures=self._failures,
        )

    def _decide(self, world: World, *, together: bool) -> Step:
        try:
            members = counted(self._members(), world)
            slots = world.table.slots // 2 if together else world.table.slots
            wanted = Wanted(slots=slots, replicas=world.table.replicas, members=members)
        except Invalid:
            self._goal = None
        else:
            if why_plan(self._goal, wanted, world):
                self._planned = plan(wanted, elder(effective(world)) if together else effective(world))
                self._goal = Goal(table=split(self._planned.table) if together else self._planned.table, wanted=wanted)
        made = step(replace(world, goal=self._goal.table if self._goal is not None else None))
        self._failures = made.failures
        return made

    def _apply(self, made: Step, table: ShardTable, versions: Mapping[int, int], layout: Layout) -> None:
        if made.publish:
            self._publish(self._next(table, made.publish), layout)
        for order in made.write:
            try:
                self._order(order, versions.get(order.move.shard))
            except Fenced:
                # a member came back, or the epoch is another's: the next pass sees which
                if self._zk.get(f"{self._path}/epoch")[1].version != self._epoch_version:
                    raise
        for slot in made.remove:
            try:
                self._remove(slot, versions[slot])
            except Fenced:
                # a report came beside it
                if self._zk.get(f"{self._path}/epoch")[1].version != self._epoch_version:
                    raise

    def _next(self, table: ShardTable, changes: Mapping[int, Publish]) -> ShardTable:
        owners, epochs = table.owners.tolist(), table.epochs.tolist()
        for slot, change in changes.items():
            for replica, number in enumerate(change.row):
                owners[replica * table.shards + slot] = NOBODY if number == VACANT else number
            epochs[slot] = change.epoch
        return make_table(
            shards=table.shards,
            replicas=table.replicas,
            members=self._named(),
            owners=owners,
            epochs=epochs,
            generation=table.generation + 1,
            term=self._term,
        )

    def _tell(self, made: Step, world: World, *, at_rest: bool) -> None:
        planned = self._planned
        told = {
            "serial": self._wants["serial"],
            "rest": at_rest,
            "generation": world.generation,
            "partitioning": self._published.partitioning.name if self._published is not None else "",
            "retiring": self._published.retiring if self._published is not None else "",
            "term": self._term,
            "active": {state.value: count for state, count in made.tally.active.items()},
            "leaderless": made.tally.leaderless,
            "moves": planned.moves if planned is not None else 0,
            "bound": planned.bound if planned is not None else 0,
            "proven": planned is not None and planned.proven,
            "why": {str(slot): why for slot, why in made.why.items()},
            "rows": [list(row) for row in world.table.rows()],
        }
        aside = self._status.with_suffix(".new")
        aside.write_text(json.dumps(told))
        aside.rename(self._status)


def _live_once(hosts: str, path: str, control: Path, status: Path) -> None:
    client = KazooClient(hosts, timeout=4.0)
    client.start(timeout=30)
    try:
        mover = Mover(client, path, control, status)
        while not select.select([sys.stdin], [], [], _PASS_SECONDS)[0]:
            mover.pass_once()
    finally:
        client.stop()
        client.close()


def main(hosts: str, path: str, control: str, status: str) -> None:
    """Goes on until its standard input ends; a life that ends otherwise is followed by the next one."""
    ended = 1
    while ended:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _live_once(hosts, path, Path(control), Path(status))
                code = 0
            except (KazooException, Fenced, OSError) as error:
                sys.stderr.write(f"a life ended: {error!r}\n")
            finally:
                os._exit(code)
        ended = os.waitpid(child, 0)[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
