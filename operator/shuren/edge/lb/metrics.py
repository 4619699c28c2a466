"""Metrics of the agent. HAProxy's own come from its exporter (`--haproxy-metrics`); no label here holds a service's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

Read = Callable[[], Mapping[str, float]]
"""Gauges by name (without prefix) as they are now. Called from the thread that serves metrics: it must only read."""


class Metrics:
    """All metrics of one agent, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._apply = Histogram(
            "shuren_lb_apply_seconds",
            "From hearing of a change of endpoints until HAProxy showed it",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._reload = Histogram(
            "shuren_lb_reload_seconds",
            "Duration of reloads that went through",
            buckets=(0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self.registry,
        )
        self._reloads = self._counter("reloads_total", "Reloads of HAProxy", "result")
        self._commands = self._counter("commands_total", "Commands to HAProxy's runtime API", "result")
        self._repairs = Counter("shuren_lb_repairs_total", "Changes in HAProxy that nobody had asked for", registry=self.registry)
        self._starts = Counter("shuren_lb_haproxy_starts_total", "Starts of HAProxy by the agent", registry=self.registry)
        self._certificates = self._counter("certificates_total", "Certificates put in place at run time", "result")
        self._acknowledged = Counter("shuren_lb_acknowledgements_total", "Acknowledgements written to ZooKeeper", registry=self.registry)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"shuren_lb_{name}", words, labels, registry=self.registry)

    def applied(self, seconds: float) -> None:
        """A change of endpoints is in HAProxy."""
        self._apply.observe(seconds)

    def reloaded(self, seconds: float) -> None:
        """A reload went through."""
        self._reload.observe(seconds)
        self._reloads.labels("done").inc()

    def not_reloaded(self) -> None:
        """A reload failed, or there was no configuration to reload with."""
        self._reloads.labels("refused").inc()

    def told(self, commands: int, refused: int) -> None:
        """Commands were sent."""
        self._commands.labels("done").inc(commands - refused)
        self._commands.labels("refused").inc(refused)

    def repaired(self, changes: int) -> None:
        """Drift was put right."""
        self._repairs.inc(changes)

    def started(self) -> None:
        """HAProxy was started."""
        self._starts.inc()

    def certificate(self, result: str) -> None:
        """A certificate was put in place (`done`) or not (`refused`)."""
        self._certificates.labels(result).inc()

    def acknowledged(self, count: int) -> None:
        """Written to ZooKeeper."""
        self._acknowledged.inc(count)

    def watch(self, read: Read) -> None:
        """Read these gauges whenever metrics are asked for."""
        self.registry.register(_Live(read))


_WORDS = {
    "zookeeper_connected": "1 while there is a session with ZooKeeper",
    "synced": "1 once ZooKeeper has been read since the start",
    "haproxy_running": "1 while HAProxy answers",
    "services": "Services of the group",
    "services_with_problems": "Services of which something is left out",
    "servers": "Servers in HAProxy",
    "servers_up": "Servers that are ready and whose check passes",
    "servers_waiting": "Servers that are ready and whose check does not pass",
    "servers_leaving": "Servers that wait for their last connection to be deleted",
    "old_workers": "Workers of HAProxy that finish what they had before a reload",
    "last_reload_timestamp_seconds": "When HAProxy was last reloaded",
}


class _Live(Collector):
    def __init__(self, read: Read) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        for name, value in self._read().items():
            yield GaugeMetricFamily(f"shuren_lb_{name}", _WORDS[name], value=value)
