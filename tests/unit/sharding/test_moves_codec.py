"""Moves, reports and live nodes: what is written is read, and anything else is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding_tables import texts
from shuren.sharding.core import Malformed
from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.moves import Fence, Live, Move, MoveState, Report
from shuren.sharding.wrong_shard import WrongShard

_fences = st.builds(Fence, term=st.integers(0, 2**63 - 1), epoch=st.integers(0, 2**32 - 1))
_ids = st.one_of(st.none(), texts)
_moves = st.builds(
    Move,
    shard=st.integers(0, 65_535),
    state=st.sampled_from(MoveState),
    from_=_ids,
    to=_ids,
    fence=_fences,
    primary=st.booleans(),
    source=_ids,
    deadline=st.floats(0, 1e11),
    shards=st.sampled_from([0, 1, 16, 65_536]),
)
_reports = st.builds(
    Report, state=st.sampled_from(MoveState), epoch=st.integers(0, 2**32 - 1), error=st.text(max_size=20), shards=st.sampled_from([0, 4096])
)
_lives = st.builds(
    Live,
    id=texts,
    instance=texts,
    address=texts,
    generation=st.integers(0, 2**63 - 1),
    session_seconds=st.floats(0, 1e6),
    counts=st.dictionaries(texts, st.integers(0, 70_000), max_size=3),
    load=st.integers(0, 2**63 - 1),
    hottest=st.dictionaries(st.integers(0, 65_535), st.integers(0, 2**40), max_size=3),
)
_MOVE = Move(shard=7, state=MoveState.ACTIVATE, from_="a", to="b", fence=Fence(term=2, epoch=6), source="c", deadline=1e9)


@given(_moves)
def test_moves_come_back(move: Move) -> None:
    assert codec.decode_move(move.shard, codec.encode_move(move)) == move


@given(_reports.filter(lambda r: r.error.isprintable()))
def test_reports_come_back(report: Report) -> None:
    assert codec.decode_report(codec.encode_report(report)) == report


@given(_lives)
def test_live_nodes_come_back(live: Live) -> None:
    assert codec.decode_live(codec.encode_live(live)) == live


def test_the_words_are_those_of_the_layout() -> None:
    assert json.loads(codec.encode_move(_MOVE)) == {
        "state": "activate",
        "from": "a",
        "to": "b",
        "source": "c",
        "term": 2,
        "shardEpoch": 6,
        "primary": True,
        "deadline": 1e9,
    }
    assert json.loads(codec.encode_report(Report(state=MoveState.CATCH_UP, epoch=5))) == {"state": "catch-up", "shardEpoch": 5, "error": ""}


def test_a_report_answers_the_state_and_epoch_that_it_names() -> None:
    assert Report(state=MoveState.ACTIVATE, epoch=6).answers(_MOVE)
    assert not Report(state=MoveState.ACTIVATE, epoch=5).answers(_MOVE)
    assert not Report(state=MoveState.FORWARD, epoch=6).answers(_MOVE)
    assert not Report(state=MoveState.ACTIVATE, epoch=6, error="disk full").answers(_MOVE)


@given(texts.filter(bool))
def test_ids_are_names_of_nodes_and_back(identity: str) -> None:
    name = codec.node_name(identity)
    assert "/" not in name
    assert name not in {".", ".."}
    assert codec.member_of(name) == identity


@pytest.mark.parametrize(
    ("name", "shard"), [("0", 0), ("65535", 65_535), ("65536", None), ("01", None), ("-1", None), ("x", None), ("٣", None)]
)
def test_names_of_shards(name: str, shard: int | None) -> None:
    assert codec.shard_of(name) == shard


_READERS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "move": (codec.encode_move(_MOVE), lambda data: codec.decode_move(7, data)),
    "report": (codec.encode_report(Report(state=MoveState.DROP, epoch=1)), codec.decode_report),
    "live": (codec.encode_live(Live(id="a", counts={"primary": 1})), codec.decode_live),
    "wrong shard": (WrongShard("", slot=1, generation=2, owner="b").to_bytes(), WrongShard.from_bytes),
}


@pytest.mark.parametrize("node", _READERS)
@given(st.data())
def test_bytes_changed_cut_and_repeated(node: str, data: st.DataObject) -> None:
    whole, read = _READERS[node]
    at = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(at, len(whole)))
    with contextlib.suppress(Malformed):
        read(whole[:at] + data.draw(st.binary(max_size=6)) + whole[end:])


@pytest.mark.parametrize("node", _READERS)
@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 60_000, b"{}", b" " * 70_000])
def test_what_is_nothing_of_the_kind(node: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        _READERS[node][1](data)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": "teleport"}, "state 'teleport' is not known to this library: update it"),
        ({"to": 7}, "moves/7: to is not text"),
        ({"from": "\ud800"}, "moves/7: from is not text"),
        ({"term": -1}, "moves/7: term is not a number"),
        ({"shardEpoch": 2**32}, "moves/7: shardEpoch is not a number"),
        ({"primary": "yes"}, "moves/7: primary is not true or false"),
        ({"deadline": "soon"}, "moves/7: deadline is not a number of seconds"),
    ],
)
def test_a_move_that_nobody_can_follow_names_the_field(changes: dict[str, Any], why: str) -> None:
    document = json.loads(codec.encode_move(_MOVE)) | changes
    with pytest.raises(Malformed, match=why):
        codec.decode_move(7, json.dumps(document).encode())


def test_counts_are_numbers() -> None:
    with pytest.raises(Malformed, match="counts is not an object of numbers"):
        codec.decode_live(b'{"id":"a","generation":1,"counts":{"primary":-1}}')


def test_a_refusal_travels() -> None:
    error = WrongShard("shard 7 is with b", slot=7, generation=9, owner="b", address="h:1", ask=True)
    back = WrongShard.from_bytes(error.to_bytes())
    assert (back.slot, back.generation, back.owner, back.address, back.ask) == (7, 9, "b", "h:1", True)
    assert str(back) == "shard 7 is with b"
