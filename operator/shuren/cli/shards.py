"""`shuren shards`: where a key is and why, what a change would move, and what is moving now."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuren.cli import options
from shuren.cli.exits import Exit, Failed, run
from shuren.cli.output import Format, say, structured, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from shuren.cli.session import Session, Where
    from shuren.clients.zookeeper.fenced import FencedRoot
    from shuren.domain.shardmap.plan import MapPlan
    from shuren.domain.shardmap.snapshot import MapName, MapSeen, MapSnapshot
    from shuren.ports.kubernetes import Object
    from shuren.sharding.core.table import ShardTable

app = typer.Typer(no_args_is_help=True, help="Shard maps: where keys are, what a change would move, what moves.")

Map = Annotated[str, typer.Option("--map", "-m", help="ShardMap. Default: the only one of the namespace.")]


@app.command()
def explain(
    key: Annotated[str, typer.Argument(help="A key as clients give it; with --slot the number of a shard.")],
    *,
    by_slot: Annotated[bool, typer.Option("--slot", help="KEY is the number of a shard.")] = False,
    name: Map = "",
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    output: options.Output = Format.TABLE,
) -> None:
    """Tell which shard a key is in, which members hold it, why they do, and what moves it."""
    from dataclasses import asdict  # noqa: PLC0415

    from shuren.cli.session import Where  # noqa: PLC0415

    found, place = run(_explain(key, name, Where(kubeconfig=kubeconfig, context=context, namespace=namespace), by_slot=by_slot))
    if structured({"map": place, **asdict(found)}, output):
        return
    what = f"shard {found.slot}" if by_slot else f"{key!r} is in shard {found.slot}"
    say(f"{what} of {found.shards} ({place}, generation {found.generation}, epoch {found.epoch})")
    rows = [
        (h.role, h.id, h.address, h.rack, "yes" if h.live else "no", f"{h.holds} (share {h.share:.1f})", str(h.leads))
        for h in found.holders
    ]
    table(("ROLE", "MEMBER", "ADDRESS", "RACK", "REGISTERED", "HOLDS", "LEADS"), rows)
    if not found.holders:
        say("nobody holds it", "red")
    for sentence in found.move or ("it does not move",):
        say(sentence)


async def _explain(key: str, name: str, where: Where, *, by_slot: bool) -> tuple[Any, str]:
    from shuren.domain.shardmap import explain as explained  # noqa: PLC0415

    async with _opened(where, name) as opened:
        seen, published = await opened.need()
        slot = _slot(key, published) if by_slot else explained.slot_of_key(published, key)
        return explained.shard(seen, published, slot), opened.place


def _slot(text: str, published: ShardTable) -> int:
    if not text.isdigit() or int(text) >= published.shards:
        raise Failed(f"{text} is no shard of this map: they are numbered from 0 to {published.shards - 1}")
    return int(text)


# ---------------------------------------------------------------------------------------------------- plan


@app.command()
def plan(
    *,
    file: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", help="File with a ShardMap, or the PaasApp of its members; - for standard input; repeatable."),
    ] = None,
    drain: Annotated[list[str] | None, typer.Option("--drain", help="A member or the host name of an agent to empty; repeatable.")] = None,
    name: Map = "",
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 when any shard would move.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    output: options.Output = Format.TABLE,
) -> None:
    """Tell what a change would move, before it happens: the operator's own planner on the map as it is published now.

    Members that a change brings and that have not registered yet are called new-1, new-2, …; nothing is written anywhere.
    """
    from shuren.cli.session import Where  # noqa: PLC0415

    if not file and not drain:
        raise typer.BadParameter("say what to plan: -f FILE or --drain MEMBER")
    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace)
    found = run(_plan(file or [], drain or [], name, where))
    if not structured(found, output):
        _print_plan(found, wide=output is Format.WIDE)
    if exit_code and found["shards"]:
        raise typer.Exit(Exit.FOUND)


def _print_plan(found: Mapping[str, Any], *, wide: bool) -> None:
    for problem in found["problems"]:
        say(problem, "red")
    if not found["shards"]:
        say("no shard would move" if not found["problems"] else "nothing would move before this is mended")
        for sentence in found["advice"]:
            say(sentence, "yellow")
        return
    fewest = "the fewest possible" if found["moves"] == found["lowerBound"] else f"at least {found['lowerBound']} are needed"
    say(f"{found['moves']} replicas would be copied, {fewest}; {len(found['shards'])} shards change")
    rows = [
        (m["id"], str(m["before"]), str(m["after"]), f"{m['after'] - m['before']:+d}", str(m["leadsBefore"]), str(m["leadsAfter"]))
        for m in found["members"]
    ]
    table(("MEMBER", "HOLDS", "WILL HOLD", "CHANGE", "LEADS", "WILL LEAD"), rows)
    if wide:
        table(("SHARD", "HOLDERS"), [(str(s["shard"]), s["change"]) for s in found["shards"]])
    for sentence in found["advice"]:
        say(sentence, "yellow")


async def _plan(files: list[str], drain: list[str], name: str, where: Where) -> dict[str, Any]:
    from shuren.cli.files import read  # noqa: PLC0415

    given = read(files, [])
    maps = [item for item in given if item["kind"] == "ShardMap"]
    apps = {item["metadata"]["name"]: item for item in given if item["kind"] == "PaasApp"}
    if len(maps) > 1:
        raise Failed(f"these files hold {len(maps)} ShardMaps: plan one at a time")
    wanted = maps[0]["metadata"]["name"] if maps else name
    async with _opened(where, wanted) as opened:
        seen, published = await opened.need()
        _check_drain(drain, seen, published)
        item = dict(opened.item)
        if maps:
            item["spec"] = maps[0]["spec"]
        snapshot = await opened.snapshot(item, seen, apps, frozenset(drain))
    return _planned(snapshot, published)


def _check_drain(drain: list[str], seen: MapSeen, published: ShardTable) -> None:
    """A name that nobody has would be planned as no change at all."""
    known = {m.id for m in published.members} | {m.host for m in published.members} | seen.live.keys()
    for name in drain:
        if name not in known:
            members = ", ".join(sorted(m.id for m in published.members)[:_SOME])
            raise Failed(f"--drain {name}: no member of this map and no host of one; members are {members}")


_SOME = 10
"""Names that fit a line."""


def _planned(snapshot: MapSnapshot, published: ShardTable) -> dict[str, Any]:
    from shuren.domain.shardmap import explain as explained  # noqa: PLC0415
    from shuren.domain.shardmap.preview import ahead  # noqa: PLC0415
    from shuren.domain.shards.assignment import changes  # noqa: PLC0415

    counts = ahead(snapshot)
    decided = counts.decided
    goal = decided.memory.goal
    before = explained.rows_of(published)
    after = goal.table if goal is not None else before
    names = {m.number: m.id for m in published.members} | {m.id: m.name for m in (goal.wanted.members if goal is not None else ())}
    changed = changes(before, after) if after.slots == before.slots else ()
    return {
        "map": snapshot.path,
        "moves": counts.moves,
        "lowerBound": counts.bound,
        "proven": counts.proven,
        "shards": [{"shard": c.slot, "change": explained.sentence(c, names)} for c in changed],
        "members": [
            {"id": one.id, "before": one.before, "after": one.after, "leadsBefore": one.leads_before, "leadsAfter": one.leads_after}
            for one in explained.loads(before, after, names)
        ],
        "advice": [
            *(f"{note}; that copies nothing" for reason, note in decided.news if reason == "Repartitioned"),
            *(message for _, message in decided.memory.findings),
        ],
        "problems": _problems(decided),
    }


def _problems(decided: MapPlan) -> list[str]:
    """Why the change could not be followed."""
    from shuren.domain.conditions import ConditionType, Truth  # noqa: PLC0415

    ready = next((c for c in decided.conditions or () if c.type is ConditionType.READY), None)
    if ready is None or ready.status is Truth.TRUE or ready.reason in {"NoPrimary", "Suspended"}:
        return []
    return [ready.message]


# ---------------------------------------------------------------------------------------------------- watch


@app.command()
def watch(
    name: Annotated[str, typer.Argument(help="ShardMap. Default: the only one of the namespace.")] = "",
    *,
    once: Annotated[bool, typer.Option("--once", help="End when no shard moves (any more).")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
) -> None:
    """Follow a map: generations, members that come and go, and every step of every move, as ZooKeeper tells them."""
    from shuren.cli.session import Where  # noqa: PLC0415

    run(_watch(name, Where(kubeconfig=kubeconfig, context=context, namespace=namespace), once=once))


async def _watch(name: str, where: Where, *, once: bool) -> None:
    from shuren.domain.shardmap.explain import happened  # noqa: PLC0415

    async with _opened(where, name) as opened:
        before: MapSeen | None = None
        while True:
            changed = opened.changed()
            seen = await opened.look()
            for sentence in happened(before, seen):
                say(sentence)
            if once and not seen.moves:
                say(f"{opened.place}: no shard moves")
                return
            before = seen
            await changed.wait()
            # a burst of changes is told together
            await asyncio.sleep(0.05)


# ---------------------------------------------------------------------------------------------------- a map and its ZooKeeper


class _Opened:
    """One ShardMap with a connection to the ZooKeeper that it is published in."""

    def __init__(self, session: Session, item: Object, name: MapName, root: FencedRoot) -> None:
        self._session = session
        self.item = item
        self.name = name
        self._root = root
        self._watching: list[Any] = []

    @property
    def place(self) -> str:
        """Where the map lies."""
        return f"{self._root.root}/shards/{self.name}"

    async def look(self) -> MapSeen:
        """What lies there now."""
        from shuren.controllers.estate.shard_nodes import look_at  # noqa: PLC0415

        return await look_at(self._root, self.name)

    async def need(self) -> tuple[MapSeen, ShardTable]:
        """What lies there, which has to be a good table."""
        seen = await self.look()
        if seen.broken:
            raise Failed(f"{self.place}/head cannot be used: {seen.broken}")
        if seen.table is None:
            raise Failed(f"nothing is published at {self.place} yet; kubectl describe shm {self.name.name} says what it waits for")
        return seen, seen.table

    def changed(self) -> asyncio.Event:
        """Set when something may have changed after this call."""
        event = asyncio.Event()
        for stop in self._watching:
            stop()
        base = f"/shards/{self.name}"
        paths = (f"{base}/head", f"{base}/live", f"{base}/moves")
        self._watching = [self._root.watch(path, event.set) for path in paths]
        # states of moves and what members act by are data of nodes below, which these watches do not tell: looked at again soon
        asyncio.get_running_loop().call_later(0.5, event.set)
        return event

    async def snapshot(self, item: Object, seen: MapSeen, apps: Mapping[str, Object], drain: frozenset[str]) -> MapSnapshot:
        """As the operator would see it with another spec or app, and these members to be emptied."""
        from dataclasses import replace  # noqa: PLC0415
        from datetime import UTC, datetime  # noqa: PLC0415

        from shuren.controllers.shardmap.reading import read  # noqa: PLC0415
        from shuren.domain.app.snapshot import ClusterView  # noqa: PLC0415
        from shuren.domain.identity import ObjectKey  # noqa: PLC0415
        from shuren.domain.shardmap.preview import source_of  # noqa: PLC0415
        from shuren.domain.shardmap.snapshot import MapSnapshot  # noqa: PLC0415

        key = ObjectKey(kind="ShardMap", namespace=self.name.namespace, name=self.name.name)
        reading = read(key, item)
        if reading.problem is not None or reading.spec is None or reading.members is None:
            raise Failed(f"the ShardMap cannot be used: {reading.problem.message if reading.problem is not None else 'it has no spec'}")
        app = apps.get(reading.members.app)
        instances = int(app["spec"].get("instances", 1)) if app is not None else None
        source, shown = source_of(seen, static=reading.members.static, weights=dict(reading.members.weights), instances=instances)
        return MapSnapshot(
            resource=replace(reading.resource, deleting=False),
            cluster=ClusterView(name=reading.cluster),
            path=self.place,
            spec=replace(reading.spec, drain=reading.spec.drain | drain, suspend=False),
            source=source,
            seen=shown,
            now=datetime.now(UTC),
        )


@asynccontextmanager
async def _opened(where: Where, name: str) -> AsyncIterator[_Opened]:
    from shuren.cli.live import credentials_of  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.clients.parts import parts_of  # noqa: PLC0415
    from shuren.controllers.mesoscluster import gather  # noqa: PLC0415
    from shuren.domain.shardmap.snapshot import MapName  # noqa: PLC0415
    from shuren.ports.kubernetes import MESOS_CLUSTERS, SHARD_MAPS  # noqa: PLC0415

    async with session(where) as connection:
        item = await connection.need(SHARD_MAPS, name or await _only(connection))
        metadata = item["metadata"]
        cluster = await connection.need(MESOS_CLUSTERS, item["spec"]["clusterRef"]["name"])
        settings = gather.settings(cluster)
        parts = parts_of(settings, await credentials_of(connection, settings, {}))
        try:
            await parts.zookeeper.connect(within=10.0)
            yield _Opened(connection, item, MapName(namespace=metadata["namespace"], name=metadata["name"]), parts.root)
        finally:
            await parts.close()


async def _only(connection: Session) -> str:
    from shuren.ports.kubernetes import SHARD_MAPS  # noqa: PLC0415

    page = await connection.kubernetes.list(SHARD_MAPS, namespace=connection.namespace)
    names = sorted(item["metadata"]["name"] for item in page.items)
    if len(names) != 1:
        found = f"these ShardMaps: {', '.join(names)}" if names else "no ShardMap"
        raise Failed(f"namespace {connection.namespace} has {found}; name one with --map")
    return str(names[0])
