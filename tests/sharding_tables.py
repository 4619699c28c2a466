"""Members and tables for tests of the sharding library."""

from __future__ import annotations

from hypothesis import strategies as st

from shuren.sharding.core import NOBODY, KeyHash, Member, ShardTable, make_table

texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=12)


@st.composite
def rosters(draw: st.DrawFn, *, least: int = 1, most: int = 8) -> tuple[Member, ...]:
    """Members with numbers that are not one behind the other."""
    count = draw(st.integers(min_value=least, max_value=most))
    numbers = draw(st.lists(st.integers(min_value=0, max_value=65_534), min_size=count, max_size=count, unique=True))
    ids = draw(st.lists(texts.filter(bool), min_size=count, max_size=count, unique=True))
    return tuple(
        Member(id=ids[i], number=number, address=draw(texts), host=draw(texts), rack=draw(texts), weight=draw(st.integers(0, 1_000_000)))
        for i, number in enumerate(sorted(numbers))
    )


@st.composite
def tables(draw: st.DrawFn, *, members: tuple[Member, ...] | None = None, generation: int = 1) -> ShardTable:
    """A checked table of any layout, some replicas unplaced."""
    given = draw(rosters()) if members is None else members
    shards = draw(st.sampled_from([1, 2, 8, 32]))
    replicas = draw(st.integers(min_value=1, max_value=4))
    rows = [draw(st.permutations([m.number for m in given] + [NOBODY] * replicas)) for _ in range(shards)]
    return make_table(
        shards=shards,
        replicas=replicas,
        members=given,
        owners=[row[replica] for replica in range(replicas) for row in rows],
        epochs=draw(st.lists(st.integers(min_value=0, max_value=2**32 - 1), min_size=shards, max_size=shards)),
        generation=generation,
        term=draw(st.integers(min_value=0, max_value=2**63 - 1)),
    )


def members_of(count: int, *, racks: int = 4) -> tuple[Member, ...]:
    """Members of equal weight, numbered from 0."""
    return tuple(
        Member(id=f"node-{n}", number=n, address=f"10.0.0.{n % 250}:{31_000 + n}", host=f"agent-{n}", rack=f"rack-{n % racks}")
        for n in range(count)
    )


def even_table(
    members: tuple[Member, ...], shards: int, replicas: int, *, generation: int = 1, term: int = 1, key_hash: KeyHash = KeyHash.XXH64
) -> ShardTable:
    """Shards dealt out in turn; replicas on the members that follow."""
    return make_table(
        shards=shards,
        replicas=replicas,
        members=members,
        owners=[members[(slot + replica) % len(members)].number for replica in range(replicas) for slot in range(shards)],
        generation=generation,
        term=term,
        key_hash=key_hash,
    )
