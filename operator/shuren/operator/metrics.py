"""Metrics, named as client-go and controller-runtime name them where they have a name. No label ever holds a resource's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import Object
from shuren.ports.leadership import Leadership
from shuren.runtime.queue import WorkQueue
from shuren.runtime.store import Store
from shuren.runtime.workers import Result

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0)
_QUEUE = "shuren"


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._passes = Counter("reconcile_total", "Passes by kind and result", ["kind", "result"], registry=self.registry)
        self._observed: dict[tuple[str, Result], tuple[Counter, Histogram, Histogram, Histogram]] = {}
        self._time = self._histogram("reconcile_time_seconds", "Duration of passes", "kind")
        self._queued = self._histogram("workqueue_queue_duration_seconds", "From when a key could run until it did", "name")
        self._worked = self._histogram("workqueue_work_duration_seconds", "Duration of passes, all kinds", "name")
        self._requests = self._histogram(
            "external_request_duration_seconds", "Requests until the answer began; code is `error` when none came", "target", "verb", "code"
        )
        self._requested: dict[tuple[str, str, str], Histogram] = {}
        self._changes = Counter("plan_changes_total", "Changes made outside, by operation", ["op"], registry=self.registry)
        self._lag = Histogram("event_loop_lag_seconds", "How late the event loop wakes", buckets=_LAG_BUCKETS, registry=self.registry)
        self._watch_events = Counter("watch_events_total", "Events that the watches brought", ["kind", "change"], registry=self.registry)
        self._watched: dict[tuple[str, str], Counter] = {}
        self._watch_missed = Counter("watch_missed_total", "Changes that only a list has found", ["kind"], registry=self.registry)

    def _histogram(self, name: str, words: str, *labels: str) -> Histogram:
        return Histogram(name, words, labels, buckets=_BUCKETS, registry=self.registry)

    def observe(self, *, kind: str, result: Result, seconds: float, waited: float) -> None:
        """See PassObserver."""
        child = self._observed.get((kind, result))
        if child is None:
            child = self._observed[kind, result] = (
                self._passes.labels(kind, result.value),
                self._time.labels(kind),
                self._worked.labels(_QUEUE),
                self._queued.labels(_QUEUE),
            )
        passes, time, worked, queued = child
        passes.inc()
        time.observe(seconds)
        worked.observe(seconds)
        queued.observe(waited)

    def request(self, target: str, verb: str, code: str, seconds: float) -> None:
        """One request to something outside; see `clients.http.Observe`."""
        child = self._requested.get((target, verb, code))
        if child is None:
            child = self._requested[target, verb, code] = self._requests.labels(target, verb, code)
        child.observe(seconds)

    def change(self, operation: str) -> None:
        """A controller has changed something outside."""
        self._changes.labels(operation).inc()

    def lag(self, seconds: float) -> None:
        """The event loop woke this late."""
        self._lag.observe(seconds)

    def watched(self, kind: str, change: str) -> None:
        """A watch has brought something (`initial`, `upsert` or `delete`)."""
        seen = self._watched.get((kind, change))
        if seen is None:
            seen = self._watched[kind, change] = self._watch_events.labels(kind, change)
        seen.inc()

    def missed(self, key: ObjectKey) -> None:
        """A list has found what the watch had not brought."""
        self._watch_missed.labels(key.kind).inc()

    def watch(
        self,
        *,
        queue: WorkQueue[ObjectKey],
        store: Store,
        leadership: Leadership,
        kinds: tuple[str, ...],
        open_breakers: Callable[[], Mapping[str, int]],
    ) -> None:
        """Read these whenever metrics are asked for. `open_breakers` counts targets that do not answer, by what they are.

        Declares the index `STATE` of `kinds`, so call it before objects arrive.
        """
        for kind in kinds:
            store.index(kind, STATE, _state)
        self.registry.register(_Live(queue=queue, store=store, leadership=leadership, kinds=kinds, open_breakers=open_breakers))


STATE = "state"
"""Index: the status of the condition Ready (or `NO_STATUS`), and `_DRIFTED` where something differs outside."""
NO_STATUS = "none"
_DRIFTED = "drifted"


def _state(item: Object) -> list[str]:
    status = item.get("status")
    conditions = {c.get("type"): c.get("status") for c in (status or {}).get("conditions") or ()}
    ready = NO_STATUS if status is None else str(conditions.get("Ready", "Unknown"))
    return [ready, _DRIFTED] if conditions.get("InSync") == "False" else [ready]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Live(Collector):
    queue: WorkQueue[ObjectKey]
    store: Store
    leadership: Leadership
    kinds: tuple[str, ...]
    open_breakers: Callable[[], Mapping[str, int]]

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        queue = self.queue
        yield _gauge("workqueue_depth", "Keys that could run now", queue.depth)
        yield _counter("workqueue_adds_total", "Keys asked for", queue.adds)
        yield _counter("workqueue_retries_total", "Passes that failed", queue.retries)
        yield _gauge("workqueue_unfinished_work_seconds", "Ages of all passes under way, together", queue.unfinished())
        yield _gauge("workqueue_longest_running_processor_seconds", "Age of the oldest pass under way", queue.longest_running())
        yield GaugeMetricFamily("leader", "1 while this process leads", value=int(self.leadership.held()))
        breakers = GaugeMetricFamily("target_breaker_open", "Targets that do not answer and are left alone for a while", labels=["target"])
        for target, number in self.open_breakers().items():
            breakers.add_metric([target], number)
        yield breakers
        objects = GaugeMetricFamily("objects", "Resources by kind and readiness", labels=["kind", "ready"])
        drifted = GaugeMetricFamily("drift_objects", "Resources that differ outside from what they ask for", labels=["kind"])
        for kind in self.kinds:
            state = self.store.tally(kind, STATE)
            for value, number in {"True": 0, "False": 0, "Unknown": state.get(NO_STATUS, 0)}.items():
                objects.add_metric([kind, value], number + state.get(value, 0))
            drifted.add_metric([kind], state.get(_DRIFTED, 0))
        yield objects
        yield drifted


def _gauge(name: str, words: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, words, labels=["name"])
    family.add_metric([_QUEUE], value)
    return family


def _counter(name: str, words: str, value: float) -> Metric:
    family = CounterMetricFamily(name, words, labels=["name"])
    family.add_metric([_QUEUE], value)
    return family
