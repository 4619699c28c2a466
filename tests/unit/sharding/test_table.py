"""Tables refuse what no map can say, and differences lead from one to the next."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding_tables import even_table, members_of, tables
from shuren.sharding.core import NOBODY, KeyHash, Member, Mismatch, ShardTable, Unusable, make_table
from shuren.sharding.core.delta import Delta, applied, difference

_MEMBERS = members_of(3)


def _table(owners: object, **changes: object) -> ShardTable:
    arguments: dict[str, object] = {"shards": 2, "replicas": 2, "members": _MEMBERS, "owners": owners}
    return make_table(**(arguments | changes))  # type: ignore[arg-type]


def test_owners_come_in_any_form_of_numbers() -> None:
    table = _table([0, 1, 1, 2])
    for owners in (
        array("H", [0, 1, 1, 2]),
        array("Q", [0, 1, 1, 2]),
        b"\x00\x01\x01\x02",
        memoryview(b"\x00\x01\x01\x02"),
        iter([0, 1, 1, 2]),
    ):
        assert _table(owners) == table
    assert table.owners_of(0) == (0, 1)
    assert table.owners_of(1) == (1, 2)
    assert table.member(1) == _MEMBERS[1]
    assert table.member(NOBODY) is None
    assert table.numbered() == _MEMBERS


def test_a_table_cannot_be_changed() -> None:
    table = _table([0, 1, 1, 2])
    for numbers in (table.owners, table.epochs):
        with pytest.raises(TypeError, match="read-only"):
            numbers[0] = 7


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"shards": 3}, "power of two"),
        ({"replicas": 0}, "replicas is 0"),
        ({"replicas": 3}, "4 owners and 2 epochs do not fit 2 shards of 3 replicas"),
        ({"epochs": [1]}, "4 owners and 1 epochs do not fit"),
        ({"epochs": [1, 2**32]}, "epochs 32-bit"),
        ({"epochs": [1, -1]}, "epochs 32-bit"),
        ({"owners": [0, 1, 1, 65_536]}, "16-bit"),
        ({"owners": [0, 1, 1, "2"]}, "16-bit"),
        ({"owners": [0, 1, 1, 3]}, "number 3, which no member has"),
        ({"owners": [0, 1, 1, 1]}, "shard 1 is given twice to number 1: replicas 0 and 1"),
        ({"members": [*_MEMBERS, Member(id="x", number=1)]}, "two members have the number 1"),
        ({"members": [*_MEMBERS, Member(id="node-0", number=7)]}, "two members have the id 'node-0'"),
        ({"key_hash": KeyHash.CRC16}, "with crc16 it has to be 16384"),
        ({"generation": -1}, "generation is -1"),
        ({"term": 2**63}, "term is"),
    ],
)
def test_what_is_no_table(changes: dict[str, object], why: str) -> None:
    with pytest.raises(Unusable, match=why):
        _table(**({"owners": [0, 1, 1, 2]} | changes))


def test_unplaced_replicas_may_stand_together() -> None:
    assert _table([NOBODY, 1, NOBODY, NOBODY]).owners_of(0) == (NOBODY, NOBODY)


def test_equal_tables_have_one_digest_and_every_difference_shows() -> None:
    table = _table([0, 1, 1, 2], epochs=[1, 2], generation=3, term=4)
    same = _table([0, 1, 1, 2], epochs=[1, 2], generation=3, term=4)
    assert (table, hash(table)) == (same, hash(same))
    moved = [
        _table([0, 1, 1, 0], epochs=[1, 2], generation=3, term=4),
        _table([0, 1, 1, 2], epochs=[1, 3], generation=3, term=4),
        _table([0, 1], epochs=[1, 2], generation=3, term=4, replicas=1),
    ]
    assert all(other.digest() != table.digest() for other in moved)
    others = [
        _table([0, 1, 1, 2], epochs=[1, 2], generation=4, term=4),
        _table([0, 1, 1, 2], epochs=[1, 2], generation=3, term=5),
        _table([0, 1, 1, 2], epochs=[1, 2], generation=3, term=4, members=[replace(m, address="new") for m in _MEMBERS]),
    ]
    assert all(other != table and other.digest() == table.digest() for other in others)
    assert table != "a table"


# ------------------------------------------------------------------------------------------------------------------------- differences


@given(st.data())
def test_a_difference_leads_to_the_next_table(data: st.DataObject) -> None:
    old = data.draw(tables(generation=1))
    rows = [data.draw(st.permutations([m.number for m in old.members] + [NOBODY] * old.replicas)) for _ in range(old.shards)]
    new = make_table(
        shards=old.shards,
        replicas=old.replicas,
        members=old.members,
        owners=[row[replica] for replica in range(old.replicas) for row in rows],
        epochs=data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=old.shards, max_size=old.shards)),
        generation=2,
        term=old.term,
    )
    assert applied(old, difference(old, new), new.members) == new


def test_a_difference_says_only_what_changed() -> None:
    old = even_table(_MEMBERS, 1024, 2, generation=4)
    owners, epochs = array("H", old.owners), array("I", old.epochs)
    owners[1000], epochs[1000] = 0, 1
    new = make_table(shards=1024, replicas=2, members=_MEMBERS, owners=owners, epochs=epochs, generation=6, term=1)
    found = difference(old, new)
    assert found == Delta(shards=1024, replicas=2, from_generation=4, generation=6, term=1, owners=((1000, 0),), epochs=((1000, 1),))


def test_members_change_with_a_difference() -> None:
    old = even_table(_MEMBERS, 2, 1, generation=1)
    fourth = Member(id="new", number=9)
    new = make_table(shards=2, replicas=1, members=[*_MEMBERS[1:], fourth], owners=[9, 1], generation=2, term=1)
    assert applied(old, difference(old, new), new.members) == new


@pytest.mark.parametrize(
    ("delta", "members", "why"),
    [
        ({"from_generation": 2}, _MEMBERS, "does not fit generation 1"),
        ({"shards": 8}, _MEMBERS, "does not fit"),
        ({"owners": ((8, 1),)}, _MEMBERS, "no such place"),
        ({"owners": ((0, 7),)}, _MEMBERS, "to number 7"),
        ({"epochs": ((4, 1),)}, _MEMBERS, "epoch for shard 4"),
        ({"owners": ((0, 1),)}, _MEMBERS, "shard 0 to one member twice"),
        ({}, _MEMBERS[1:], "stay with number 0"),
    ],
)
def test_a_difference_that_does_not_fit_is_refused(delta: dict[str, object], members: tuple[Member, ...], why: str) -> None:
    old = even_table(_MEMBERS, 4, 2, generation=1)
    fields: dict[str, object] = {"shards": 4, "replicas": 2, "from_generation": 1, "generation": 3, "term": 1}
    with pytest.raises(Mismatch, match=why):
        applied(old, Delta(**(fields | delta)), members)  # type: ignore[arg-type]


def test_tables_of_another_layout_do_not_follow() -> None:
    old = even_table(_MEMBERS, 4, 2, generation=2)
    with pytest.raises(Unusable, match="do not follow"):
        difference(old, even_table(_MEMBERS, 8, 2, generation=3))
    with pytest.raises(Unusable, match="generation 2 does not follow on 2"):
        difference(old, even_table(_MEMBERS, 4, 2, generation=2))
