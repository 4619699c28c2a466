from collections.abc import Callable, Iterable
from typing import Never, Self

from typing_extensions import Buffer

from shuren.sharding.core.keys import Key
from shuren.sharding.core.member import Member

INTERFACE: int

class Lookup:
    def __new__(
        cls,
        kind: int,
        members: tuple[Member | None, ...],
        nobody: Callable[[int], Never],
        size: int = 0,
        table: Buffer | None = None,
        points: Buffer | None = None,
        seeds: Buffer | None = None,
        weights: Buffer | None = None,
    ) -> Self: ...
    def route(self, key: Key, /) -> Member: ...
    def route_many(self, keys: Iterable[Key], /) -> list[Member]: ...
    def slot(self, key: Key, /) -> int: ...

def xxh64(data: Buffer, seed: int = 0, /) -> int: ...
def holds16(data: Buffer, number: int, /) -> bool: ...
