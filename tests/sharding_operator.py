"""As much of the operator as tests of members need: publishes tables and takes moves from state to state, on any tree of nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError

from shuren.sharding.core import ShardTable, make_table
from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.codec import publication
from shuren.sharding.core.moves import Fence, Move, MoveState

WITHIN = 20.0


def wait_until(holds: Callable[[], object], *, within: float = WITHIN) -> None:
    """Until `holds()` is true; the assertion fails when it does not come to be."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"did not come to be within {within} s"
        time.sleep(0.005)


class Tree(Protocol):
    """FakeEnsemble, or KazooTree."""

    def get(self, path: str) -> bytes | None: ...

    def set(self, path: str, data: bytes) -> None: ...

    def delete(self, path: str) -> None: ...


class KazooTree:
    """A tree on a real server."""

    def __init__(self, client: KazooClient) -> None:
        self._client = client

    def get(self, path: str) -> bytes | None:
        try:
            return bytes(self._client.get(path)[0])
        except NoNodeError:
            return None

    def set(self, path: str, data: bytes) -> None:
        try:
            self._client.create(path, data, makepath=True)
        except NodeExistsError:
            self._client.set(path, data)

    def delete(self, path: str) -> None:
        self._client.delete(path, recursive=True)


class Operator:
    """One map on a tree."""

    def __init__(self, tree: Tree, path: str) -> None:
        self.tree = tree
        self.path = path
        self.table: ShardTable | None = None

    def publish(self, table: ShardTable) -> None:
        found = publication.publish(table, previous=self.table)
        for name, data in found.nodes.items():
            self.tree.set(f"{self.path}/{name}", data)
        self.tree.set(f"{self.path}/head", found.head_data)
        self.table = table

    def order(self, move: Move) -> None:
        self.tree.set(f"{self.path}/moves/{move.shard}", codec.encode_move(move))

    def answered(self, move: Move) -> bool:
        """Whether all parts of a move in this state were reported."""
        for part in move.parts():
            data = self.tree.get(f"{self.path}/moves/{move.shard}/{codec.node_name(part)}")
            if data is None or not codec.decode_report(data).answers(move):
                return False
        return True

    def over(self, shard: int) -> None:
        self.tree.delete(f"{self.path}/moves/{shard}")

    def hand_over(self, shard: int, to: str, *, after: Callable[[MoveState], None] = lambda _: None) -> None:
        """Move a shard's only replica, state by state, and publish the new table before the old copy is dropped."""
        table = self.table
        assert table is not None
        numbers = {m.id: m.number for m in table.members}
        old = table.member(table.owners[shard])
        assert old is not None
        epoch = table.epochs[shard]
        for state in (MoveState.PREPARE, MoveState.CATCH_UP, MoveState.FORWARD, MoveState.ACTIVATE, MoveState.DROP):
            committed = state in {MoveState.ACTIVATE, MoveState.DROP}
            fence = Fence(term=table.term, epoch=epoch + committed)
            move = Move(shard=shard, state=state, from_=old.id, to=to, fence=fence, shards=table.shards)
            if state is MoveState.DROP:
                owners, epochs = table.owners.tolist(), table.epochs.tolist()
                owners[shard], epochs[shard] = numbers[to], epoch + 1
                self.publish(
                    make_table(
                        shards=table.shards,
                        replicas=table.replicas,
                        members=table.members,
                        owners=owners,
                        epochs=epochs,
                        generation=table.generation + 1,
                        term=table.term,
                    )
                )
            self.order(move)
            wait_until(lambda move=move: self.answered(move))  # type: ignore[misc]
            after(state)
        self.over(shard)
