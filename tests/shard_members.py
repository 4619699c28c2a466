"""Members of a shard map, as far as anybody sees who only looks: they are registered, and do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient

from shuren.sharding.core.codec import moves as moves_codec
from shuren.sharding.core.moves import Live


@contextmanager
def registered(hosts: str, path: str, *ids: str) -> Iterator[None]:
    """Their nodes are there while the block runs."""
    client = KazooClient(hosts)
    client.start(timeout=30)
    try:
        for identity in ids:
            node = f"{path}/live/{moves_codec.node_name(identity)}"
            client.create(node, moves_codec.encode_live(Live(id=identity, address="10.0.0.1:11211")), ephemeral=True, makepath=True)
        yield
    finally:
        client.stop()
        client.close()
