"""What the engine tells of itself: info, metrics, history of groups, offers."""

from __future__ import annotations

from typing import Any

import pytest

from live_wire import ADDRESS, Live

WAITING: dict[str, Any] = {"constraints": [["hostname", "LIKE", "nowhere"]]}
GAUGES = (
    "apps.active.gauge", "pods.active.gauge", "groups.active.gauge", "deployments.active.gauge", "instances.running.gauge",
    "instances.staged.gauge", "instances.launch-overdue.gauge", "instances.inflight-kills.gauge", "instances.inflight-kill-attempts.gauge",
    "leadership.duration.gauge.seconds", "uptime.gauge.seconds", "http.event-streams.active.gauge", "http.requests.active.gauge",
    "debug.root-group.updates.active.gauge", "jvm.memory.heap.used.gauge.bytes",
)  # fmt: skip
COUNTERS = (
    "deployments.counter", "deployments.dismissed.counter", "tasks.launched.counter", "mesos.offers.incoming.counter",
    "mesos.offers.used.counter", "mesos.offers.declined.counter",
)  # fmt: skip
CONFIG = (
    "features", "hostname", "ha", "local_port_min", "local_port_max", "mesos_role", "default_network_name", "env_vars_prefix",
    "new_group_enforce_role", "maintenance_mode", "webui_url", "mesos_leader_ui_url", "access_control_allow_origin",
)  # fmt: skip


async def test_metrics_have_marathons_names(live: Live) -> None:
    await live.settled("/g/a", instances=2)
    await live.put("/b", **WAITING)
    live.advance(10)
    found = await live.get("/metrics")
    assert set(found) == {"version", "counters", "gauges", "histograms", "meters", "timers"}
    gauges = {name.removeprefix("marathon."): value["value"] for name, value in found["gauges"].items()}
    assert set(GAUGES) <= gauges.keys()
    counters = {name.removeprefix("marathon."): value["count"] for name, value in found["counters"].items()}
    assert set(COUNTERS) <= counters.keys()
    assert [gauges[name] for name in GAUGES[:7]] == [2, 0, 2, 1, 2, 0, 1]
    assert counters["tasks.launched.counter"] == counters["mesos.task-updates.task-running.counter"] == 2
    assert counters["mesos.offers.incoming.counter"] == counters["mesos.offers.used.counter"] + counters["mesos.offers.declined.counter"]


async def test_kills_under_way_are_measured(live: Live) -> None:
    await live.settled("/a", instances=2, labels={"SIM_STOP": "100"}, taskKillGracePeriodSeconds=200)
    await live.send("DELETE", "/v2/apps/a/tasks")
    gauges = (await live.get("/metrics"))["gauges"]
    assert gauges["marathon.instances.inflight-kills.gauge"]["value"] == 2


async def test_info(live: Live) -> None:
    found = await live.get("/v2/info")
    assert set(found) == {
        "name", "version", "buildref", "elected", "leader", "frameworkId", "marathon_config", "zookeeper_config", "http_config",
    }  # fmt: skip
    assert (found["name"], found["version"], found["elected"], found["leader"]) == ("marathon", "1.11.24", True, ADDRESS)
    assert set(CONFIG) <= found["marathon_config"].keys()
    assert len(found["marathon_config"]) >= 35
    assert found["marathon_config"]["webui_url"] is None, "what is not set is null"
    assert found["http_config"] == {"http_port": 8080, "https_port": 8443}


async def test_versions_of_a_group_are_those_in_which_it_was_there(live: Live) -> None:
    await live.settled("/a", instances=0)
    first = (await live.settled("/g/x", instances=0))["version"]
    second = (await live.settled("/a", instances=0, cmd="sleep 2"))["version"]
    await live.send("DELETE", "/v2/groups/g")
    live.settle()
    fourth = (await live.settled("/g/x", instances=0))["version"]
    assert await live.get("/v2/groups/g/versions") == [first, second, fourth]
    assert len(await live.get("/v2/groups/versions")) == 5
    assert (await live.get(f"/v2/groups/g/versions/{first}"))["apps"][0]["id"] == "/g/x"


async def test_unused_offers_show_what_is_left(live: Live) -> None:
    await live.settled("/a", portDefinitions=[{"port": 31_100}], requirePorts=True, constraints=[["hostname", "IS", "127.0.0.1"]])
    await live.put("/b", **WAITING)
    live.advance(1)
    assert "lastUnusedOffers" not in (await live.get("/v2/queue"))["queue"][0]
    (entry,) = (await live.get("/v2/queue?embed=lastUnusedOffers"))["queue"]
    offers = {unused["offer"]["hostname"]: unused for unused in entry["lastUnusedOffers"]}
    assert set(offers) == {"127.0.0.1", "127.0.0.2"}
    assert offers["127.0.0.1"]["reason"] == ["UnfulfilledConstraint"]
    resources = {r["name"]: r for r in offers["127.0.0.1"]["offer"]["resources"]}
    assert set(resources) == {"cpus", "mem", "disk", "ports"}, "no gpus there, none shown"
    assert resources["cpus"]["scalar"] == pytest.approx(15.9)
    assert resources["ports"]["ranges"] == [{"begin": 31_000, "end": 31_099}, {"begin": 31_101, "end": 32_000}]
    assert offers["127.0.0.1"]["offer"]["attributes"] == [{"name": "rack", "text": "r1"}, {"name": "number", "scalar": 1.0}]
    last = entry["processedOffersSummary"]["rejectSummaryLastOffers"]
    assert [(row["reason"], row["declined"], row["processed"]) for row in last[:3]] == [
        ("UnfulfilledRole", 0, 2), ("UnfulfilledConstraint", 2, 2), ("NoCorrespondingReservationFound", 0, 0),
    ]  # fmt: skip
    assert len(last) == 10
