"""Names of revisions, and which of them are kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_snapshots import ID
from shuren.domain.app import revisions
from shuren.domain.app.snapshot import Revision, RevisionState

SPEC: dict[str, Any] = {"clusterRef": {"name": "bj1"}, "cmd": "sleep 1", "instances": 2}
DIGESTS = {"Secret/db/password": "d1"}


def revision(number: int, state: RevisionState = RevisionState.GOOD, *, name: str = "", app_id: str = ID) -> Revision:
    return Revision(name=f"web-{number}", hash=name or f"h{number}", number=number, state=state, app_id=app_id)


@pytest.mark.parametrize(
    "unnamed",
    [{"instances": 5}, {"management": {"suspend": True}}, {"rollout": {"deadlineSeconds": 5}}, {"dependsOn": [{"name": "db"}]}],
    ids=lambda change: next(iter(change)),
)
def test_what_restarts_nothing_makes_no_revision(unnamed: dict[str, Any]) -> None:
    assert revisions.revision_hash(SPEC | unnamed, DIGESTS) == revisions.revision_hash(SPEC, DIGESTS)


@pytest.mark.parametrize("named", [{"cmd": "sleep 2"}, {"labels": {}}, {"clusterRef": {"name": "sh2"}}, {"id": "/shop/x"}, {"patches": []}])
def test_everything_else_makes_one(named: dict[str, Any]) -> None:
    assert revisions.revision_hash(SPEC | named, DIGESTS) != revisions.revision_hash(SPEC, DIGESTS)


def test_so_does_another_value_of_what_is_referred_to() -> None:
    assert revisions.revision_hash(SPEC, {"Secret/db/password": "d2"}) != revisions.revision_hash(SPEC, DIGESTS)
    assert revisions.revision_hash(SPEC, {}) != revisions.revision_hash(SPEC, DIGESTS)


def test_a_name_does_not_depend_on_the_order_of_fields_and_stays_for_ever() -> None:
    assert revisions.revision_hash(dict(reversed(SPEC.items())), DIGESTS) == revisions.revision_hash(SPEC, DIGESTS) == "d811a72e2b"


def test_digests_of_equal_values_differ_between_resources() -> None:
    one, other = revisions.keyed_digest(b"secret", key="uid-1"), revisions.keyed_digest(b"secret", key="uid-2")
    assert one != other
    assert revisions.keyed_digest(b"secret", key="uid-1") == one
    assert len(one) == 16


def test_looking_up() -> None:
    known = [
        revision(1, name="a"),
        revision(3, RevisionState.FAILED, name="a"),
        revision(2, name="b"),
        revision(4, name="c", app_id="/old"),
    ]
    assert revisions.find(known, "a") == known[1]
    assert revisions.find(known, "x") is None
    assert revisions.last_good(known, app_id=ID) == known[2]
    assert revisions.last_good(known, app_id=ID, other_than="b") == known[0]
    assert revisions.last_good(known, app_id="/nowhere") is None
    assert revisions.newest(known) == known[3]
    assert revisions.newest([]) is None
    assert (revisions.next_number(known), revisions.next_number([])) == (5, 1)


_many = st.lists(
    st.builds(revision, st.integers(min_value=1, max_value=40), st.sampled_from(RevisionState), app_id=st.sampled_from([ID, "/old"])),
    max_size=30,
    unique_by=lambda r: r.number,
)


@given(_many, st.integers(min_value=1, max_value=40))
def test_the_oldest_are_forgotten_and_never_the_target_or_the_last_good_one(known: list[Revision], target: int) -> None:
    gone = revisions.superfluous(known, target=f"h{target}", app_id=ID)
    good = revisions.last_good(known, app_id=ID)
    assert good not in gone
    assert not any(r.hash == f"h{target}" for r in gone)
    assert len(known) - len(gone) == min(len(known), revisions.KEPT)
    assert list(gone) == sorted(gone, key=lambda r: r.number)
    kept = [r for r in known if r not in gone and r is not good and r.hash != f"h{target}"]
    assert all(r.number > g.number for g in gone for r in kept)
