"""A client follows the map, keeps the last good table whatever happens, and finds its way when shards move."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding_operator import WITHIN, Operator, wait_until
from sharding_tables import members_of
from shuren.sharding.aio import AsyncShardMapClient
from shuren.sharding.client import NoMap, ShardMapClient
from shuren.sharding.core import Malformed, Member, ShardTable, Unusable, make_table
from shuren.sharding.fake import FakeEnsemble, FakeStore
from shuren.sharding.reader import MapReader
from shuren.sharding.store import Link
from shuren.sharding.wrong_shard import NotServing, OutcomeUnknown, WrongShard

_PATH = "/root/shards/shop.cart"
_MEMBERS = members_of(4)


def _table(generation: int, *, members: tuple[Member, ...] = _MEMBERS, term: int = 1, shift: int = 0, shards: int = 16) -> ShardTable:
    owners = [members[(slot + shift) % len(members)].number for slot in range(shards)]
    return make_table(shards=shards, replicas=1, members=members, owners=owners, generation=generation, term=term)


@pytest.fixture
def ensemble() -> FakeEnsemble:
    return FakeEnsemble()


@pytest.fixture
def operator(ensemble: FakeEnsemble) -> Operator:
    return Operator(ensemble, _PATH)


@pytest.fixture
def store(ensemble: FakeEnsemble) -> FakeStore:
    return FakeStore(ensemble)


@pytest.fixture
def client(operator: Operator, store: FakeStore) -> Iterator[ShardMapClient]:
    operator.publish(_table(1))
    with ShardMapClient(store, _PATH) as client:
        yield client


def _reaches(client: ShardMapClient, generation: int) -> None:
    assert client.wait_for(generation, within=WITHIN)


# --------------------------------------------------------------------------------------------------------------------------- following


def test_it_routes_as_the_published_table_says(client: ShardMapClient, operator: Operator) -> None:
    assert operator.table is not None
    for key in ("a", "user:7", b"bytes"):
        assert client.route(key).number == operator.table.owners[client.slot(key)]
        assert client.replicas(key) == (client.route(key),)
        assert list(client.candidates(key)) == [client.route(key)]
    assert client.route_many(["a", "b"]) == [client.route("a"), client.route("b")]
    assert (client.status.generation, client.status.link, client.status.problem) == (1, Link.CONNECTED, "")


def test_a_change_arrives_by_itself_as_a_delta(client: ShardMapClient, operator: Operator) -> None:
    told: list[tuple[int, int]] = []
    client.on_change(lambda before, after: told.append((before.generation if before else 0, after.generation)))
    operator.publish(_table(2, shift=1))
    wait_until(lambda: told)
    assert told == [(1, 2)]
    assert client.table == operator.table
    assert (client._reader.wholes, client._reader.deltas) == (1, 1)


def test_missed_generations_are_read_whole(ensemble: FakeEnsemble, operator: Operator, store: FakeStore) -> None:
    operator.publish(_table(1))
    reader = MapReader(store, _PATH)
    store.start(within=1)
    reader.refresh()
    operator.publish(_table(2, shift=1))
    operator.publish(_table(3, shift=2))
    ensemble.delete(f"{_PATH}/gen/1")
    assert reader.refresh() == operator.table
    assert (reader.wholes, reader.deltas) == (2, 0)


def test_unchanged_members_are_not_read_again(operator: Operator, store: FakeStore) -> None:
    operator.publish(_table(1))
    reader = MapReader(store, _PATH)
    store.start(within=1)
    reader.refresh()
    store.reads.clear()
    operator.publish(_table(2, shift=1))
    reader.refresh()
    assert [path.removeprefix(f"{_PATH}/") for path in store.reads] == ["head", "gen/2/delta"]
    store.reads.clear()
    reader.refresh()
    assert [path.removeprefix(f"{_PATH}/") for path in store.reads] == ["head"]


def test_a_spoilt_delta_is_made_good_by_the_map(ensemble: FakeEnsemble, operator: Operator, store: FakeStore) -> None:
    operator.publish(_table(1))
    reader = MapReader(store, _PATH)
    store.start(within=1)
    reader.refresh()
    operator.publish(_table(2, shift=1))
    ensemble.set(f"{_PATH}/gen/2/delta", b"nonsense")
    assert reader.refresh() == operator.table
    assert reader.wholes == 2


def test_a_split_is_a_new_layout(client: ShardMapClient, operator: Operator) -> None:
    operator.publish(_table(2, shards=32))
    _reaches(client, 2)
    assert client.table is not None
    assert client.table.shards == 32


def test_a_listener_that_fails_harms_nobody(client: ShardMapClient, operator: Operator) -> None:
    told: list[int] = []

    def bad(_: ShardTable | None, __: ShardTable) -> None:
        raise RuntimeError("mine")

    client.on_change(bad)
    client.on_change(lambda _, after: told.append(after.generation))
    operator.publish(_table(2))
    wait_until(lambda: told == [2])


# --------------------------------------------------------------------------------------------------------- the last good table is kept


@pytest.mark.parametrize("what", ["garbage", "older", "older term", "same number", "missing piece", "spoilt piece"])
def test_a_head_that_cannot_be_used_changes_nothing_and_is_told(
    what: str, client: ShardMapClient, operator: Operator, ensemble: FakeEnsemble
) -> None:
    operator.publish(_table(5, term=3))
    _reaches(client, 5)
    good = client.table
    match what:
        case "garbage":
            ensemble.set(f"{_PATH}/head", b"{")
        case "older":
            Operator(ensemble, _PATH).publish(_table(4, term=3))
        case "older term":
            Operator(ensemble, _PATH).publish(_table(6, term=2))
        case "same number":
            Operator(ensemble, _PATH).publish(_table(5, term=3, shift=1))
        case "missing piece" | "spoilt piece":
            other = FakeEnsemble()
            Operator(other, _PATH).publish(_table(6, term=3, members=_MEMBERS[:2]))
            for name in ("members", "map-0"):
                ensemble.set(f"{_PATH}/gen/6/{name}", other.get(f"{_PATH}/gen/6/{name}") or b"")
            if what == "missing piece":
                ensemble.delete(f"{_PATH}/gen/6/map-0")
            else:
                ensemble.set(f"{_PATH}/gen/6/map-0", b"SHRN")
            ensemble.set(f"{_PATH}/head", other.get(f"{_PATH}/head") or b"")
    wait_until(lambda: client.status.problem)
    assert client.table is good
    assert client.route("a") == client.route("a")
    operator.table = None
    operator.publish(_table(9, term=3, shift=2))
    _reaches(client, 9)
    wait_until(lambda: client.status.problem == "")


def test_without_zookeeper_it_goes_on_and_takes_up_later(client: ShardMapClient, operator: Operator, store: FakeStore) -> None:
    here = client.route("a")
    store.silence()
    operator.publish(_table(2, shift=1))
    assert client.route("a") == here
    assert client.status.link is Link.SUSPENDED
    store.speak()
    _reaches(client, 2)


def test_after_a_lost_session_watches_are_left_again(client: ShardMapClient, operator: Operator, store: FakeStore) -> None:
    store.expire()
    operator.publish(_table(2, shift=1))
    _reaches(client, 2)
    operator.publish(_table(3, shift=2))
    _reaches(client, 3)


def test_a_map_that_was_taken_away_stays_in_use_until_there_is_a_new_one(
    client: ShardMapClient, operator: Operator, ensemble: FakeEnsemble, store: FakeStore
) -> None:
    operator.publish(_table(7))
    _reaches(client, 7)
    before = len(store.reads)
    ensemble.delete(_PATH)
    wait_until(lambda: len(store.reads) > before)
    assert client.status.generation == 7
    Operator(ensemble, _PATH).publish(_table(1, shift=1))
    wait_until(lambda: client.status.generation == 1)


def test_without_a_map_it_says_so(store: FakeStore, operator: Operator) -> None:
    client = ShardMapClient(store, _PATH)
    with pytest.raises(NoMap, match="no map to route by yet"):
        client.route("a")
    with pytest.raises(NoMap, match="nothing is published there"):
        client.start(within=0.05)
    operator.publish(_table(1))
    _reaches(client, 1)
    assert client.route("a")
    client.stop()


def test_entering_without_a_map_ends_what_was_begun(ensemble: FakeEnsemble) -> None:
    class Impatient(ShardMapClient):
        def start(self, *, within: float = 0.05) -> Impatient:
            super().start(within=min(within, 0.05))
            return self

    threads = threading.active_count()
    with pytest.raises(NoMap), Impatient(FakeStore(ensemble), _PATH):
        pass
    assert threading.active_count() == threads


@settings(max_examples=60)
@given(st.data())
def test_whatever_is_written_there_is_a_table_or_a_refusal(data: st.DataObject) -> None:
    """Nodes changed at random behind a sound head, and a head changed at random."""
    ensemble = FakeEnsemble()
    store = FakeStore(ensemble)
    operator = Operator(ensemble, _PATH)
    operator.publish(_table(1))
    store.start(within=1)
    reader = MapReader(store, _PATH)
    good = reader.refresh()
    operator.publish(_table(2, shift=1))
    name = data.draw(st.sampled_from(["head", "gen/2/delta", "gen/2/members", "gen/2/map-0"]))
    whole = ensemble.get(f"{_PATH}/{name}") or b""
    at = data.draw(st.integers(0, len(whole)))
    ensemble.set(f"{_PATH}/{name}", whole[:at] + data.draw(st.binary(max_size=8)) + whole[data.draw(st.integers(at, len(whole))) :])
    try:
        found = reader.refresh()
    except Malformed:
        assert reader.table is good
    else:
        assert found in (good, operator.table) or name == "head"


def test_reads_from_many_threads_while_it_changes(client: ShardMapClient, operator: Operator) -> None:
    wrong: list[object] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                found = client.route_many(["a", "b", "c"] * 20)
                if found[:3] != found[3:6]:
                    wrong.append(found)
            except Exception as error:  # noqa: BLE001 - all that may not be
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for generation in range(2, 30):
        operator.publish(_table(generation, shift=generation))
    _reaches(client, 29)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


# ------------------------------------------------------------------------------------------------------------------------------ calling


def test_a_wrong_shard_makes_it_look_and_try_again(client: ShardMapClient, operator: Operator) -> None:
    asked: list[str] = []

    def send(member: Member) -> str:
        asked.append(member.id)
        if len(asked) == 1:
            operator.publish(_table(2, shift=1))
            raise WrongShard("moved", slot=client.slot("a"), generation=2)
        return member.id

    first = client.route("a").id
    assert client.call("a", send) == client.route("a").id
    assert asked == [first, client.route("a").id]
    assert first != asked[1]


def test_while_a_shard_is_handed_over_the_new_owner_is_asked_once(client: ShardMapClient) -> None:
    asked: list[str] = []

    def send(member: Member) -> str:
        asked.append(member.address or member.id)
        if len(asked) == 1:
            raise WrongShard("handing over", slot=1, owner="other", address="other:1", ask=True)
        return "done"

    assert client.call("a", send) == "done"
    assert asked[1] == "other:1"
    assert client.status.generation == 1


def test_a_member_that_is_not_ready_is_asked_again_and_in_the_end_the_refusal_stands(client: ShardMapClient) -> None:
    tries: list[str] = []

    def send(member: Member) -> str:
        tries.append(member.id)
        raise NotServing("soon", slot=3)

    with pytest.raises(NotServing, match="soon"):
        client.call("a", send, tries=3, pause=0.001)
    assert len(tries) == 3
    with pytest.raises(Unusable, match="tries is 0"):
        client.call("a", send, tries=0)


def test_a_reply_that_comes_too_late_is_not_believed(client: ShardMapClient) -> None:
    with pytest.raises(OutcomeUnknown, match="may have been replaced"):
        client.call("a", lambda _: "late", reply_within=-1.0)


def test_other_errors_are_the_callers(client: ShardMapClient) -> None:
    def send(_: Member) -> str:
        raise ConnectionError("refused")

    with pytest.raises(ConnectionError):
        client.call("a", send)


# ----------------------------------------------------------------------------------------------------------------------------- asyncio


async def test_asyncio_changes_and_calls(operator: Operator, ensemble: FakeEnsemble) -> None:
    operator.publish(_table(1))
    async with AsyncShardMapClient(ShardMapClient(FakeStore(ensemble), _PATH)) as shards:
        changes = shards.changes()
        assert (await anext(changes)).generation == 1
        operator.publish(_table(2, shift=1))
        assert (await asyncio.wait_for(anext(changes), WITHIN)).generation == 2
        assert await shards.wait_for(2, within=WITHIN)
        assert shards.route_many(["a"]) == [shards.route("a")]
        asked: list[str] = []

        async def send(member: Member) -> str:
            asked.append(member.id)
            if len(asked) == 1:
                operator.publish(_table(3, shift=2))
                raise WrongShard("moved", slot=0, generation=3)
            if len(asked) == 2:
                raise NotServing("soon", slot=0)
            if len(asked) == 3:
                raise WrongShard("over there", slot=0, owner="x", address="x:1", ask=True)
            return member.address

        assert await shards.call("a", send, pause=WITHIN / 100) == "x:1"
        assert (await asyncio.wait_for(anext(changes), WITHIN)).generation == 3
        await changes.aclose()  # type: ignore[attr-defined]


async def test_asyncio_without_a_map(ensemble: FakeEnsemble) -> None:
    shards = AsyncShardMapClient(ShardMapClient(FakeStore(ensemble), _PATH))
    with pytest.raises(NoMap):
        await shards.start(within=0.05)
    await shards.stop()
