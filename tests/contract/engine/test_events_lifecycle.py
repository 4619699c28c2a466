"""The event stream of create, scale, pod, group, kill, rollback and delete has what the real one sent, in the same order for each subject.

Order across subjects is not promised (the recording's own timestamps run back), so streams are compared per app, pod or deployment: types,
conditions, task states and the shape of each payload.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from engine_process import engine
from waiting import eventually

pytestmark = pytest.mark.contract
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
Json = dict[str, Any]


def recorded() -> list[Json]:
    lines = (Path(__file__).parent / "events-lifecycle.txt").read_text("utf-8").splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class Stream(threading.Thread):
    """Collects everything from `/v2/events`."""

    def __init__(self, base: str) -> None:
        super().__init__(daemon=True)
        url = urlsplit(base)
        self.connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        self.connection.request("GET", "/v2/events", headers={"Accept": "text/event-stream"})
        self.answer = self.connection.getresponse()
        self.events: list[Json] = []

    def run(self) -> None:
        try:
            for line in self.answer:
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line.removeprefix(b"data: ")))
        except OSError:
            return

    def count(self, event_type: str) -> int:
        return sum(e["eventType"] == event_type for e in self.events)


def call(base: str, method: str, path: str, body: Any = None) -> Any:
    url = urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        raw = answer.read()
        assert answer.status < 300, (method, path, answer.status, raw)
        return json.loads(raw) if raw else None
    finally:
        connection.close()


def subjects(events: list[Json]) -> Iterator[tuple[str, str]]:
    """(subject, what happened) of each event: instances and plans are named by what they are of."""
    order: dict[str, int] = {}
    for event in events:
        kind = event["eventType"]
        if kind == "instance_changed_event":
            number = order.setdefault(event["instanceId"], sum(i.startswith(event["instanceId"].split(".")[0]) for i in order))
            yield f"instance {number} of {event['runSpecId']}", f"{kind} {event['condition']}"
        elif kind == "status_update_event":
            instance = event["taskId"].rsplit(".", 2)[0]
            number = order.setdefault(instance, sum(i.startswith(instance.split(".")[0]) for i in order))
            yield f"instance {number} of {event['appId']}", f"{kind} {event['taskStatus']}"
        elif "plan" in event:
            steps = json.dumps(event["plan"]["steps"])
            yield f"plan {steps}", f"{kind} {json.dumps(event.get('currentStep'))} {event.get('reason')}"
        elif kind in {"group_change_success", "pod_created_event", "pod_deleted_event", "api_post_event"}:
            yield kind, str(event.get("groupId") or event.get("uri"))
        elif kind == "app_terminated_event":
            yield f"app {event['appId']}", kind


def grouped(events: list[Json]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for subject, what in subjects(events):
        found.setdefault(subject, []).append(what)
    return found


def test_same_events_in_the_same_order_for_each_subject(tmp_path: Path) -> None:
    want = recorded()
    sleeper = {"cmd": "sleep 1000", "cpus": 0.1, "mem": 32}
    with engine(tmp_path, "--agents", "2") as base:
        stream = Stream(base)
        stream.start()
        eventually(lambda: stream.count("event_stream_attached") == 1)
        done = 0

        def finished() -> None:
            nonlocal done
            done += 1
            eventually(lambda: stream.count("deployment_success") == done)

        call(base, "POST", "/v2/apps", {"id": "/e/a", **sleeper, "instances": 1})
        finished()
        call(base, "PUT", "/v2/apps/e/a", {"instances": 2})
        finished()
        container = {"name": "c1", "exec": {"command": {"shell": "sleep 1000"}}, "resources": {"cpus": 0.1, "mem": 32}}
        call(base, "POST", "/v2/pods", {"id": "/e/p", "containers": [container]})
        finished()
        call(base, "PUT", "/v2/groups/e/g", {"apps": [{"id": "x", **sleeper, "instances": 0}]})
        finished()
        call(base, "DELETE", "/v2/apps/e/a/tasks?scale=true")
        finished()
        call(base, "POST", "/v2/apps", {"id": "/e/s", **sleeper, "cpus": 99})
        eventually(lambda: bool(call(base, "GET", "/v2/queue")["queue"]))
        call(base, "DELETE", f"/v2/deployments/{call(base, 'GET', '/v2/deployments')[0]['id']}")
        finished()
        call(base, "DELETE", "/v2/apps/e/a")
        finished()
        call(base, "DELETE", "/v2/pods/e/p")
        finished()
        eventually(lambda: stream.count("pod_deleted_event") == 1)
    ours, theirs = grouped(stream.events), grouped(want)
    assert ours == theirs
    shapes = {e["eventType"]: _shape(e) for e in want}
    for event in stream.events:
        assert _shape(event) == shapes[event["eventType"]], event["eventType"]


def _shape(event: Json) -> list[str]:
    """Keys of an event; those of the plan and of the app are documents of their own."""
    return sorted(k for k in event if k != "reason")


def test_timestamps_have_three_fraction_digits(tmp_path: Path) -> None:
    with engine(tmp_path, "--agents", "1", "--runner", "simulated") as base:
        stream = Stream(base)
        stream.start()
        call(base, "PUT", "/v2/apps/t", {"cmd": "sleep 1", "instances": 1})
        eventually(lambda: stream.count("deployment_success") == 1)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["timestamp"]) for e in stream.events)
    assert time.gmtime().tm_year <= int(stream.events[0]["timestamp"][:4]) + 1
