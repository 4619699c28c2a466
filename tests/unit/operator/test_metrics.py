"""The metrics of the process: their names are those that stock dashboards and our alerts know, and no label names an object."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shuren.clients.fakes.clock import ManualClock
from shuren.domain.identity import ObjectKey
from shuren.operator.metrics import Metrics
from shuren.runtime.backoff import Backoff
from shuren.runtime.queue import WorkQueue
from shuren.runtime.store import Store
from shuren.runtime.workers import Result


@dataclass
class Lead:
    leads: bool = True

    def held(self) -> bool:
        return self.leads

    def check(self) -> None:
        """Never asked by metrics."""

    def remaining(self) -> float:
        """Neither."""
        return 0.0


def app(name: str) -> ObjectKey:
    return ObjectKey(kind="PaasApp", namespace="shop", name=name)


class Room:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.queue: WorkQueue[ObjectKey] = WorkQueue(monotonic=self.clock.monotonic, backoff=Backoff(chance=lambda: 0.0))
        self.store = Store()
        self.lead = Lead()
        self.metrics = Metrics()
        self.metrics.watch(
            queue=self.queue,
            store=self.store,
            leadership=self.lead,
            kinds=("PaasApp", "MesosCluster"),
            open_breakers=lambda: {"marathon": 2},
        )

    def put(self, name: str, **conditions: str) -> None:
        status = {"conditions": [{"type": kind, "status": value} for kind, value in conditions.items()]} if conditions else None
        metadata = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"}
        self.store.put(app(name), {"metadata": metadata, "status": status})

    def read(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Each sample by its name and the values of its labels (in the order of their names), without buckets."""
        found: dict[tuple[str, tuple[str, ...]], float] = {}
        for family in text_string_to_metric_families(generate_latest(self.metrics.registry).decode()):
            for sample in family.samples:
                if not sample.name.endswith(("_bucket", "_created")):
                    found[sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))] = sample.value
        return found


def test_the_queue_is_told_under_the_names_of_controller_runtime() -> None:
    room = Room()
    for name in "abc":
        room.queue.add(app(name))
    room.queue.add(app("later"), after=60)
    room.queue.take_now()
    room.clock.shift(4)
    room.queue.take_now()
    room.clock.shift(1)
    first = room.read()
    assert first["workqueue_depth", ("shuren",)] == 1
    assert first["workqueue_adds_total", ("shuren",)] == 4
    assert first["workqueue_unfinished_work_seconds", ("shuren",)] == 6
    assert first["workqueue_longest_running_processor_seconds", ("shuren",)] == 5
    assert first["workqueue_retries_total", ("shuren",)] == 0
    room.queue.retry(app("a"))
    assert room.read()["workqueue_retries_total", ("shuren",)] == 1


def test_passes_are_counted_by_kind_and_result_with_their_times() -> None:
    room = Room()
    room.metrics.observe(kind="PaasApp", result=Result.SUCCESS, seconds=0.5, waited=2.0)
    room.metrics.observe(kind="PaasApp", result=Result.ERROR, seconds=1.5, waited=0.0)
    found = room.read()
    assert found["reconcile_total", ("PaasApp", "success")] == 1
    assert found["reconcile_total", ("PaasApp", "error")] == 1
    assert found["reconcile_time_seconds_sum", ("PaasApp",)] == 2.0
    assert found["workqueue_work_duration_seconds_count", ("shuren",)] == 2
    assert found["workqueue_queue_duration_seconds_sum", ("shuren",)] == 2.0


def test_what_was_asked_changed_watched_and_missed_outside_is_counted() -> None:
    room = Room()
    room.metrics.request("marathon", "GET", "200", 0.25)
    room.metrics.request("kubernetes", "PATCH", "error", 1.0)
    room.metrics.change("create")
    room.metrics.change("create")
    room.metrics.watched("PaasApp", "delete")
    room.metrics.missed(app("a"))
    room.metrics.lag(0.125)
    found = room.read()
    assert found["external_request_duration_seconds_sum", ("200", "marathon", "GET")] == 0.25
    assert found["external_request_duration_seconds_count", ("error", "kubernetes", "PATCH")] == 1
    assert found["plan_changes_total", ("create",)] == 2
    assert found["watch_events_total", ("delete", "PaasApp")] == 1
    assert found["watch_missed_total", ("PaasApp",)] == 1
    assert found["event_loop_lag_seconds_sum", ()] == 0.125


def test_objects_are_counted_by_kind_and_readiness_and_drifted_ones_apart() -> None:
    room = Room()
    room.put("a", Ready="True", InSync="True")
    room.put("b", Ready="True", InSync="False")
    room.put("c", Ready="False", InSync="Unknown")
    room.put("fresh")
    found = room.read()
    assert found["objects", ("PaasApp", "True")] == 2
    assert found["objects", ("PaasApp", "False")] == 1
    assert found["objects", ("PaasApp", "Unknown")] == 1
    assert found["objects", ("MesosCluster", "True")] == 0
    assert found["drift_objects", ("PaasApp",)] == 1


def test_leading_and_open_breakers_are_told_as_of_now() -> None:
    room = Room()
    assert room.read()["leader", ()] == 1
    assert room.read()["target_breaker_open", ("marathon",)] == 2
    room.lead.leads = False
    assert room.read()["leader", ()] == 0


def test_no_label_names_an_object() -> None:
    room = Room()
    room.put("a-very-special-name", Ready="True")
    room.queue.add(app("a-very-special-name"))
    room.metrics.missed(app("a-very-special-name"))
    assert "a-very-special-name" not in generate_latest(room.metrics.registry).decode()
