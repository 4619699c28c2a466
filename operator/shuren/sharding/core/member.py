"""Members: who shards are given to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from shuren.sharding.core.errors import Unusable

MAX_NUMBER = 65_534
MAX_WEIGHT = 10**12
"""Room for weights written in millionths. They only count in relation to each other."""
_MAX_TEXT = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member. `id` is its identity and all that algorithms hash: an address that changes moves nothing.

    `number` stands for the member in a table and is not used again while tables that name it are kept; for `jump` it is the ordinal.
    Algorithms without a table ignore it. `weight` is relative to the other members'; 0 gets nothing. `rack` and `host` say what fails
    together.
    """

    id: str
    number: int = 0
    address: str = ""
    host: str = ""
    rack: str = ""
    weight: int = 1


def check(member: Member) -> None:
    """Unusable, naming the field, when a member cannot be used or written."""
    if not member.id:
        raise Unusable("a member's id is empty")
    for name in ("id", "address", "host", "rack"):
        try:
            size = len(getattr(member, name).encode())
        except UnicodeEncodeError as error:
            raise Unusable(f"member {member.id!r}: {name} is not text: {error}") from error
        if size > _MAX_TEXT:
            raise Unusable(f"member {member.id[:40]!r}: {name} has {size} bytes, more than {_MAX_TEXT}")
    if not 0 <= member.number <= MAX_NUMBER:
        raise Unusable(f"member {member.id!r}: number {member.number} is not within 0..{MAX_NUMBER}")
    if not 0 <= member.weight <= MAX_WEIGHT:
        raise Unusable(f"member {member.id!r}: weight {member.weight} is not within 0..{MAX_WEIGHT}")


def by_id(members: Iterable[Member]) -> tuple[Member, ...]:
    """All members that may get something, by id, whatever the order they came in.

    Unusable when two have one id, a field is out of bounds, or nobody has a weight above 0.
    """
    given = sorted(members, key=lambda m: m.id.encode("utf-8", "surrogatepass"))
    for member in given:
        check(member)
    _refuse_twice("id", (m.id for m in given))
    weighty = tuple(m for m in given if m.weight > 0)
    if not weighty:
        raise Unusable("nobody has a weight above 0" if given else "there is no member")
    if len(weighty) > MAX_NUMBER + 1:
        raise Unusable(f"{len(weighty)} members, more than {MAX_NUMBER + 1}")
    return weighty


def by_number(members: Iterable[Member]) -> tuple[Member, ...]:
    """All members by number. Unusable when two have one number or id, or a field is out of bounds."""
    given = sorted(members, key=lambda m: m.number)
    for member in given:
        check(member)
    _refuse_twice("number", (m.number for m in given))
    _refuse_twice("id", (m.id for m in given))
    return tuple(given)


def _refuse_twice(name: str, values: Iterable[str | int]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise Unusable(f"two members have the {name} {twice[0]!r}")
