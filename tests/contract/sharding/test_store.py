"""What client and member rely on, of the store in memory and of the one over kazoo."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from sharding_operator import WITHIN, KazooTree, Tree, wait_until
from shuren.sharding.fake import FakeEnsemble, FakeStore
from shuren.sharding.store import Link, Store, Unavailable
from shuren.sharding.zookeeper import ZooKeeperStore


class World:
    """A tree, and sessions on it."""

    def __init__(self, tree: Tree, session: Callable[[], Store]) -> None:
        self.tree = tree
        self._session = session
        self._made: list[Store] = []

    def session(self) -> Store:
        store = self._session()
        store.start(within=WITHIN)
        self._made.append(store)
        return store

    def end(self) -> None:
        for store in self._made:
            if store.link is not Link.LOST:
                store.stop()


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        ensemble = FakeEnsemble()
        made = World(ensemble, lambda: FakeStore(ensemble))
    else:
        hosts: str = request.getfixturevalue("hosts")
        tree: KazooTree = request.getfixturevalue("kazoo_tree")
        made = World(tree, lambda: ZooKeeperStore(hosts, session_seconds=4.0))
    yield made
    made.end()


def test_reading_what_is_there_and_what_is_not(world: World, root: str) -> None:
    store = world.session()
    assert store.read(f"{root}/a") is None
    assert store.children(root) == ()
    world.tree.set(f"{root}/a", b"1")
    world.tree.set(f"{root}/b", b"")
    store.sync(root)
    assert store.read(f"{root}/a") == b"1"
    assert store.read(f"{root}/b") == b""
    assert store.children(root) == ("a", "b")


def test_watches_tell_of_creation_change_and_removal(world: World, root: str) -> None:
    store, told = world.session(), threading.Event()
    changes: list[Callable[[], None]] = [
        lambda: world.tree.set(f"{root}/a", b"1"),
        lambda: world.tree.set(f"{root}/a", b"2"),
        lambda: world.tree.delete(f"{root}/a"),
    ]
    for change in changes:
        told.clear()
        store.read(f"{root}/a", told.set)
        change()
        assert told.wait(WITHIN)
    assert store.read(f"{root}/a") is None


def test_watches_tell_of_children(world: World, root: str) -> None:
    store, told = world.session(), threading.Event()
    changes: list[Callable[[], None]] = [
        lambda: world.tree.set(f"{root}/m/1", b""),
        lambda: world.tree.set(f"{root}/m/2", b""),
        lambda: world.tree.delete(f"{root}/m/1"),
    ]
    for change in changes:
        told.clear()
        store.children(f"{root}/m", told.set)
        change()
        assert told.wait(WITHIN)
    wait_until(lambda: store.children(f"{root}/m") == ("2",))


def test_a_watch_left_twice_tells_once(world: World, root: str) -> None:
    store = world.session()
    calls: list[int] = []
    told = threading.Event()

    def watch() -> None:
        calls.append(1)
        told.set()

    world.tree.set(f"{root}/a", b"1")
    for _ in range(3):
        store.read(f"{root}/a", watch)
    world.tree.set(f"{root}/a", b"2")
    assert told.wait(WITHIN)
    store.sync(root)
    assert calls == [1]


def test_put_creates_and_changes_but_makes_no_parents(world: World, root: str) -> None:
    store = world.session()
    assert not store.put(f"{root}/a/b", b"1")
    world.tree.set(f"{root}/a", b"")
    assert store.put(f"{root}/a/b", b"1")
    assert store.put(f"{root}/a/b", b"2")
    assert world.tree.get(f"{root}/a/b") == b"2"


def test_an_ephemeral_node_is_its_sessions_alone_and_goes_with_it(world: World, root: str) -> None:
    one, other = world.session(), world.session()
    assert one.put_ephemeral(f"{root}/live/x", b"1")
    assert one.put_ephemeral(f"{root}/live/x", b"2")
    other.sync(root)
    assert not other.put_ephemeral(f"{root}/live/x", b"3")
    assert world.tree.get(f"{root}/live/x") == b"2"
    assert one.session != other.session
    one.stop()
    wait_until(lambda: world.tree.get(f"{root}/live/x") is None)
    other.sync(root)
    assert other.put_ephemeral(f"{root}/live/x", b"3")


def test_without_a_session_nothing_is_answered(world: World, root: str) -> None:
    store = world.session()
    links: list[Link] = []
    store.on_link(links.append)
    store.stop()
    assert links[-1:] == [Link.LOST]
    assert store.session == 0
    for ask in (
        lambda: store.read(root),
        lambda: store.children(root),
        lambda: store.put(root, b""),
        lambda: store.put_ephemeral(root, b""),
    ):
        with pytest.raises(Unavailable):
            ask()
