"""An app behind HAProxy in a sandbox of its own, with a load on it: what the demo shows, to be disturbed in every way.

How many requests each test sends at least is $SHUREN_TRAFFIC_REQUESTS (default 1,500): with 50,000 a test takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shuren.devenv.background import Sandbox
from shuren.devenv.load import MIX, Failure, Tally, load
from shuren.devenv.places import find_manifests
from shuren.devenv.processes import ProcessId, marked
from shuren.devenv.progress import to_stderr
from waiting import eventually

REQUESTS = int(os.environ.get("SHUREN_TRAFFIC_REQUESTS") or 1_500)
HOST, PORT, NAMESPACE = "web.example", 8080, "traffic"
INSTANCES = 2
_PATIENCE = 120.0 + REQUESTS / 50
"""Seconds; a busy machine of two cores answers 200 requests a second."""


def _sample(file: str, name: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((find_manifests().samples / "demo" / file).read_text())
    found: dict[str, Any] = next(d for d in documents if d["metadata"]["name"] == name)
    found["metadata"]["namespace"] = NAMESPACE
    return found


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The demo's app `web` and its service in a running sandbox."""

    sandbox: Sandbox

    @property
    def address(self) -> str:
        return self.sandbox.endpoints.lb_addresses[0]

    def prepare(self) -> None:
        self.sandbox.kubectl("create", "namespace", NAMESPACE)
        self.sandbox.apply(_sample("1-apps.yaml", "web"))
        self.sandbox.apply(_sample("1-web-service.yaml", "web"))
        self.settled()

    def resource(self, kind: str, name: str = "web") -> dict[str, Any]:
        return self.sandbox.get("-n", NAMESPACE, kind, name)

    def roll(self) -> None:
        """Another version, so that every task is replaced."""
        app = self.resource("paasapp")
        version = int(app["spec"]["env"]["VERSION"]) + 1
        self.patch("paasapp/web", f'{{"spec": {{"env": {{"VERSION": "{version}"}}}}}}')

    def patch(self, what: str, merge: str) -> None:
        self.sandbox.kubectl("-n", NAMESPACE, "patch", what, "--type=merge", "-p", merge)

    def scale(self, instances: int) -> None:
        self.sandbox.kubectl("-n", NAMESPACE, "scale", "paasapp/web", f"--replicas={instances}")

    def settled(self) -> None:
        """The app runs what is asked for, and the load balancer carries exactly that."""

        def as_asked() -> bool:
            app, service = self.resource("paasapp"), self.resource("paasservice")
            wanted = app["spec"]["instances"]
            updated = app.get("status", {}).get("counts", {}).get("updated")
            shown = service.get("status", {}).get("ready")
            return _ready(app) and _ready(service) and updated == wanted and shown == f"{wanted}/{wanted}"

        eventually(as_asked, seconds=_PATIENCE, every=0.2)

    def add_listener(self, name: str, port: int) -> None:
        """One more service over the same app: HAProxy has to be reloaded for its port."""
        service = _sample("1-web-service.yaml", "web")
        service["metadata"]["name"] = name
        service["spec"]["loadBalancer"]["listeners"][0] |= {"port": port}
        self.sandbox.apply(service)
        eventually(lambda: _ready(self.resource("paasservice", name)), seconds=_PATIENCE, every=0.2)

    def tasks(self) -> list[ProcessId]:
        """The app's servers, one process for each task."""
        return [one for one in marked(self.sandbox.state().id) if "web.py" in _words(one.pid)]

    def haproxies(self) -> list[ProcessId]:
        """HAProxy's master and workers."""
        return [one for one in marked(self.sandbox.state().id) if _program(one.pid) == "haproxy"]

    @contextmanager
    def load(self, what: str) -> Iterator[Tally]:
        """Clients ask while the block runs, and until there were enough requests; at least 50 are answered before it begins."""
        with load(self.address, PORT, HOST) as tally:
            more(tally, 50)
            yield tally
            eventually(lambda: tally.total >= REQUESTS, seconds=_PATIENCE)
        to_stderr(f"\n{what}: {tally}")


def more(tally: Tally, answers: int) -> None:
    """Wait until so many more requests were answered."""
    wanted = tally.good.total() + answers
    eventually(lambda: tally.good.total() >= wanted, seconds=_PATIENCE)


def only_in_flight(failed: list[Failure], *, gone: float) -> None:
    """At most one request of each client was lost, and each began before the process that had it was gone."""
    assert len(failed) <= len(MIX), [str(f) for f in failed]
    late = [str(f) for f in failed if f.began > gone]
    assert late == []


def _ready(resource: dict[str, Any]) -> bool:
    conditions = resource.get("status", {}).get("conditions", [])
    generation = resource["metadata"]["generation"]
    return any(c["type"] == "Ready" and c["status"] == "True" and c["observedGeneration"] == generation for c in conditions)


def _words(pid: int) -> list[str]:
    return _proc(pid, "cmdline").split("\0")


def _program(pid: int) -> str:
    return _proc(pid, "comm").strip()


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
