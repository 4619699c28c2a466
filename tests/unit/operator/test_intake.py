"""Where watches end: what is enqueued, at which priority, and what is not worth a pass."""

from __future__ import annotations

from typing import Any

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.domain.identity import ObjectKey
from shuren.operator.intake import Intake
from shuren.operator.metrics import Metrics
from shuren.ports.kubernetes import Object
from shuren.runtime.backoff import Backoff
from shuren.runtime.queue import Priority, WorkQueue
from shuren.runtime.store import Store

APP = ObjectKey(kind="PaasApp", namespace="shop", name="web")
NAMESPACE = ObjectKey(kind="Namespace", namespace="", name="shop")
DEPENDANT = ObjectKey(kind="PaasApp", namespace="shop", name="dependant")


def item(version: int, **metadata: Any) -> Object:
    given = {"name": "web", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": str(version)}
    return {"metadata": given | metadata}


class Room:
    def __init__(self, *namespaces: str) -> None:
        clock = ManualClock()
        self.store = Store()
        self.queue: WorkQueue[ObjectKey] = WorkQueue(monotonic=clock.monotonic, backoff=Backoff(chance=lambda: 0.0))
        self.asked: list[tuple[ObjectKey, bool]] = []
        self.intake = Intake(
            store=self.store,
            queue=self.queue,
            metrics=Metrics(),
            reconciled=frozenset({"PaasApp", "MesosCluster"}),
            related=self._related,
            namespaces=frozenset(namespaces),
        )

    def _related(self, key: ObjectKey, item: Object, status_only: bool) -> list[ObjectKey]:  # noqa: FBT001 - the type of Related
        assert item["metadata"]
        self.asked.append((key, status_only))
        return [DEPENDANT]

    def taken(self) -> dict[str, int]:
        """The names of all keys that wait, with their priority; they are worked on and done."""
        found: dict[str, int] = {}
        while (one := self.queue.take_now()) is not None:
            found[one.key.name] = one.priority
            self.queue.done(one.key)
        return found


def test_what_existed_at_the_start_waits_behind_edits_unless_it_has_no_status_yet() -> None:
    room = Room()
    room.intake.upsert(APP, item(1) | {"status": {}}, initial=True)
    assert room.taken() == {"web": Priority.RESYNC}
    fresh = Room()
    fresh.intake.upsert(APP, item(1), initial=True)
    assert fresh.taken() == {"web": Priority.USER}
    assert fresh.asked == [], "at the start all are enqueued for themselves"


def test_an_edit_is_passed_at_once_and_its_dependants_after_it() -> None:
    room = Room()
    room.intake.upsert(APP, item(1), initial=True)
    room.taken()
    room.intake.upsert(APP, item(2, generation=2), initial=False)
    assert room.taken() == {"web": Priority.USER, "dependant": Priority.EXTERNAL}
    assert room.asked == [(APP, False)]


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"uid": "re-created"},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"finalizers": ["x"]},
        {"annotations": {"paas.shurenyun.com/force-orphan": "true"}},
        {"labels": {"tier": "front"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_by_which_people_ask_for_something_is_worth_a_pass(change: dict[str, Any]) -> None:
    room = Room()
    room.intake.upsert(APP, item(1), initial=True)
    room.taken()
    room.intake.upsert(APP, item(2, **change), initial=False)
    assert room.taken()["web"] == Priority.USER


def test_a_status_that_comes_back_runs_those_who_wait_for_it_and_not_its_own_controller() -> None:
    room = Room()
    room.intake.upsert(APP, item(1), initial=True)
    room.taken()
    room.intake.upsert(APP, item(2) | {"status": {"ready": "1/1"}}, initial=False)
    assert room.taken() == {"dependant": Priority.EXTERNAL}
    assert room.asked == [(APP, True)]


def test_what_is_known_already_is_no_news() -> None:
    room = Room()
    room.intake.upsert(APP, item(5), initial=True)
    room.taken()
    room.intake.upsert(APP, item(5), initial=False)
    room.intake.upsert(APP, item(4, generation=2), initial=False)
    assert room.taken() == {}


def test_a_relist_after_the_start_is_compared_like_any_event() -> None:
    room = Room()
    room.intake.upsert(APP, item(1), initial=False)
    assert room.taken() == {"web": Priority.USER, "dependant": Priority.EXTERNAL}


def test_a_kind_without_controller_only_runs_those_it_concerns() -> None:
    room = Room()
    room.intake.upsert(NAMESPACE, {"metadata": {"name": "shop", "uid": "n", "resourceVersion": "1"}}, initial=False)
    assert room.taken() == {"dependant": Priority.EXTERNAL}
    room.intake.delete(NAMESPACE)
    assert room.taken() == {"dependant": Priority.EXTERNAL}


def test_a_deletion_is_passed_at_once_forgets_failures_and_tells_dependants() -> None:
    room = Room()
    room.intake.upsert(APP, item(1), initial=True)
    room.queue.take_now()
    room.queue.retry(APP)
    room.intake.delete(APP)
    assert room.queue.failures(APP) == 0
    assert room.taken() == {"web": Priority.USER, "dependant": Priority.EXTERNAL}
    room.asked.clear()
    room.intake.delete(APP)
    assert room.taken() == {"web": Priority.USER}, "what was never seen concerns nobody else"
    assert room.asked == []


def test_other_namespaces_are_not_looked_at_and_cluster_scoped_objects_are() -> None:
    room = Room("shop")
    elsewhere = ObjectKey(kind="PaasApp", namespace="other", name="web")
    room.intake.upsert(elsewhere, item(1, namespace="other"), initial=False)
    room.intake.delete(elsewhere)
    assert room.taken() == {}
    assert room.store.count("PaasApp") == 0
    room.intake.upsert(ObjectKey(kind="MesosCluster", namespace="", name="bj1"), item(1, name="bj1"), initial=False)
    assert room.taken()["bj1"] == Priority.USER
