"""Replicas of the operator, each a process with lines of its own to a sandbox' API server and ZooKeeper, which a test may cut."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from engine_process import free_port
from kube_rest import Rest
from lines import Line
from shuren.devenv.background import Sandbox
from shuren.devenv.parts import CLUSTER, OPERATOR_NAMESPACE
from tenant import PATIENCE, lease_holder
from waiting import eventually

ENDED = 30.0
"""Seconds for a process that was told to end."""


class Replica:
    """One process of the operator. `name` is its identity in the Lease."""

    def __init__(self, name: str, *, sandbox: Sandbox, kubernetes: Line, zookeeper: Line, directory: Path) -> None:
        self.name = name
        self.kubernetes = kubernetes
        self.zookeeper = zookeeper
        self.log = directory / f"{name}.log"
        self.token = directory / f"{name}.token"
        self._kubeconfig = directory / f"{name}.kubeconfig"
        document = yaml.safe_load(Path(sandbox.endpoints.operator_kubeconfig).read_text())
        document["clusters"][0]["cluster"]["server"] = f"https://{kubernetes.address}"
        self.token.write_text(document["users"][0]["user"].pop("token"))
        document["users"][0]["user"]["tokenFile"] = str(self.token)
        self._kubeconfig.write_text(yaml.safe_dump(document))
        self.metrics = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id. It must be running."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def ready(self) -> bool:
        """Whether it says so itself: it has seen everything once."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def leads(self) -> bool:
        """Whether it says itself that it leads."""
        return self.counted("leader") == 1

    def counted(self, pattern: str) -> int:
        """The sum of its metrics whose name and labels begin so; 0 while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        return round(sum(float(line.rpartition(" ")[2]) for line in lines if re.match(pattern, line)))

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the process, with further environment."""
        own = {
            "KUBECONFIG": str(self._kubeconfig),
            "SHUREN_NAMESPACE": OPERATOR_NAMESPACE,
            "SHUREN_METRICS_PORT": str(self.metrics),
            "SHUREN_METRICS_ADDRESS": "127.0.0.1",
            "SHUREN_IDENTITY": self.name,
            "SHUREN_LOG_LEVEL": "DEBUG",
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "shuren.cli", "operator"]
            self._process = subprocess.Popen(command, env={**os.environ, **own, **(environment or {})}, stderr=log, stdout=log)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; its exit code. Nothing when it does not run."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        try:
            code = self._process.wait(ENDED)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None
        return code

    def said(self, pattern: str) -> bool:
        """Whether a line of its log has this in it."""
        return re.search(pattern, self.log.read_text(errors="replace")) is not None


@dataclass(frozen=True, kw_only=True)
class World:
    """A sandbox without operators of its own, and two replicas on lines."""

    sandbox: Sandbox
    both: tuple[Replica, Replica]
    rest: Rest

    def leader(self) -> Replica:
        """Who leads, once somebody does by the Lease and by its own word."""
        found: list[Replica] = []

        def settled() -> bool:
            one = self._settled()
            found.extend([one] if one is not None else [])
            return bool(found)

        eventually(settled, seconds=PATIENCE)
        return found[0]

    def up(self) -> None:
        """Both run, one leads, and both have seen everything once."""
        for one in self.both:
            if not one.running:
                one.start()
        self.leader()
        for one in self.both:
            eventually(one.ready, seconds=PATIENCE)

    def other(self, one: Replica) -> Replica:
        """The one of the two that it is not."""
        return next(replica for replica in self.both if replica is not one)

    def _settled(self) -> Replica | None:
        holder = lease_holder(self.rest)
        return next((one for one in self.both if one.running and one.name == holder and one.leads()), None)


@contextmanager
def replicas(sandbox: Sandbox, directory: Path) -> Iterator[tuple[Replica, Replica]]:
    """Two of them, not started yet; the sandbox' cluster is reached through their line to ZooKeeper. They end with the block."""
    server = yaml.safe_load(Path(sandbox.endpoints.kubeconfig).read_text())["clusters"][0]["cluster"]["server"].removeprefix("https://")
    with ExitStack() as stack:
        lines = [Line(server), Line(server), Line(sandbox.endpoints.zookeeper_hosts)]
        for line in lines:
            stack.callback(line.close)
        sandbox.kubectl("patch", "mesoscluster", CLUSTER, "--type=merge", "-p", _hosts(lines[2].address))
        stack.callback(
            lambda: sandbox.kubectl("patch", "mesoscluster", CLUSTER, "--type=merge", "-p", _hosts(sandbox.endpoints.zookeeper_hosts))
        )
        made = [Replica(f"replica-{n}", sandbox=sandbox, kubernetes=lines[n], zookeeper=lines[2], directory=directory) for n in (0, 1)]
        for one in made:
            stack.callback(one.end)
        yield made[0], made[1]


def _hosts(address: str) -> str:
    return f'{{"spec": {{"zookeeper": {{"hosts": ["{address}"]}}}}}}'
