"""The library's exception tree. It stands alone, since applications import the library and nothing else of the product.

    ShardingError
    ├── Unusable        arguments that no algorithm can work with: no members, two of one id, shards that are no power of two
    ├── Malformed       bytes from outside that are not what the codec writes
    │   └── Mismatch    well-formed, but not what the head promised: another generation, a wrong checksum
    └── NoMember        a shard that nobody holds at the moment

A key that is neither str nor bytes is a mistake of the caller and raises TypeError; a str with lone surrogates UnicodeEncodeError.
"""

from __future__ import annotations


class ShardingError(Exception):
    """Base of everything that the library raises on purpose."""


class Unusable(ShardingError):
    """The caller has to change what it asks for; the message says what is wrong and what would do."""


class Malformed(ShardingError):
    """Bytes from outside were refused. What was known before stays in use."""


class Mismatch(Malformed):
    """Whole and readable, but not the piece that was promised."""


class NoMember(ShardingError):
    """Nobody holds the shard. `slot` is its number."""

    def __init__(self, message: str, *, slot: int) -> None:
        super().__init__(message)
        self.slot = slot
