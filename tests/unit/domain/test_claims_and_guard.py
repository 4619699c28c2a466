"""Claims as bytes, and the guard on deletions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.claims import BUCKETS, LARGEST, bucket_name, bucket_of, decode, encode
from shuren.domain.errors import Invalid, Throttled
from shuren.domain.guard import DeletionLimit, wait_before_deleting
from shuren.domain.identity import Claim
from strategies import app_ids

_claims = st.builds(
    Claim, app_id=app_ids, uid=st.uuids().map(str), namespace=st.just("n"), name=st.just("m"), epoch=st.integers(min_value=0)
)


@given(st.lists(_claims, unique_by=lambda c: c.app_id))
def test_what_is_written_is_read(claims: list[Claim]) -> None:
    assert decode(encode(claims)) == {c.app_id: c for c in claims}
    assert encode(claims) == encode(reversed(claims))


def test_buckets_are_where_other_releases_look() -> None:
    assert [bucket_of(app_id) for app_id in ("/a", "/shop/web", "/中")] == [106, 134, 198]
    assert bucket_name(10) == "0a"


def test_buckets_are_evenly_filled() -> None:
    sizes = [0] * BUCKETS
    for number in range(25_600):
        sizes[bucket_of(f"/team/app-{number}")] += 1
    assert max(sizes) < 160
    assert min(sizes) > 50


def test_an_empty_node_holds_no_claims_and_later_fields_are_ignored() -> None:
    assert decode(b"") == {}
    assert decode(b"{}") == {}
    assert decode(b'{"/a":{"uid":"u","namespace":"n","name":"m","epoch":1,"later":true}}')["/a"].uid == "u"


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"/a":1}', b'{"/a":{"uid":"u"}}', b"\xff"])
def test_anything_else_is_no_claims(data: bytes) -> None:
    with pytest.raises(Invalid, match="restore it"):
        decode(data)


def test_a_bucket_has_a_largest_size() -> None:
    many = [Claim(app_id=f"/a{n}", uid="u" * 36, namespace="n" * 60, name="m" * 60, epoch=1) for n in range(5000)]
    with pytest.raises(Throttled, match=str(LARGEST)):
        encode(many)


@given(
    st.integers(min_value=0, max_value=200),
    st.integers(min_value=0, max_value=100),
    st.integers(min_value=1, max_value=20),
    st.lists(st.floats(min_value=0, max_value=5), min_size=1, max_size=120),
)
def test_however_deletions_come_no_minute_has_more_than_allowed(apps: int, percent: int, floor: int, pauses: list[float]) -> None:
    limit = DeletionLimit(share=percent / 100, floor=floor)
    now, left = 0.0, apps
    done: list[float] = []
    for pause in pauses:
        now += pause
        if left and wait_before_deleting(limit, apps=left, recent=done, now=now) == 0:
            done.append(now)
            left -= 1
    most = max(floor, int(apps * percent / 100))
    for start in done:
        assert sum(1 for at in done if start <= at < start + 60) <= most


def test_waiting_as_long_as_told_is_enough() -> None:
    limit = DeletionLimit(share=0, floor=2)
    wait = wait_before_deleting(limit, apps=100, recent=[10.0, 20.0], now=30.0)
    assert wait == pytest.approx(40.0)
    assert wait_before_deleting(limit, apps=100, recent=[10.0, 20.0], now=30.0 + wait) == 0


def test_nothing_may_be_deleted_when_nothing_is_allowed() -> None:
    assert wait_before_deleting(DeletionLimit(share=0, floor=0), apps=10, recent=[], now=0.0) > 0
