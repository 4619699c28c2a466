"""Client and members on a real ZooKeeper: a shard moves, the server falls silent, sessions are shorter than asked for."""

from __future__ import annotations

import signal
import subprocess

import pytest
from kazoo.client import KazooClient

from sharding_operator import WITHIN, KazooTree, Operator, wait_until
from sharding_server import RecordingServer
from sharding_tables import even_table, members_of
from shuren.sharding.client import ShardMapClient
from shuren.sharding.lease import seconds
from shuren.sharding.member import ShardMember
from shuren.sharding.store import Link, Unavailable
from shuren.sharding.wrong_shard import NotServing, WrongShard
from shuren.sharding.zookeeper import ZooKeeperStore

_MEMBERS = members_of(2)


def _serves(member: ShardMember, slot: int) -> bool:
    try:
        return member.permit(slot).valid
    except (WrongShard, NotServing):
        return False


def _member(hosts: str, path: str, number: int) -> tuple[ShardMember, RecordingServer]:
    server = RecordingServer()
    one = _MEMBERS[number]
    return ShardMember(ZooKeeperStore(hosts, session_seconds=60.0), path, id=one.id, address=one.address, server=server), server


def test_a_shard_moves_and_clients_follow(hosts: str, kazoo_tree: KazooTree, root: str) -> None:
    operator = Operator(kazoo_tree, root)
    operator.publish(even_table(_MEMBERS, 8, 1))
    (one, first), (other, second) = _member(hosts, root, 0), _member(hosts, root, 1)
    with one, other, ShardMapClient(ZooKeeperStore(hosts), root) as client:
        wait_until(lambda: one.status.serving == other.status.serving == 4)
        key = next(f"user:{n}" for n in range(1000) if client.slot(f"user:{n}") == 0)
        assert client.route(key) == _MEMBERS[0]
        operator.hand_over(0, "node-1")
        assert client.wait_for(2, within=WITHIN)
        assert client.route(key) == _MEMBERS[1]
        wait_until(lambda: _serves(other, 0))
        assert other.permit(0).fence.epoch == 1
        assert not _serves(one, 0)
        assert first.of(0) == ["activate", "catch-up", "forward", "drop"]
        assert second.of(0) == ["prepare", "catch-up", "activate"]
        assert (client._reader.wholes, client._reader.deltas) == (1, 1)
    assert kazoo_tree.get(f"{root}/live/node-0") is None


def test_the_session_is_as_long_as_the_servers_allow(hosts: str) -> None:
    """The test server allows twenty ticks of 0.2 s; the lease has to know."""
    store = ZooKeeperStore(hosts, session_seconds=60.0)
    store.start(within=WITHIN)
    assert store.session_seconds == pytest.approx(4.0)
    store.stop()


def test_a_silent_server_ends_serving_in_time_and_not_routing(
    server: tuple[str, subprocess.Popen[bytes]], kazoo_tree: KazooTree, root: str
) -> None:
    hosts, process = server
    Operator(kazoo_tree, root).publish(even_table(_MEMBERS[:1], 2, 1))
    member, _ = _member(hosts, root, 0)
    with member, ShardMapClient(ZooKeeperStore(hosts), root) as client:
        wait_until(lambda: member.status.serving == 2)
        process.send_signal(signal.SIGSTOP)
        silent_since = seconds()
        try:
            wait_until(lambda: not _serves(member, 0))
            assert member._lease.until <= silent_since + 4.0 * 2 / 3
            assert client.route("a") == _MEMBERS[0]
            wait_until(lambda: client.status.link is not Link.CONNECTED)
        finally:
            process.send_signal(signal.SIGCONT)
        wait_until(lambda: member.status.serving == 2)
        wait_until(lambda: client.status.link is Link.CONNECTED)


def test_after_its_session_was_ended_a_member_comes_back(hosts: str, kazoo_tree: KazooTree, root: str) -> None:
    Operator(kazoo_tree, root).publish(even_table(_MEMBERS[:1], 2, 1))
    member, server = _member(hosts, root, 0)
    with member:
        wait_until(lambda: member.status.serving == 2)
        store = member._store
        assert isinstance(store, ZooKeeperStore)
        session = store.session
        # a second client takes the session over, and ends it
        double = KazooClient(hosts, client_id=store._kazoo.client_id)
        double.start(timeout=WITHIN)
        double.stop()
        double.close()
        wait_until(lambda: store.session not in {0, session} and member.status.serving == 2)
        assert member.permit(0).valid
        assert server.of(0) == ["activate"]


def test_nobody_there() -> None:
    store = ZooKeeperStore("127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"no ZooKeeper server answers at 127\.0\.0\.1:1 within"):
        store.start(within=0.2)
    store.stop()
