"""What lies of shard maps in one cluster's ZooKeeper, kept by watches, and the writes to it.

    /shards/<ns>.<map>            whose it is: {"kind", "namespace", "name", "uid"}
    /shards/<ns>.<map>/head       … gen/<g>/…, moves/<shard>, live/<member>: see `shuren.sharding.core.codec`

The operator alone writes heads, generations and moves, so what was read of them once in a term stays true until we write it ourselves;
somebody's meddling with a head is noticed by its watch. Members write their live nodes and reports, and each of these is watched.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shuren.controllers.estate.shard_nodes import GENERATIONS, HEAD, LIVE, MOVES, SHARDS, Published, read_head, remove_tree
from shuren.domain.errors import Fenced, Gone, Invalid, ShurenError, Transient, Unreachable
from shuren.domain.shardmap.plan import PublishTable, WriteMove
from shuren.domain.shardmap.snapshot import MapName, MapSeen
from shuren.ports.clock import Clock
from shuren.ports.zookeeper import Create, Delete, FencedZooKeeper, Operation, Session, SetData
from shuren.sharding.core.codec import moves as moves_codec
from shuren.sharding.core.codec import publication
from shuren.sharding.core.errors import Malformed
from shuren.sharding.core.moves import Live, Move, Report

log = logging.getLogger(__name__)

_RETRY = 0.5
_RETRY_SLOWEST = 10.0
_MOST_BYTES = 700_000
_GATHER = 0.01
"""Seconds for which news of members are gathered: a new generation is acknowledged by all of them at once."""

Changed = Callable[[frozenset[MapName] | None], None]
"""Gets the maps that look different; None: all, a new term has been read."""
_Stale = tuple[str, str]
"""What is to be read again of a map: ("map", ""), ("head", ""), ("live", ""), ("live", node), ("move", shard)."""


@dataclass(kw_only=True)
class _Ordered:
    """A move as it lies there."""

    move: Move
    version: int
    reports: dict[str, Report] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Entry:
    """One map. `known` False: something was written or meddled with, and has to be read before anybody decides on it."""

    known: bool = False
    exists: bool = False
    version: int = 0
    uid: str = ""
    foreign: str = ""
    published: Published = field(default_factory=Published)
    moves: dict[int, _Ordered] = field(default_factory=dict)
    live: dict[str, Live] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    looked_at: float | None = None
    stale: set[_Stale] = field(default_factory=lambda: {("map", "")})
    watches: dict[str, Callable[[], None]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ShardMaps:
    """See the module. Call `look` when a new term has begun."""

    def __init__(self, *, zookeeper: FencedZooKeeper, clock: Clock, changed: Changed = lambda _: None) -> None:
        self._zookeeper = zookeeper
        self._clock = clock
        self._changed = changed
        self._entries: dict[MapName, _Entry] = {}
        self._term = 0
        self._list_stale = True
        self._wake = asyncio.Event()
        zookeeper.on_session(self._session_changed)

    # ------------------------------------------------------------------------------------------------ the picture

    def path(self, name: MapName) -> str:
        """Where a map lies, as clients and members are given it."""
        return f"{self._zookeeper.root}{SHARDS}/{name}"

    @property
    def names(self) -> frozenset[MapName]:
        """All of which something lies there; empty while that is not known."""
        return frozenset(name for name, entry in self._entries.items() if entry.exists) if self._in_term else frozenset()

    @property
    def _in_term(self) -> bool:
        epoch = self._zookeeper.epoch
        return epoch is not None and epoch.number == self._term

    def get(self, name: MapName) -> MapSeen | None:
        """What lies there of a map; None while it is not known. Whoever asks is told of changes from then on."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = _Entry()
            self._wake.set()
        if not self._in_term or not entry.known or entry.looked_at is None or self._zookeeper.session is not Session.CONNECTED:
            return None
        now = self._clock.monotonic()
        table = entry.published.table
        return MapSeen(
            exists=entry.exists,
            uid=entry.uid,
            foreign=entry.foreign,
            broken=entry.published.broken,
            table=table,
            partitioning=entry.published.head.partitioning if entry.published.head is not None else "",
            retiring=entry.published.head.retiring if entry.published.head is not None else "",
            live=dict(entry.live),
            unseen_for={member: now - since for member, since in entry.since.items() if member not in entry.live},
            looked_for=now - entry.looked_at,
            moves={shard: ordered.move for shard, ordered in entry.moves.items()},
            reports={shard: dict(ordered.reports) for shard, ordered in entry.moves.items()},
            retained=tuple(sorted(entry.published.generations)),
            numbers=entry.published.numbers(),
        )

    # ------------------------------------------------------------------------------------------------ running

    def look(self) -> None:
        """A new term has begun: read."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the picture until cancelled."""
        unwatch = self._zookeeper.watch(SHARDS, self._list_waker)
        failures = 0
        try:
            while True:
                try:
                    await self._read()
                    failures = 0
                except ShurenError as error:
                    failures += 1
                    log.debug("shard maps cannot be read: %s", error)
                    await self._clock.sleep(min(_RETRY * 2 ** (failures - 1), _RETRY_SLOWEST))
                if not self._busy():
                    self._wake.clear()
                    await self._wake.wait()
                    await self._clock.sleep(_GATHER)
        finally:
            unwatch()
            for entry in self._entries.values():
                _unwatch(entry)

    def _session_changed(self, session: Session) -> None:
        """Nobody was seen while there was no session: whoever is absent afterwards is so from then on."""
        if session is not Session.CONNECTED:
            return
        now = self._clock.monotonic()
        for entry in self._entries.values():
            entry.known = False
            entry.looked_at = now if entry.looked_at is not None else None
            entry.since = dict.fromkeys(entry.since, now)
            entry.stale.add(("map", ""))
        self._wake.set()

    def _busy(self) -> bool:
        if self._zookeeper.epoch is None:
            return False
        return not self._in_term or self._list_stale or any(entry.stale for entry in self._entries.values())

    def _list_waker(self) -> None:
        self._list_stale = True
        self._wake.set()

    def _waker(self, name: MapName, what: _Stale) -> Callable[[], None]:
        def wake() -> None:
            entry = self._entries.get(name)
            if entry is not None:
                entry.stale.add(what)
                self._wake.set()

        return wake

    # ------------------------------------------------------------------------------------------------ reading

    async def _read(self) -> None:
        epoch = self._zookeeper.epoch
        if epoch is None:
            return
        fresh = epoch.number != self._term
        if fresh:
            for entry in self._entries.values():
                _unwatch(entry)
            self._entries = {name: _Entry() for name in self._entries}
            self._list_stale = True
        if self._list_stale:
            await self._read_list()
        told: set[MapName] = set()
        for name, entry in list(self._entries.items()):
            if entry.stale:
                async with entry.lock:
                    if await self._read_map(name, entry):
                        told.add(name)
        if fresh:
            self._term = epoch.number
            self._changed(None)
        elif told:
            self._changed(frozenset(told))

    async def _read_list(self) -> None:
        self._list_stale = False
        try:
            names = await self._zookeeper.children(SHARDS) or ()
        except BaseException:
            self._list_stale = True
            raise
        for text in names:
            name = MapName.parse(text)
            entry = self._entries.get(name)
            if entry is None:
                self._entries[name] = _Entry()
            elif not entry.exists:
                entry.stale.add(("map", ""))

    async def _read_map(self, name: MapName, entry: _Entry) -> bool:
        """Read what is stale; whether anything looks different. What could not be read stays stale."""
        stale, entry.stale = entry.stale, set()
        before = (entry.known, entry.exists, entry.foreign, entry.published.broken, entry.published.version)
        changed = False
        try:
            if ("map", "") in stale:
                changed = await self._read_whole(name, entry)
            elif entry.exists:
                if ("head", "") in stale:
                    await self._read_head(name, entry)
                members = {node for kind, node in stale if kind == "live"}
                if members:
                    changed = await self._read_live(name, entry, members)
                for shard in sorted(int(node) for kind, node in stale if kind == "move"):
                    changed = await self._read_reports(name, entry, shard) or changed
        except BaseException:
            entry.stale |= stale
            raise
        return changed or before != (entry.known, entry.exists, entry.foreign, entry.published.broken, entry.published.version)

    async def _read_whole(self, name: MapName, entry: _Entry) -> bool:
        base = f"{SHARDS}/{name}"
        self._watch(name, entry, base, ("map", ""))
        node = await self._zookeeper.get(base)
        entry.exists = node is not None
        entry.looked_at = self._clock.monotonic() if entry.looked_at is None else entry.looked_at
        if node is None:
            entry.known, entry.foreign, entry.uid, entry.published = True, "", "", Published()
            entry.moves, entry.live = {}, {}
            return True
        self._watch_map(name, entry)
        entry.version = node.version
        await self._read_head(name, entry)
        entry.foreign, entry.uid = _owner(node.data, name, published=entry.published.head is not None or bool(entry.published.generations))
        # everybody is read, also who is watched: what else is stale now, such as by a new session, is read by this
        await self._read_live(name, entry, {""}, everybody=True)
        await self._read_moves(name, entry)
        if entry.published.table is None and not entry.published.broken and entry.moves:
            entry.published.broken = "it is gone, and moves lie there"
        entry.known = True
        return True

    async def _read_head(self, name: MapName, entry: _Entry) -> None:
        entry.published = await read_head(self._zookeeper, f"{SHARDS}/{name}", known=entry.published, epoch=self._zookeeper.epoch)

    async def _read_live(self, name: MapName, entry: _Entry, nodes: set[str], *, everybody: bool = False) -> bool:
        base = f"{SHARDS}/{name}{LIVE}"
        now = self._clock.monotonic()
        if "" in nodes:
            there = set(await self._zookeeper.children(base) or ())
            watched = {path.rpartition("/")[2] for path in entry.watches if path.startswith(f"{base}/")}
            for gone in watched - there:
                entry.watches.pop(f"{base}/{gone}")()
            for new in there - watched:
                self._watch(name, entry, f"{base}/{new}", ("live", new))
            nodes = there if everybody else (nodes - {""}) | (there - watched)
            gone_ids = entry.live.keys() - {moves_codec.member_of(node) for node in there}
        else:
            gone_ids = set()
        before = _said(entry.live)
        for member in gone_ids:
            del entry.live[member]
            entry.since[member] = now
        listed = sorted(nodes)
        try:
            data = await self._zookeeper.get_many([f"{base}/{node}" for node in listed])
        except BaseException:
            # they are watched by now, so that the list alone does not bring them again
            entry.stale |= {("live", node) for node in listed}
            raise
        for node, found in zip(listed, data, strict=True):
            member = moves_codec.member_of(node)
            live = _live(found.data, base, node) if found is not None else None
            if live is not None and live.id == member:
                entry.live[member] = live
                entry.since.pop(member, None)
            elif entry.live.pop(member, None) is not None:
                entry.since[member] = now
        return _said(entry.live) != before

    async def _read_moves(self, name: MapName, entry: _Entry) -> None:
        base = f"{SHARDS}/{name}{MOVES}"
        nodes = await self._zookeeper.children(base) or ()
        found = await self._zookeeper.get_many([f"{base}/{node}" for node in nodes])
        moves: dict[int, _Ordered] = {}
        for text, node in zip(nodes, found, strict=True):
            shard = moves_codec.shard_of(text)
            if shard is None or node is None:
                continue
            try:
                moves[shard] = _Ordered(move=moves_codec.decode_move(shard, node.data), version=node.version)
            except Malformed as error:
                entry.published.broken = f"moves/{text} is no order of ours: {error}"
        for shard in entry.moves.keys() - moves.keys():
            self._unwatch_move(name, entry, shard)
        entry.moves = moves
        for shard in sorted(moves):
            self._watch_move(name, entry, moves[shard].move)
            await self._read_reports(name, entry, shard)

    async def _read_reports(self, name: MapName, entry: _Entry, shard: int) -> bool:
        ordered = entry.moves.get(shard)
        if ordered is None:
            return False
        base = f"{SHARDS}/{name}{MOVES}/{shard}"
        nodes = await self._zookeeper.children(base) or ()
        found = await self._zookeeper.get_many([f"{base}/{node}" for node in nodes])
        reports: dict[str, Report] = {}
        for text, node in zip(nodes, found, strict=True):
            if node is None:
                continue
            try:
                reports[moves_codec.member_of(text)] = moves_codec.decode_report(node.data)
            except Malformed as error:
                log.warning("%s/%s: %s; it counts as no answer", base, text, error)
        before, ordered.reports = ordered.reports, reports
        return before != reports

    # ------------------------------------------------------------------------------------------------ watches

    def _watch(self, name: MapName, entry: _Entry, path: str, what: _Stale) -> None:
        if path not in entry.watches:
            entry.watches[path] = self._zookeeper.watch(path, self._waker(name, what))

    def _watch_map(self, name: MapName, entry: _Entry) -> None:
        base = f"{SHARDS}/{name}"
        self._watch(name, entry, base + LIVE, ("live", ""))
        self._watch(name, entry, base + HEAD, ("head", ""))

    def _watch_move(self, name: MapName, entry: _Entry, move: Move) -> None:
        base = f"{SHARDS}/{name}{MOVES}/{move.shard}"
        what = ("move", str(move.shard))
        self._watch(name, entry, base, what)
        for member in (move.from_, move.to):
            if member is not None:
                self._watch(name, entry, f"{base}/{moves_codec.node_name(member)}", what)

    def _unwatch_move(self, name: MapName, entry: _Entry, shard: int) -> None:
        base = f"{SHARDS}/{name}{MOVES}/{shard}"
        for path in [path for path in entry.watches if path == base or path.startswith(f"{base}/")]:
            entry.watches.pop(path)()

    # ------------------------------------------------------------------------------------------------ writing

    def _entry(self, name: MapName) -> _Entry:
        entry = self._entries.get(name)
        if entry is None or not entry.known or not self._in_term:
            raise Unreachable(f"what lies in ZooKeeper of shard map {name} is not known yet")
        return entry

    async def take(self, name: MapName, *, uid: str) -> None:
        """Write our record into the map's node, and make what members expect below it. Conflict when somebody was there first."""
        entry = self._entry(name)
        base = f"{SHARDS}/{name}"
        data = _record(name, uid)
        async with entry.lock:
            await self._zookeeper.whole.ensure_path(self._zookeeper.root + SHARDS)
            own: Operation = SetData(path=base, data=data, version=entry.version) if entry.exists else Create(path=base, data=data)
            there = await self._zookeeper.children(base) or ()
            missing = [child for child in (LIVE, MOVES, GENERATIONS) if child.removeprefix("/") not in there]
            await self._commit(entry, [own, *(Create(path=base + child) for child in missing)])
            entry.version = entry.version + 1 if entry.exists else 0
            entry.exists, entry.uid = True, uid
            self._watch_map(name, entry)
            self._read_again(entry, ("live", ""), ("head", ""))

    async def publish(self, name: MapName, change: PublishTable) -> None:
        """The pieces first, then the head if it is still the one that we know. Conflict when it is not."""
        entry = self._entry(name)
        base = f"{SHARDS}/{name}"
        async with entry.lock:
            known = entry.published
            found = publication.publish(change.table, previous=known.table, partitioning=change.partitioning, retiring=change.retiring)
            place = f"{base}/{publication.directory(change.table.generation)}"
            there = await self._zookeeper.children(place)
            # left there by a publication that did not come to its end: nobody reads it before a head names it
            left = set(there or ())
            pieces: list[Operation] = [] if there is not None else [Create(path=place)]
            for path, data in found.nodes.items():
                where = f"{base}/{path}"
                again = path.rpartition("/")[2] in left
                pieces.append(SetData(path=where, data=data, version=-1) if again else Create(path=where, data=data))
            for part in _parts(pieces):
                await self._commit(entry, part)
            head = base + HEAD
            own: Operation = (
                Create(path=head, data=found.head_data)
                if known.version is None
                else SetData(path=head, data=found.head_data, version=known.version)
            )
            try:
                (version,) = await self._commit(entry, [own])
            except Transient:
                # it may be the newest by now: what is read next is not held against what was known
                entry.published = Published()
                raise
            generations = {**known.generations, change.table.generation: {m.id: m.number for m in change.table.members}}
            entry.published = Published(head=found.head, table=change.table, version=version, generations=generations)

    async def order(self, name: MapName, order: WriteMove) -> None:
        """Write a move. Conflict when it is not as it was, or one of those that must not be there has registered."""
        entry = self._entry(name)
        base = f"{SHARDS}/{name}"
        async with entry.lock:
            move = order.move
            path = f"{base}{MOVES}/{move.shard}"
            known = entry.moves.get(move.shard)
            data = moves_codec.encode_move(move)
            own: Operation = Create(path=path, data=data) if known is None else SetData(path=path, data=data, version=known.version)
            guards: list[Operation] = []
            for member in order.unless_live:
                live = f"{base}{LIVE}/{moves_codec.node_name(member)}"
                guards += [Create(path=live), Delete(path=live)]
            version, *_ = await self._commit(entry, [own, *guards])
            entry.moves[move.shard] = _Ordered(move=move, version=version or 0, reports=known.reports if known is not None else {})
            self._watch_move(name, entry, move)
            if known is None:
                self._read_again(entry, ("move", str(move.shard)))

    async def over(self, name: MapName, shard: int) -> None:
        """Remove a move with the reports on it."""
        entry = self._entry(name)
        async with entry.lock:
            known = entry.moves.get(shard)
            if known is None:
                return
            path = f"{SHARDS}/{name}{MOVES}/{shard}"
            reports = await self._zookeeper.children(path)
            operations: list[Operation] = [Delete(path=f"{path}/{report}") for report in reports or ()]
            try:
                await self._commit(entry, [*operations, Delete(path=path, version=known.version)])
            finally:
                self._unwatch_move(name, entry, shard)
            entry.moves.pop(shard, None)

    async def forget(self, name: MapName, generations: Iterable[int]) -> None:
        """Delete the nodes of old generations."""
        entry = self._entry(name)
        async with entry.lock:
            for generation in generations:
                place = f"{SHARDS}/{name}/{publication.directory(generation)}"
                pieces = await self._zookeeper.children(place)
                if pieces is not None:
                    await self._commit(entry, [*(Delete(path=f"{place}/{piece}") for piece in pieces), Delete(path=place)])
                entry.published.generations.pop(generation, None)

    async def withdraw(self, name: MapName) -> None:
        """Remove everything of a map, the head first, so that no client reads half of it."""
        entry = self._entry(name)
        async with entry.lock:
            entry.known = False
            entry.stale.add(("map", ""))
            try:
                await remove_tree(self._zookeeper, f"{SHARDS}/{name}")
            except Gone:
                pass
            finally:
                self._wake.set()
            for path in [path for path in entry.watches if path != f"{SHARDS}/{name}"]:
                entry.watches.pop(path)()
            entry.known, entry.exists, entry.published, entry.moves, entry.live = True, False, Published(), {}, {}

    def _read_again(self, entry: _Entry, *what: _Stale) -> None:
        """What members wrote between our own write and the watch that was left after it, no watch tells."""
        entry.stale.update(what)
        self._wake.set()

    async def _commit(self, entry: _Entry, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        try:
            return await self._zookeeper.commit(operations)
        except (Fenced, Invalid):
            raise
        except ShurenError:
            # not as known, or nobody knows whether it was written: read before anything else is decided
            entry.known = False
            entry.stale.add(("map", ""))
            self._wake.set()
            raise


def _parts(operations: Iterable[Operation]) -> Iterable[list[Operation]]:
    """In their order, each part small enough for one request."""
    part: list[Operation] = []
    size = 0
    for operation in operations:
        bytes_ = len(operation.path) + (len(operation.data) if isinstance(operation, (Create, SetData)) else 0)
        if part and size + bytes_ > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(operation)
        size += bytes_
    if part:
        yield part


def _record(name: MapName, uid: str) -> bytes:
    return json.dumps(
        {"kind": "ShardMap", "namespace": name.namespace, "name": name.name, "uid": uid}, separators=(",", ":"), sort_keys=True
    ).encode()


def _owner(data: bytes, name: MapName, *, published: bool) -> tuple[str, str]:
    """(why it is not ours, uid). A node without a record is anybody's while nothing is published below it: members make it, too."""
    if not data:
        return ("it has no record of whose it is, and something is published below it" if published else ""), ""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("kind") != "ShardMap":
        return "its data is no record of a ShardMap", ""
    if (record.get("namespace"), record.get("name")) != (name.namespace, name.name):
        return f"it belongs to ShardMap {record.get('namespace')}/{record.get('name')}", ""
    return "", str(record.get("uid") or "")


def _said(live: Mapping[str, Live]) -> dict[str, Live]:
    """What members say but for their load, which is another with every heartbeat and is looked at when its time comes."""
    return {member: replace(one, load=None, hottest={}) if one.load is not None else one for member, one in live.items()}


def _live(data: bytes, base: str, node: str) -> Live | None:
    try:
        return moves_codec.decode_live(data)
    except Malformed as error:
        log.warning("%s/%s: %s; it counts as nobody", base, node, error)
        return None


def _unwatch(entry: _Entry) -> None:
    for stop in entry.watches.values():
        stop()
    entry.watches.clear()
