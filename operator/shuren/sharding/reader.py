"""Reads a published map step by step: the head, then the delta or the whole map, each piece held against the head. Knows nothing of
threads.

Whatever is wrong with what is there, the table known before stays.
"""

from __future__ import annotations

from collections.abc import Callable

from shuren.sharding.core.codec import head as head_codec
from shuren.sharding.core.codec import publication
from shuren.sharding.core.codec.head import Head
from shuren.sharding.core.errors import Malformed, Mismatch
from shuren.sharding.core.table import ShardTable
from shuren.sharding.store import Store


class MapReader:
    """One map at `path`, such as `/shuren/bj1/shards/shop.cart`. Not for several threads at once."""

    def __init__(self, store: Store, path: str) -> None:
        self._store = store
        self._path = path.rstrip("/")
        self._table: ShardTable | None = None
        self._head: Head | None = None
        self.present = False
        """Whether a head was there when it was last looked at."""
        self.deltas = 0
        self.wholes = 0

    @property
    def table(self) -> ShardTable | None:
        """The last good table."""
        return self._table

    def refresh(self, watch: Callable[[], None] | None = None) -> ShardTable | None:
        """Look at the head and read what is new. `watch` is called when the head changes after this.

        Unavailable when ZooKeeper does not answer; Malformed when what is there cannot be used, or is older than what is known. None as
        long as no map was ever there.
        """
        data = self._store.read(f"{self._path}/head", watch)
        self.present = data is not None
        if data is None:
            # taken away: the table stays in use, and a new map under the same name may count from the beginning
            self._head = None
            return self._table
        head = head_codec.decode(data)
        if head == self._head:
            return self._table
        self._refuse_older(head)
        self._table = self._read(head)
        self._head = head
        return self._table

    def _refuse_older(self, head: Head) -> None:
        known = self._head
        if known is None:
            return
        if head.generation < known.generation or head.term < known.term:
            raise Mismatch(
                f"head: generation {head.generation} of term {head.term} is older than generation {known.generation} of term {known.term}, "
                "which is kept"
            )
        if head.generation == known.generation:
            raise Mismatch(f"head: generation {head.generation} was published twice with different content; the first is kept")

    def _read(self, head: Head) -> ShardTable:
        place = f"{self._path}/{publication.directory(head.generation)}"
        known, before = self._table, self._head
        if known is not None and before is not None and before.members == head.members:
            members = known.members
        else:
            members = publication.read_members(head, self._piece(f"{place}/members"))
        if known is not None and before is not None and head.delta is not None and head.delta_from == known.generation:
            try:
                table = publication.read_delta(head, known, members, self._piece(f"{place}/delta"))
            except Malformed:
                pass  # the whole map is there for that
            else:
                self.deltas += 1
                return table
        chunks = [self._piece(f"{place}/map-{index}") for index in range(len(head.map))]
        self.wholes += 1
        return publication.read_map(head, members, chunks)

    def _piece(self, path: str) -> bytes:
        data = self._store.read(path)
        if data is None:
            raise Mismatch(f"{path}: the head names it, and it is not there")
        return data
