"""Conditions as kstatus reads them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.conditions import Condition, ConditionType, Truth, is_true, written

_ABNORMAL = {
    "Reconciling",
    "Stalled",
    "Suspended",
    "Advice",
    "DeletionsHeld",
    "Panic",
    "LoadBalancerSilent",
    "Rebalancing",
    "Degraded",
    "Paused",
}
_conditions = st.lists(
    st.builds(
        Condition,
        type=st.sampled_from(ConditionType),
        status=st.sampled_from(Truth),
        reason=st.sampled_from(["One", "Two"]),
        message=st.text(max_size=5),
    ),
    unique_by=lambda condition: condition.type,
    max_size=8,
)


def _one(kind: ConditionType, status: Truth, *, reason: str = "R", message: str = "") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message)


@given(_conditions)
def test_writing_twice_changes_nothing(conditions: list[Condition]) -> None:
    first = written(conditions, generation=3, now="2026-01-01T00:00:00Z")
    assert written(conditions, generation=3, now="2027-01-01T00:00:00Z", previous=first) == first


@given(_conditions, _conditions)
def test_the_time_moves_exactly_when_the_status_flips(before: list[Condition], after: list[Condition]) -> None:
    old = {c["type"]: c for c in written(before, generation=1, now="2026-01-01T00:00:00Z")}
    for new in written(after, generation=2, now="2027-01-01T00:00:00Z", previous=list(old.values())):
        known = old.get(new["type"])
        kept = known is not None and known["status"] == new["status"]
        assert new["lastTransitionTime"] == ("2026-01-01T00:00:00Z" if kept else "2027-01-01T00:00:00Z")
        assert new["observedGeneration"] == 2


@given(_conditions)
def test_the_order_is_fixed_and_abnormal_ones_are_there_only_while_true(conditions: list[Condition]) -> None:
    found = written(reversed(conditions), generation=1, now="t")
    assert found == written(conditions, generation=1, now="t")
    assert all(c["status"] == "True" for c in found if c["type"] in _ABNORMAL)
    kept = {c.type.value for c in conditions if c.type.value not in _ABNORMAL}
    assert kept <= {str(c["type"]) for c in found}


def test_a_changed_reason_is_no_transition() -> None:
    old = written([_one(ConditionType.READY, Truth.FALSE)], generation=1, now="t1")
    (new,) = written([_one(ConditionType.READY, Truth.FALSE, reason="Other", message="m")], generation=1, now="t2", previous=old)
    assert (new["reason"], new["message"], new["lastTransitionTime"]) == ("Other", "m", "t1")


def test_a_previous_condition_without_a_time_gets_one() -> None:
    previous: list[dict[str, Any]] = [{"type": "Ready", "status": "True"}]
    (new,) = written([_one(ConditionType.READY, Truth.TRUE)], generation=1, now="t2", previous=previous)
    assert new["lastTransitionTime"] == "t2"


def test_messages_have_an_end() -> None:
    (new,) = written([_one(ConditionType.READY, Truth.TRUE, message="x" * 5000)], generation=1, now="t")
    assert len(str(new["message"])) == 1024


def test_is_true() -> None:
    conditions = [_one(ConditionType.READY, Truth.TRUE), _one(ConditionType.IN_SYNC, Truth.UNKNOWN)]
    assert is_true(conditions, ConditionType.READY)
    assert not is_true(conditions, ConditionType.IN_SYNC)
    assert not is_true(conditions, ConditionType.STALLED)
