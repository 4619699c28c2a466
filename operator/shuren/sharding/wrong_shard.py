"""What a server answers when a key is not its own, and what a caller makes of it.

A stale client asks the wrong member now and then: that is normal while shards move. The server refuses with WrongShard; the caller
refreshes its table (`generation`) or, while a shard is being handed over, asks `owner` once without learning anything (`ask`), as Redis
Cluster's MOVED and ASK.
"""

from __future__ import annotations

import json

from shuren.sharding.core.codec.fields import parsed
from shuren.sharding.core.errors import ShardingError
from shuren.sharding.core.slots import MAX_SHARDS
from shuren.sharding.core.table import MAX_GENERATION

_MAX_BYTES = 16 << 10
_KIND = "WRONG_SHARD"


class NotServing(ShardingError):
    """Nobody may serve the shard here at the moment: the lease has run out, or the shard is just being taken over. Try again shortly."""

    def __init__(self, message: str, *, slot: int) -> None:
        super().__init__(message)
        self.slot = slot


class WrongShard(ShardingError):
    """Somebody else has the shard. `generation` is the one that the refuser acts by; `owner` and `address` name who has it, if that is
    known.
    """

    def __init__(self, message: str, *, slot: int, generation: int = 0, owner: str = "", address: str = "", ask: bool = False) -> None:
        super().__init__(message)
        self.slot = slot
        self.generation = generation
        self.owner = owner
        self.address = address
        self.ask = ask

    def to_bytes(self) -> bytes:
        """For a reply, as JSON: {"error": "WRONG_SHARD", "slot", "generation", "owner", "address", "ask"}."""
        document = {
            "error": _KIND,
            "slot": self.slot,
            "generation": self.generation,
            "owner": self.owner,
            "address": self.address,
            "ask": self.ask,
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> WrongShard:
        """From a reply. Malformed when it is none."""
        fields = parsed(data, "reply", most=_MAX_BYTES)
        if fields.text("error") != _KIND:
            raise fields.wrong("error", _KIND)
        slot, owner = fields.number("slot", MAX_SHARDS), fields.text_or_none("owner") or ""
        return cls(
            f"shard {slot} is with {owner or 'another member'}",
            slot=slot,
            generation=fields.number("generation", MAX_GENERATION),
            owner=owner,
            address=fields.text_or_none("address") or "",
            ask=fields.flag("ask", default=False),
        )


class OutcomeUnknown(ShardingError):
    """A request was sent and may or may not have been carried out: its reply came too late to be believed."""
