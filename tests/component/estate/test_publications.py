"""What is published of services: read once per term, written in groups under the fence, right after a crash at any write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from estate_room import ROOT, pass_time, running, turns
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.crash import Crash, CrashPoint, Moment
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.publications import Publications
from shuren.domain.errors import Conflict, Fenced, ShurenError, UnknownOutcome, Unreachable
from shuren.domain.service import records, wire
from shuren.domain.service.plan import Publish
from shuren.domain.service.records import RecordFolder, RecordFormat
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import Endpoint, EndpointSet, EndpointState, Names, Route, ServiceName
from shuren.ports.zookeeper import Delete

WEB = ServiceName(namespace="shop", name="web")
API = ServiceName(namespace="shop", name="api")
FOLDER = RecordFolder(format=RecordFormat.CURATOR, path="/discovery/web")


def endpoints(count: int, generation: int = 1, *, padding: int = 0) -> EndpointSet:
    found = (
        Endpoint(id=f"web.{n:05}:0", address="127.0.0.1", port=31000, state=EndpointState.READY, task="x" * padding) for n in range(count)
    )
    return EndpointSet(generation=generation, endpoints=tuple(found))


def everything(given: EndpointSet, journal: dict[str, str] | None = None, service: ServiceName = WEB) -> Publish:
    route = Route(service=service, group="public", generation=given.generation, uid="u", since="", listener={"port": 80})
    names = Names(service=service, names=(service.name,))
    folder = replace(FOLDER, path=f"/discovery/{service.name}")
    change = records.change([folder], given.endpoints, journal or {})
    return Publish(service=service, endpoints=given, route=route, names=names, records=change or None)


class Party:
    """One process' view of what is published."""

    def __init__(self, tree: ZooTree, clock: ManualClock, *, hook: CrashPoint | None = None) -> None:
        self.clock = clock
        self.session = FakeZooKeeper(tree, hook=hook)
        self.root = FencedRoot(self.session, ROOT)
        self.publications = Publications(zookeeper=self.root, clock=clock)

    async def lead(self) -> None:
        await self.root.take_over(holder="one", installation="i")
        self.publications.look()

    async def done(self, *asked: Awaitable[None]) -> list[BaseException | None]:
        """Outcomes of what was asked for, with time passing meanwhile."""
        waiting = asyncio.gather(*asked, return_exceptions=True)
        await pass_time(self.clock, 0.05)
        return list(await waiting)

    def get(self, service: ServiceName = WEB) -> Published:
        found = self.publications.get(service)
        assert found is not None
        return found


async def party(tree: ZooTree | None = None) -> Party:
    made = Party(tree or ZooTree(), ManualClock())
    await made.lead()
    return made


def below(tree: ZooTree, path: str) -> dict[str, bytes]:
    return {name: data for name, data in tree.dump().items() if name.startswith(path + "/")}


async def test_nothing_is_known_before_a_term_begins() -> None:
    one = Party(ZooTree(), ManualClock())
    async with running(one.publications.run()):
        assert one.publications.get(WEB) is None
        assert isinstance((await one.done(one.publications.publish(everything(endpoints(1)))))[0], Unreachable)
        await one.lead()
        await pass_time(one.clock, 0.1)
        assert one.publications.get(WEB) == Published()


async def test_all_parts_of_a_service_are_one_write_and_read_back_in_the_next_term() -> None:
    one = await party()
    change = everything(endpoints(3))
    async with running(one.publications.run()):
        assert await one.done(one.publications.publish(change)) == [None]
        whole = {f"{ROOT}/endpoints/shop.web", f"{ROOT}/routes/public/shop.web", "/discovery/web/web.00000:0"}
        assert any(whole <= set(commit) for commit in one.session.tree.commits)
        mine = one.get()
    other = await party(one.session.tree)
    async with running(other.publications.run()):
        await pass_time(other.clock, 0.1)
        assert other.get() == mine
        assert other.publications.services == {WEB}
    assert mine.endpoints == change.endpoints
    assert set(mine.routes) == {"public"}
    assert len(mine.journal) == 3


async def test_writes_of_one_moment_share_a_multi() -> None:
    one = await party()
    async with running(one.publications.run()):
        await one.done(one.publications.publish(everything(endpoints(1))))
        before = len(one.session.tree.commits)
        services = [ServiceName(namespace="shop", name=f"s{n}") for n in range(20)]
        asked = [one.publications.publish(Publish(service=s, endpoints=endpoints(1))) for s in services]
        assert await one.done(*asked) == [None] * 20
        assert len(one.session.tree.commits) == before + 1


async def test_only_what_changed_is_written() -> None:
    one = await party()
    async with running(one.publications.run()):
        await one.done(one.publications.publish(everything(endpoints(2))))
        await one.done(one.publications.publish(Publish(service=WEB, endpoints=endpoints(1, 2))))
        assert one.session.tree.commits[-1] == (f"{ROOT}/epoch", f"{ROOT}/endpoints/shop.web")


async def test_a_large_set_is_chunked_head_last_and_old_chunks_go() -> None:
    one = await party()
    async with running(one.publications.run()):
        large = endpoints(4000, padding=300)
        assert await one.done(one.publications.publish(Publish(service=WEB, endpoints=large))) == [None]
        assert len(below(one.session.tree, f"{ROOT}/endpoints/shop.web")) > 2
        assert await one.done(one.publications.publish(Publish(service=WEB, endpoints=endpoints(4000, 2, padding=300)))) == [None]
        assert {name.rpartition("/")[2].partition("-")[0] for name in below(one.session.tree, f"{ROOT}/endpoints/shop.web")} == {"2"}
        heads = [c for c in one.session.tree.commits if f"{ROOT}/endpoints/shop.web" in c]
        assert f"{ROOT}/endpoints/shop.web/2-0" not in heads[-1]
        assert await one.done(one.publications.publish(Publish(service=WEB, endpoints=endpoints(1, 3)))) == [None]
        assert below(one.session.tree, f"{ROOT}/endpoints/shop.web") == {}
    other = await party(one.session.tree)
    async with running(other.publications.run()):
        await pass_time(other.clock, 0.1)
        assert other.get().endpoints == endpoints(1, 3)


async def test_many_records_are_written_in_parts_with_their_journal() -> None:
    one = await party()
    async with running(one.publications.run()):
        change = records.change([FOLDER], endpoints(1000).endpoints, {})
        assert await one.done(one.publications.publish(Publish(service=WEB, records=change))) == [None]
        assert len(one.get().journal) == len(below(one.session.tree, "/discovery/web")) == 1000
        assert max(len(c) for c in one.session.tree.commits) <= 403
        fewer = records.change([FOLDER], endpoints(1).endpoints, one.get().journal)
        assert await one.done(one.publications.publish(Publish(service=WEB, records=fewer))) == [None]
        assert list(below(one.session.tree, "/discovery/web")) == ["/discovery/web/web.00000:0"]


async def test_withdrawing_leaves_nothing_of_ours_and_all_of_others() -> None:
    one = await party()
    async with running(one.publications.run()):
        await one.done(one.publications.publish(everything(endpoints(2))), one.publications.publish(everything(endpoints(1), service=API)))
        await one.session.ensure_path("/discovery/web/somebody-elses")
        assert await one.done(one.publications.withdraw(WEB)) == [None]
        left = one.session.tree.dump()
        assert [p for p in left if "shop.web" in p or p.startswith("/discovery/web/")] == ["/discovery/web/somebody-elses"]
        assert f"{ROOT}/endpoints/shop.api" in left
        assert one.get() == Published()
        assert await one.done(one.publications.withdraw(WEB)) == [None]


async def test_strangers_in_a_folder_are_told() -> None:
    one = await party()
    async with running(one.publications.run()):
        await one.session.ensure_path("/discovery/web/0f3c")
        assert await one.publications.strangers([FOLDER], {}) == {"/discovery/web": ("0f3c",)}
        assert await one.publications.strangers([FOLDER], {"/discovery/web/mine": "x"}) == {}
        assert await one.publications.strangers([replace(FOLDER, path="/discovery/none")], {}) == {}


async def test_records_that_somebody_deleted_or_changed_are_written_again_in_the_next_term() -> None:
    one = await party()
    async with running(one.publications.run()):
        await one.done(one.publications.publish(everything(endpoints(3))))
        original = one.session.tree.dump()
        path = "/discovery/web/web.00000:0"
    await meddle(one.session, path)
    other = await party(one.session.tree)
    async with running(other.publications.run()):
        await pass_time(other.clock, 0.1)
        repair = records.change([FOLDER], endpoints(3).endpoints, other.get().journal)
        assert list(repair.create) == [path]
        assert await other.done(other.publications.publish(Publish(service=WEB, records=repair))) == [None]
    assert below(other.session.tree, "/discovery") == {p: d for p, d in original.items() if p.startswith("/discovery/")}


async def meddle(session: FakeZooKeeper, path: str) -> None:
    """Somebody deletes a node of ours."""
    await session.commit([Delete(path=path)])


async def test_a_node_that_vanished_is_a_conflict_for_its_service_alone_and_is_read_again() -> None:
    one = await party()
    async with running(one.publications.run()):
        await one.done(one.publications.publish(everything(endpoints(1))), one.publications.publish(everything(endpoints(1), service=API)))
        await meddle(one.session, "/discovery/web/web.00000:0")
        gone = [one.publications.publish(everything(EndpointSet(generation=2), dict(one.get(s).journal), s)) for s in (WEB, API)]
        outcomes = await one.done(*gone)
        assert isinstance(outcomes[0], Conflict)
        assert outcomes[1] is None
        await pass_time(one.clock, 0.1)
        assert one.get().journal == {}
        assert await one.done(one.publications.publish(everything(EndpointSet(generation=2)))) == [None]


@pytest.mark.parametrize("error", [UnknownOutcome("lost"), Unreachable("away")])
async def test_after_a_write_that_may_have_happened_the_service_is_read_again(error: ShurenError) -> None:
    one = await party()
    async with running(one.publications.run()):
        await one.done(one.publications.publish(everything(endpoints(1))))

        def lose(moment: Moment, _: str) -> None:
            if moment is Moment.AFTER:
                one.session.hook = None
                raise error

        one.session.hook = lose
        asked = asyncio.ensure_future(one.publications.publish(Publish(service=WEB, endpoints=endpoints(2, 2))))
        await turns()
        await pass_time(one.clock, 0.02)
        with pytest.raises(type(error)):
            await asked
        one.publications.look()
        await pass_time(one.clock, 0.1)
        assert one.get().endpoints == endpoints(2, 2)


async def test_a_deposed_leader_writes_nothing() -> None:
    one = await party()
    other = Party(one.session.tree, one.clock)
    async with running(one.publications.run()):
        await one.done(one.publications.publish(everything(endpoints(1))))
        await other.lead()
        before = one.session.tree.dump()
        assert isinstance((await one.done(one.publications.publish(everything(endpoints(2, 2), dict(one.get().journal)))))[0], Fenced)
        assert one.session.tree.dump() == before
        assert one.publications.get(WEB) is None


async def _story(one: Party, grow: Callable[[int], EndpointSet]) -> None:
    for step in (grow(1), grow(2), grow(3)):
        known = one.publications.get(WEB)
        journal = {} if known is None else dict(known.journal)
        await one.done(one.publications.publish(everything(step, journal)))
    await one.done(one.publications.withdraw(WEB))
    await one.done(one.publications.publish(everything(grow(4))))


@pytest.mark.parametrize("size", [2, 900])
async def test_a_crash_at_any_write_leaves_what_the_next_leader_can_bring_to_the_end(size: int) -> None:
    def grow(generation: int) -> EndpointSet:
        return endpoints(size + generation, generation, padding=700 if size > 100 else 0)

    count = CrashPoint()
    whole = Party(ZooTree(), ManualClock(), hook=count)
    await whole.lead()
    async with running(whole.publications.run()):
        await _story(whole, grow)
    expected = below(whole.session.tree, ROOT) | below(whole.session.tree, "/discovery")
    for index in range(len(count.writes)):
        for moment in Moment:
            tree = ZooTree()
            first = Party(tree, ManualClock(), hook=CrashPoint(at=index, moment=moment))
            await _until_crash(first, grow)
            second = Party(tree, ManualClock())
            await second.lead()
            async with running(second.publications.run()):
                await pass_time(second.clock, 0.1)
                last = grow(4)
                assert await second.done(second.publications.publish(everything(last, dict(second.get().journal)))) == [None]
                assert second.get().endpoints == last
            ended = below(tree, ROOT) | below(tree, "/discovery")
            ended.pop(f"{ROOT}/epoch")
            assert ended == {p: d for p, d in expected.items() if p != f"{ROOT}/epoch"}, f"crash {moment.value} write {index}"
            assert wire.decode_head(ended[f"{ROOT}/endpoints/shop.web"]).generation == 4


async def _until_crash(one: Party, grow: Callable[[int], EndpointSet]) -> None:
    try:
        await one.lead()
    except Crash:
        return
    running_task = asyncio.ensure_future(one.publications.run())
    story = asyncio.ensure_future(_story(one, grow))
    while not (running_task.done() or story.done()):
        await pass_time(one.clock, 0.05)
    for task in (running_task, story):
        task.cancel()
    await asyncio.gather(running_task, story, return_exceptions=True)
