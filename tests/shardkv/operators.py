"""Who moves the shards: the product's controller alone in a process (`mover`), or the whole operator in a sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from kube_rest import GROUP, Rest
from shardkv.mover import spec_of
from shuren.devenv.background import Sandbox
from shuren.devenv.parts import ZOOKEEPER_ROOT
from shuren.sharding.core.codec import head as head_codec
from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.codec import publication
from zookeeper_process import Ensemble

Json = dict[str, Any]
_ROOT = Path(__file__).parents[2]
WITHIN = 120.0


def wait_until(holds: Callable[[], object], what: str | Callable[[], str], *, within: float = WITHIN) -> None:
    """Until `holds()`; the assertion fails, with `what`, when that does not come to be."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.02)


def launch(module: str, *arguments: object, log: Path) -> subprocess.Popen[str]:
    """A program of `shardkv`, with its standard input and output."""
    environment = os.environ | {"PYTHONPATH": f"{_ROOT / 'operator'}{os.pathsep}{_ROOT / 'tests'}"}
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", f"shardkv.{module}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        )


def finish(process: subprocess.Popen[str], *, within: float = 20.0) -> None:
    """Its standard input ends, and so does it."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


class Operating(Protocol):
    """An operator with its ZooKeeper. What is wanted and what is said have the forms that `mover` describes."""

    hosts: str
    path: str

    def want(self, wanted: Json) -> None:
        """Tell it what is wanted; begins it the first time."""

    def status(self) -> Json:
        """What it says about that; empty while it says nothing."""

    def rows(self) -> list[list[int]]:
        """Who holds each shard, its primary first."""

    def end(self) -> None:
        """No more."""


class ThinOperator:
    """`mover` on three servers of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = "/shuren/test/shards/shop.cart"
        self.ensemble = Ensemble(directory)
        self.hosts = self.ensemble.hosts
        self._control, self._status = directory / "control", directory / "status"
        self._process: subprocess.Popen[str] | None = None
        for number in range(1, len(self.ensemble.ports) + 1):
            self.ensemble.start(number)
        wait_until(self.ensemble.all_serve, "three ZooKeeper servers")

    def want(self, wanted: Json) -> None:
        aside = self._control.with_suffix(".new")
        aside.write_text(json.dumps(wanted))
        aside.rename(self._control)
        if self._process is None:
            self._process = launch("mover", self.hosts, self.path, self._control, self._status, log=self._directory / "operator.log")

    def status(self) -> Json:
        found: Json = json.loads(self._status.read_text()) if self._status.exists() else {}
        return found

    def rows(self) -> list[list[int]]:
        rows: list[list[int]] = self.status()["rows"]
        return rows

    def mend(self) -> None:
        """All servers of ZooKeeper are up."""
        self.ensemble.start_missing()
        wait_until(self.ensemble.all_serve, "three ZooKeeper servers")

    def end(self) -> None:
        if self._process is not None:
            finish(self._process)
        self.ensemble.stop()


class RealOperator:
    """A ShardMap with static members in a namespace of a sandbox whose operator runs."""

    def __init__(self, sandbox: Sandbox, namespace: str) -> None:
        self._sandbox, self._namespace = sandbox, namespace
        self.hosts = sandbox.endpoints.zookeeper_hosts
        self.path = f"{ZOOKEEPER_ROOT}/shards/{namespace}.kv"
        self._serial = 0
        self._numbers: dict[str, int] = {}
        self._client = KazooClient(self.hosts)
        self._client.start()
        self._rest = Rest(sandbox.endpoints.kubeconfig)

    def want(self, wanted: Json) -> None:
        self._numbers = {one["id"]: one["number"] for one in wanted["members"]}
        spec = spec_of(wanted, cluster="sandbox")
        metadata = {"name": "kv", "namespace": self._namespace}
        self._sandbox.apply({"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "ShardMap", "metadata": metadata, "spec": spec})
        self._serial = wanted["serial"]

    def status(self) -> Json:
        found = self._rest.call("GET", f"{GROUP}/namespaces/{self._namespace}/shardmaps/kv").body
        said = found.get("status") or {}
        true = {c["type"]: c["reason"] for c in said.get("conditions") or () if c["status"] == "True"}
        if said.get("observedGeneration") != found["metadata"]["generation"] or "moves" not in said:
            return {}
        return {
            "serial": self._serial,
            # a map that moves is Ready too, and between two of its moves there is none in ZooKeeper
            "rest": true.get("Ready") == "Ready" and "Rebalancing" not in true and self._nothing_goes_on(),
            "leaderless": 0,
            "live": sorted(self._numbers),
            "partitioning": said.get("partitioning"),
            "moves": said["moves"].get("planned", 0),
            "bound": said["moves"].get("lowerBound", 0),
            "said": said,
        }

    def _nothing_goes_on(self) -> bool:
        """No moves, and every member is there with copies that follow."""
        if self._client.get_children(f"{self.path}/moves"):
            return False
        for member in self._numbers:
            try:
                live = codec.decode_live(self._client.get(f"{self.path}/live/{codec.node_name(member)}")[0])
            except NoNodeError:
                return False
            if live.counts.get("copying") or live.counts.get("forwarding"):
                return False
        return True

    def rows(self) -> list[list[int]]:
        head = head_codec.decode(self._client.get(f"{self.path}/head")[0])
        place = f"{self.path}/{publication.directory(head.generation)}"
        members = publication.read_members(head, self._client.get(f"{place}/members")[0])
        table = publication.read_map(head, members, [self._client.get(f"{place}/map-{i}")[0] for i in range(len(head.map))])
        ours = {member.number: self._numbers.get(member.id, -1) for member in members}
        return [[ours.get(number, -1) for number in table.owners_of(slot)] for slot in range(table.shards)]

    def end(self) -> None:
        self._client.stop()
        self._client.close()
        self._rest.close()
