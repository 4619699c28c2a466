"""What the operator relies on in a ZooKeeper: the one in memory, a real server."""

from __future__ import annotations

import asyncio

import pytest

from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.domain.errors import Conflict, Exists, Fenced, Gone, Invalid, NotOurs
from shuren.ports.zookeeper import MAX_REQUEST_BYTES, Check, Create, Delete, Node, Session, SetData, ZooKeeper

pytestmark = pytest.mark.contract


async def test_reads_what_was_written(client: ZooKeeper, root: str) -> None:
    assert await client.commit([Create(path=f"{root}/a", data=b"1")]) == (0,)
    assert await client.get(f"{root}/a") == Node(data=b"1", version=0)
    assert await client.commit([SetData(path=f"{root}/a", data=b"2", version=0)]) == (1,)
    assert await client.get(f"{root}/a") == Node(data=b"2", version=1)


async def test_a_missing_node_reads_as_none(client: ZooKeeper, root: str) -> None:
    assert await client.get(f"{root}/nothing") is None
    assert await client.children(f"{root}/nothing") is None


async def test_many_reads_answer_in_the_order_asked(client: ZooKeeper, root: str) -> None:
    await client.commit([Create(path=f"{root}/{name}", data=name.encode()) for name in "cab"])
    found = await client.get_many([f"{root}/{name}" for name in "abxc"])
    assert [node.data if node else None for node in found] == [b"a", b"b", None, b"c"]
    assert await client.children(root) == ("a", "b", "c")


async def test_a_transaction_is_all_or_nothing_and_names_the_operation_that_failed(client: ZooKeeper, root: str) -> None:
    await client.commit([Create(path=f"{root}/there")])
    with pytest.raises(Exists) as caught:
        await client.commit([Create(path=f"{root}/new"), Create(path=f"{root}/there")])
    assert caught.value.index == 1
    assert await client.get(f"{root}/new") is None


async def test_a_stale_version_is_a_conflict(client: ZooKeeper, root: str) -> None:
    await client.commit([Create(path=f"{root}/a")])
    await client.commit([SetData(path=f"{root}/a", data=b"1", version=0)])
    with pytest.raises(Conflict) as caught:
        await client.commit([SetData(path=f"{root}/a", data=b"2", version=0)])
    assert caught.value.index == 0
    with pytest.raises(Conflict):
        await client.commit([Check(path=f"{root}/a", version=0), Delete(path=f"{root}/a")])


async def test_changing_a_missing_node_says_gone(client: ZooKeeper, root: str) -> None:
    with pytest.raises(Gone):
        await client.commit([SetData(path=f"{root}/nothing", data=b"", version=-1)])
    with pytest.raises(Gone):
        await client.commit([Delete(path=f"{root}/nothing")])


async def test_a_node_with_children_is_not_deleted(client: ZooKeeper, root: str) -> None:
    await client.ensure_path(f"{root}/a/b")
    with pytest.raises(Conflict):
        await client.commit([Delete(path=f"{root}/a")])


async def test_a_watch_wakes_for_data_children_creation_and_deletion(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    woken = asyncio.Event()
    client.watch(f"{root}/w", woken.set)
    for change in (
        [Create(path=f"{root}/w")],
        [SetData(path=f"{root}/w", data=b"1", version=-1)],
        [SetData(path=f"{root}/w", data=b"2", version=-1)],
        [Create(path=f"{root}/w/child")],
        [SetData(path=f"{root}/w", data=b"3", version=-1)],
        [Delete(path=f"{root}/w/child")],
        [Delete(path=f"{root}/w")],
        [Create(path=f"{root}/w")],
        [Create(path=f"{root}/w/child")],
        [SetData(path=f"{root}/w", data=b"4", version=-1)],
        [Create(path=f"{root}/w/other")],
    ):
        await _armed(client)
        woken.clear()
        await other.commit(change)
        await asyncio.wait_for(woken.wait(), 10)


async def test_within_a_transaction_each_operation_sees_those_before_it(client: ZooKeeper, root: str) -> None:
    done = await client.commit(
        [
            Create(path=f"{root}/a"),
            Create(path=f"{root}/a/b", data=b"1"),
            SetData(path=f"{root}/a/b", data=b"2", version=0),
            Check(path=f"{root}/a/b", version=1),
            Delete(path=f"{root}/a/b", version=1),
        ]
    )
    assert done == (0, 0, 1, None, None)
    assert await client.children(f"{root}/a") == ()


async def test_a_failed_transaction_leaves_no_trace_of_any_kind(client: ZooKeeper, root: str) -> None:
    await client.commit([Create(path=f"{root}/a", data=b"0"), Create(path=f"{root}/b")])
    with pytest.raises(Conflict) as caught:
        await client.commit(
            [
                SetData(path=f"{root}/a", data=b"1", version=0),
                Delete(path=f"{root}/b"),
                Create(path=f"{root}/c"),
                Check(path=f"{root}/a", version=0),
            ]
        )
    assert caught.value.index == 3
    assert await client.get(f"{root}/a") == Node(data=b"0", version=0)
    assert await client.children(root) == ("a", "b")


async def test_a_child_needs_a_parent_and_an_ephemeral_node_takes_none(client: ZooKeeper, root: str) -> None:
    with pytest.raises(Gone):
        await client.commit([Create(path=f"{root}/no/child")])
    await client.commit([Create(path=f"{root}/live", ephemeral=True)])
    with pytest.raises(Conflict):
        await client.commit([Create(path=f"{root}/live/child")])


async def test_checking_a_missing_node_says_gone(client: ZooKeeper, root: str) -> None:
    with pytest.raises(Gone):
        await client.commit([Check(path=f"{root}/nothing", version=0)])


async def test_ephemeral_nodes_go_with_their_session_and_others_hear_of_it(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    await other.commit([Create(path=f"{root}/live", ephemeral=True), Create(path=f"{root}/stays")])
    heard = asyncio.Event()
    client.watch(f"{root}/live", heard.set)
    await _armed(client)
    await other.close()
    await asyncio.wait_for(heard.wait(), 10)
    assert await client.children(root) == ("stays",)
    assert other.session is Session.LOST


async def test_nothing_to_commit_is_nothing(client: ZooKeeper) -> None:
    assert await client.commit([]) == ()


async def test_a_path_is_made_with_its_parents_and_again_without_harm(client: ZooKeeper, root: str) -> None:
    for _ in range(2):
        await client.ensure_path(f"{root}/x/y/z")
    assert await client.get(f"{root}/x/y/z") == Node(data=b"", version=0)


async def test_a_request_that_zookeeper_would_not_take_is_not_sent(client: ZooKeeper, root: str) -> None:
    with pytest.raises(Invalid, match="bytes"):
        await client.commit([Create(path=f"{root}/big", data=b"x" * (MAX_REQUEST_BYTES + 1))])
    assert await client.get(f"{root}/big") is None
    assert client.session is Session.CONNECTED


async def test_names_and_data_may_be_chinese(client: ZooKeeper, root: str) -> None:
    await client.commit([Create(path=f"{root}/数人云", data="应用".encode())])
    assert await client.children(root) == ("数人云",)


async def test_a_watch_that_tells_what_it_knows_is_not_woken_for_that(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    path, known, woken = f"{root}/k", [-1], asyncio.Event()
    client.watch(path, woken.set, known=lambda: known[0])
    await _armed(client)

    async def until_told() -> None:
        async with asyncio.timeout(20):
            await woken.wait()
        await _armed(client)
        woken.clear()

    await other.commit([Create(path=path)])
    await until_told()
    known[0] = 0
    for _ in range(3):
        version = (await client.commit([SetData(path=path, data=b"mine", version=known[0])]))[0]
        assert version is not None
        known[0] = version
    await client.commit([Create(path=f"{path}/child")])
    known[0] = 2  # it takes the last change for news
    await client.commit([SetData(path=path, data=b"mine", version=3)])
    await until_told()
    known[0] = 4
    await client.get(path)
    assert not woken.is_set(), "neither its own writes nor a child are news"
    await other.commit([SetData(path=path, data=b"theirs", version=4)])
    await until_told()
    known[0] = 0
    await other.commit([Delete(path=f"{path}/child"), Delete(path=path)])
    await until_told()
    await other.commit([Create(path=path)])
    await until_told()


async def test_an_ended_watch_is_silent(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    silent, heard = asyncio.Event(), asyncio.Event()
    end = client.watch(f"{root}/w", silent.set)
    client.watch(f"{root}/w", heard.set)
    await _armed(client)
    end()
    await other.commit([Create(path=f"{root}/w")])
    await asyncio.wait_for(heard.wait(), 10)
    assert not silent.is_set()


async def test_only_the_newest_epoch_writes(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    first, second = FencedRoot(client, root + "/prod"), FencedRoot(other, root + "/prod")
    assert (await first.take_over(holder="one", installation="i")).number == 1
    await first.commit([Create(path="/x", data=b"first")])
    assert (await second.take_over(holder="two", installation="i")).number == 2
    with pytest.raises(Fenced):
        await first.commit([SetData(path="/x", data=b"late", version=-1)])
    await second.commit([SetData(path="/x", data=b"second", version=0)])
    node = await first.get("/x")
    assert node is not None
    assert node.data == b"second"


async def test_a_fenced_leader_stays_fenced_until_it_takes_over_again(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    first, second = FencedRoot(client, root), FencedRoot(other, root)
    await first.take_over(holder="one", installation="i")
    await second.take_over(holder="two", installation="i")
    with pytest.raises(Fenced):
        await first.commit([Create(path="/x")])
    with pytest.raises(Fenced):
        await first.commit([Create(path="/y")])
    assert first.epoch is None
    assert (await first.take_over(holder="one", installation="i")).number == 3
    await first.commit([Create(path="/y")])


async def test_errors_name_the_callers_own_operation(client: ZooKeeper, root: str) -> None:
    fenced = FencedRoot(client, root)
    await fenced.take_over(holder="one", installation="i")
    await fenced.commit([Create(path="/x")])
    with pytest.raises(Exists) as caught:
        await fenced.commit([Create(path="/new"), Create(path="/x")])
    assert caught.value.index == 1


async def test_a_root_of_another_installation_is_left_alone(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    await FencedRoot(client, root).take_over(holder="one", installation="theirs")
    with pytest.raises(NotOurs, match="theirs"):
        await FencedRoot(other, root).take_over(holder="two", installation="ours")


async def test_nodes_outside_the_root_are_written_under_the_same_fence(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    first, second = FencedRoot(client, root + "/prod"), FencedRoot(other, root + "/prod")
    await first.take_over(holder="one", installation="i")
    await first.whole.ensure_path(f"{root}/elsewhere/deep")
    await first.whole.commit([Create(path=f"{root}/elsewhere/x", data=b"1"), Create(path=f"{first.root}/journal")])
    assert await first.get("/journal") is not None
    assert await first.whole.children(f"{root}/elsewhere") == ("deep", "x")
    with pytest.raises(Exists) as caught:
        await first.whole.commit([Create(path=f"{root}/elsewhere/y"), Create(path=f"{root}/elsewhere/x")])
    assert caught.value.index == 1
    await second.take_over(holder="two", installation="i")
    with pytest.raises(Fenced):
        await first.whole.commit([SetData(path=f"{root}/elsewhere/x", data=b"late", version=-1)])
    assert first.epoch is None
    node = await second.whole.get(f"{root}/elsewhere/x")
    assert node is not None
    assert node.data == b"1"


async def test_nothing_is_written_before_taking_over(client: ZooKeeper, root: str) -> None:
    with pytest.raises(Fenced):
        await FencedRoot(client, root).commit([Create(path="/x")])


async def _armed(client: ZooKeeper) -> None:
    """Wait until every watch has been left at the server."""
    while isinstance(client, ZooKeeperClient) and client._tasks:
        await asyncio.gather(*client._tasks)


async def test_it_tells_its_version(client: ZooKeeper) -> None:
    assert (await client.version()).startswith("3.")


async def test_no_change_between_a_wake_and_the_next_is_lost(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    """Whoever reads after each wake has read everything in the end, however close together the changes come."""
    seen: set[str] = set()
    woken = asyncio.Event()
    client.watch(root, woken.set)

    async def follow() -> None:
        while True:
            await woken.wait()
            woken.clear()
            seen.update(await client.children(root) or ())

    following = asyncio.create_task(follow())
    for number in range(60):
        names = {f"a{number:02}", f"b{number:02}"}
        for name in sorted(names):
            await other.commit([Create(path=f"{root}/{name}")])
        async with asyncio.timeout(5):
            while not names <= seen:
                await asyncio.sleep(0.001)
    following.cancel()
