"""The measurements of Marathon's own HTTP."""

from __future__ import annotations

import pytest

from shuren.sandbox.http.traffic import CLASSES, METHODS, Meter, Traffic
from wire import Wire


def test_rates_follow_the_traffic_and_die_down() -> None:
    meter = Meter(0.0)
    for second in range(60):
        for _ in range(10):
            meter.mark(float(second))
    busy = meter.rates(60.0)
    assert (busy["count"], busy["mean_rate"]) == (600, 10.0)
    assert busy["m1_rate"] == pytest.approx(10, rel=0.1)
    later = meter.rates(360.0)
    assert later["m1_rate"] < 0.1 < later["m5_rate"] < later["m15_rate"]
    assert meter.rates(1e9)["m15_rate"] < 0.001


def test_a_meter_that_was_never_marked() -> None:
    assert Meter(0.0).rates(0.0) == {"count": 0, "m15_rate": 0.0, "m1_rate": 0.0, "m5_rate": 0.0, "mean_rate": 0.0}


def test_answers_are_counted_by_class_and_times_by_method() -> None:
    traffic = Traffic()
    with traffic.under_way():
        assert traffic.metrics()["gauges"] == {"marathon.http.requests.active.gauge": {"value": 1}}
    for method, status in (("GET", 200), ("GET", 404), ("PUT", 201), ("PATCH", 500), ("GET", 302)):
        traffic.answered(method, status, 0.0)
    found = traffic.metrics()
    meters = {name: found["meters"][f"marathon.http.responses.{name}.rate.meter"] for name in CLASSES}
    assert {name: meter["count"] for name, meter in meters.items()} == {"2xx": 2, "4xx": 1, "5xx": 1}
    timers = {name: found["timers"][f"marathon.http.requests.{name.lower()}.duration.timer.seconds"] for name in METHODS}
    assert {name: timer["count"] for name, timer in timers.items()} == {"GET": 3, "PUT": 1, "POST": 0, "DELETE": 0}
    assert timers["GET"]["min"] <= timers["GET"]["p50"] <= timers["GET"]["max"]
    assert timers["POST"]["p99"] == 0.0


async def test_metrics_tell_of_the_requests_before(wire: Wire) -> None:
    await wire.get("/v2/apps")
    await wire.get("/v2/nosuch")
    found = (await wire.get("/metrics")).json
    assert found["meters"]["marathon.http.responses.2xx.rate.meter"]["count"] == 1
    assert found["meters"]["marathon.http.responses.5xx.rate.meter"]["count"] == 1
    assert found["timers"]["marathon.http.requests.get.duration.timer.seconds"]["count"] == 2
    text = (await wire.get("/metrics/prometheus")).body.decode()
    assert "marathon_http_responses_2xx_rate_meter 2\n" in text
    assert "# TYPE marathon_http_requests_get_duration_timer_seconds summary\n" in text
    assert "marathon_http_requests_get_duration_timer_seconds_count 3\n" in text
