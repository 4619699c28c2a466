from __future__ import annotations

from typing import Any

import pytest

from shuren.domain.identity import ObjectKey
from shuren.runtime.resync import compare
from shuren.runtime.store import Store

A = ObjectKey(kind="Thing", namespace="n", name="a")
B = ObjectKey(kind="Thing", namespace="n", name="b")


def item(name: str, version: int, *, uid: str = "u", color: str = "", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version), **metadata}, "spec": {"color": color}}


def colors(thing: dict[str, Any]) -> list[str]:
    color = thing["spec"]["color"]
    return [color] if color else []


def test_older_states_are_not_taken_in() -> None:
    store = Store()
    assert store.put(A, item("a", 5))
    assert not store.put(A, item("a", 5))
    assert not store.put(A, item("a", 4))
    assert store.put(A, item("a", 6))
    assert store.put(A, item("a", 3, uid="re-created"))


def test_what_nobody_reads_is_dropped() -> None:
    store = Store()
    noted = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "1"}
    store.put(A, item("a", 1, managedFields=[1], annotations=noted))
    known = store.get(A)
    assert known is not None
    assert "managedFields" not in known["metadata"]
    assert known["metadata"]["annotations"] == {"keep": "1"}


def test_an_index_follows_changes_and_removals() -> None:
    store = Store()
    store.put(A, item("a", 1, color="red"))
    store.index("Thing", "color", colors)
    store.put(B, item("b", 2, color="red"))
    assert store.lookup("Thing", "color", "red") == {A, B}
    store.put(A, item("a", 3, color="blue"))
    assert store.lookup("Thing", "color", "red") == {B}
    assert store.lookup("Thing", "color", "blue") == {A}
    assert store.remove(B) is not None
    assert store.lookup("Thing", "color", "red") == frozenset()
    assert store.remove(B) is None
    assert (store.count("Thing"), store.keys("Thing"), [k for k, _ in store.items("Thing")]) == (1, (A,), [A])


def test_the_store_is_behind_until_the_watch_brings_our_own_write() -> None:
    store = Store()
    store.put(A, item("a", 1))
    store.wrote(A, item("a", 4))
    assert store.behind(A)
    store.put(A, item("a", 3))
    assert store.behind(A)
    store.put(A, item("a", 4))
    assert not store.behind(A)


def test_a_write_to_what_was_deleted_or_made_anew_is_no_reason_to_wait() -> None:
    store = Store()
    store.put(A, item("a", 1))
    store.wrote(A, item("a", 4))
    store.put(A, item("a", 2, uid="re-created"))
    assert not store.behind(A)
    store.wrote(A, item("a", 9, uid="re-created"))
    store.remove(A)
    assert not store.behind(A)


def test_a_list_finds_missed_changes_and_deletes() -> None:
    store = Store()
    store.put(A, item("a", 1))
    store.put(B, item("b", 2))
    missed = compare(kind="Thing", store=store, listed=[item("a", 3), item("c", 4)], listed_version=9)
    assert missed.changed == (A, ObjectKey(kind="Thing", namespace="n", name="c"))
    assert missed.deleted == (B,)
    assert missed


def test_a_list_that_agrees_finds_nothing() -> None:
    store = Store()
    store.put(A, item("a", 1))
    assert not compare(kind="Thing", store=store, listed=[item("a", 1)], listed_version=9)


def test_what_is_newer_than_the_list_is_not_missing_from_it() -> None:
    store = Store()
    store.put(A, item("a", 12))
    assert not compare(kind="Thing", store=store, listed=[], listed_version=9)


def test_a_list_of_some_namespaces_says_nothing_of_others() -> None:
    store = Store()
    store.put(A, item("a", 1))
    assert not compare(kind="Thing", store=store, listed=[], listed_version=9, namespaces=frozenset({"other"}))


def test_the_latest_state_is_what_a_watch_or_a_write_has_told() -> None:
    store = Store()
    assert store.latest(A) is None
    store.put(A, item("a", 3))
    assert store.latest(A) == ("u", "3")
    store.wrote(A, item("a", 5))
    assert store.latest(A) == ("u", "5")
    store.put(A, item("a", 6))
    assert store.latest(A) == ("u", "6")
    store.wrote(A, item("a", 9, uid="another"))
    assert store.latest(A) == ("u", "6")


def test_an_answer_without_a_version_is_not_waited_for() -> None:
    store = Store()
    store.put(A, item("a", 3))
    store.wrote(A, {"metadata": {"uid": "u"}})
    assert not store.behind(A)
    store.put(B, {"metadata": {"name": "b", "namespace": "n", "uid": "u", "resourceVersion": "opaque"}})
    assert store.latest(B) is None


def test_an_index_holds_what_still_has_a_value_and_forgets_the_rest() -> None:
    store = Store()
    store.index("Thing", "color", colors)
    store.index("Other", "color", colors)
    store.put(A, item("a", 1, color="red"))
    store.put(B, item("b", 2, color="red"))
    assert store.lookup("Other", "color", "red") == frozenset()
    store.remove(A)
    assert store.lookup("Thing", "color", "red") == {B}


def test_a_value_that_an_object_has_twice_is_indexed_once() -> None:
    store = Store()
    store.index("Thing", "color", lambda thing: [*colors(thing), *colors(thing)])
    store.put(A, item("a", 1, color="red"))
    assert store.lookup("Thing", "color", "red") == {A}
    store.remove(A)
    assert store.lookup("Thing", "color", "red") == frozenset()


def test_the_answer_to_our_own_write_is_known_at_once_and_an_older_one_is_not_taken_in() -> None:
    store = Store()
    store.index("Thing", "color", colors)
    store.put(A, item("a", 3, color="red"))
    store.answered(A, item("a", 5, color="blue"))
    assert store.lookup("Thing", "color", "blue") == {A}
    assert not store.behind(A)
    store.put(A, item("a", 8, color="green"))
    store.answered(A, item("a", 7, color="blue"))
    assert store.lookup("Thing", "color", "green") == {A}


def test_what_was_deleted_before_the_answer_came_stays_deleted() -> None:
    store = Store()
    store.put(A, item("a", 3))
    store.remove(A)
    store.answered(A, item("a", 4))
    assert store.get(A) is None
    store.put(A, item("a", 6, uid="re-created", color="red"))
    store.answered(A, item("a", 4, color="blue"))
    known = store.get(A)
    assert known is not None
    assert known["spec"]["color"] == "red"


def test_the_answer_that_takes_the_last_finalizer_away_has_the_version_from_before() -> None:
    store = Store()
    store.put(A, item("a", 3, finalizers=["x"]))
    store.answered(A, item("a", 3, finalizers=[]))
    known = store.get(A)
    assert known is not None
    assert known["metadata"]["finalizers"] == []


def test_what_is_left_out_is_not_kept() -> None:
    store = Store()
    store.leave_out("Thing", "data")
    store.put(A, item("a", 1) | {"data": {"large": "x"}})
    assert store.get(A) == item("a", 1)


def test_an_answer_is_the_callers_own() -> None:
    store = Store()
    store.put(A, item("a", 1, color="red"))
    first = store.get(A)
    assert first is not None
    first["spec"]["color"] = "changed by mistake"
    assert store.get(A) == item("a", 1, color="red")


def test_a_tally_counts_without_decoding() -> None:
    store = Store()
    store.index("Thing", "color", colors)
    for number, color in enumerate(["red", "red", "blue", ""]):
        store.put(ObjectKey(kind="Thing", namespace="n", name=str(number)), item(str(number), number + 1, color=color))
    assert store.tally("Thing", "color") == {"red": 2, "blue": 1}
    store.put(ObjectKey(kind="Thing", namespace="n", name="0"), item("0", 9, color="blue"))
    assert store.tally("Thing", "color") == {"red": 1, "blue": 2}


@pytest.mark.parametrize(
    "change",
    [{"generation": 2}, {"finalizers": ["f"]}, {"labels": {"a": "b"}}, {"annotations": {"a": "b"}}, {"deletionTimestamp": "t"}],
)
def test_the_identity_tells_what_is_asked_from_an_echo_of_a_status(change: dict[str, Any]) -> None:
    store = Store()
    store.put(A, item("a", 1, generation=1))
    before = store.identity(A)
    store.put(A, item("a", 2, generation=1) | {"status": {"new": True}})
    echo = store.identity(A)
    store.put(A, item("a", 3, **({"generation": 1} | change)))
    asked = store.identity(A)
    assert before is not None
    assert echo is not None
    assert asked is not None
    assert before.asked == echo.asked != asked.asked
    assert (before.version, echo.version, asked.version) == (1, 2, 3)
