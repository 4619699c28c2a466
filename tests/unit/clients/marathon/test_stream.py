"""The parser of event streams: however the bytes are cut, whatever stands between frames."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.clients.marathon.stream import events
from shuren.domain.errors import Unreachable


async def chunks(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def parsed(*pieces: bytes) -> list[tuple[str, Any]]:
    return [(event.type, event.data) async for event in events(chunks(pieces))]


def frame(kind: str, document: object) -> bytes:
    return f"event: {kind}\r\ndata: {json.dumps(document, ensure_ascii=False)}\r\n\r\n".encode()


_documents = st.dictionaries(st.text(max_size=4), st.text(max_size=6) | st.integers(), max_size=3)
_frames = st.lists(st.tuples(st.sampled_from(["a_event", "b"]), _documents), max_size=4)


@given(_frames, st.lists(st.booleans(), max_size=5), st.lists(st.integers(min_value=1, max_value=9), min_size=1))
async def test_any_cut_gives_the_same_events(frames: list[tuple[str, dict[str, Any]]], alive: list[bool], sizes: list[int]) -> None:
    """Signs of life stand between frames, and pieces end anywhere: in a letter, between CR and LF."""
    whole = b"".join((b"\r\n" if n < len(alive) and alive[n] else b"") + frame(*one) for n, one in enumerate(frames)) + b"\r\n"
    pieces: list[bytes] = []
    position = 0
    while position < len(whole):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(whole[position : position + size])
        position += size
    assert await parsed(*pieces) == [(kind, document) for kind, document in frames]


async def test_lone_carriage_returns_are_signs_of_life() -> None:
    assert await parsed(b"\r", b"\n", b"\r", b"\n" + frame("a", {"x": 1}), b"\r") == [("a", {"x": 1})]


async def test_what_is_no_event_is_left_out_and_the_next_one_comes() -> None:
    noise = (
        b"event: broken\r\ndata: {not json\r\n\r\n"
        b"event: list\r\ndata: [1]\r\n\r\n"
        b": a comment\r\nid: 5\r\nretry: 1\r\n\r\n"
        b"event: empty\r\n\r\n"
    )
    assert await parsed(noise + frame("a", {})) == [("a", {})]


async def test_a_frame_without_a_name_is_called_by_its_data() -> None:
    assert await parsed(b'data: {"eventType":"status_update_event"}\n\n') == [("status_update_event", {"eventType": "status_update_event"})]
    assert await parsed(b"data: {}\n\n") == [("", {})]


async def test_data_of_several_lines_is_joined() -> None:
    assert await parsed(b'event: a\ndata: {"x":\ndata: 1}\n\n') == [("a", {"x": 1})]


async def test_a_frame_that_the_end_cuts_off_is_none() -> None:
    assert await parsed(frame("a", {}) + b'event: b\r\ndata: {"x":1}\r\n') == [("a", {})]


async def test_bytes_that_are_no_text_cost_their_event_at_most() -> None:
    assert await parsed(b"event: a\r\ndata: \xff\xfe\r\n\r\n" + frame("b", {})) == [("b", {})]


async def test_a_line_without_end_is_given_up() -> None:
    with pytest.raises(Unreachable, match="a line of more than"):
        await parsed(*([b"data: " + b"x" * (1024 * 1024)] * 9))


async def test_a_long_plan_is_read_whole() -> None:
    document = {"plan": "x" * (3 * 1024 * 1024)}
    whole = frame("deployment_info", document)
    assert await parsed(*(whole[at : at + 65536] for at in range(0, len(whole), 65536))) == [("deployment_info", document)]
