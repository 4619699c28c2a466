"""The demo's sharded store: clients that route by the published map, while it grows from three members to four."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from shuren.devenv.errors import DevenvError
from shuren.devenv.parts import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, ZOOKEEPER_ROOT

_MEMBERS = 3
_CLIENTS = 4
_WARM = 200
"""Answers before the map begins to grow."""


class Steps(Protocol):
    """What this needs of the demo."""

    @property
    def samples(self) -> Path:
        """Where the manifests are."""

    @property
    def say(self) -> Callable[[str], None]:
        """Print a line."""

    def apply(self, sample: str) -> None:
        """Apply a file of the samples."""

    def shown(self, *command: str) -> None:
        """Run a kubectl command with its output."""

    def until(self, claim: str, come_true: Callable[[], bool]) -> None:
        """Wait for a claim."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the store runs."""

    namespace: str
    zookeeper: str
    get: Callable[[str, str], dict[str, Any]]
    """A resource by kind and name."""

    @property
    def path(self) -> str:
        """Of the map in ZooKeeper."""
        return f"{ZOOKEEPER_ROOT}/shards/{self.namespace}.store"


def grow(demo: Steps, place: Place, *, patience: float) -> None:
    """The store on three members, clients that ask, a fourth member. DevenvError when a request fails or a shard moves needlessly."""
    kubectl = ("kubectl", "-n", place.namespace)
    account = f"{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}"
    demo.shown(*kubectl, "create", "rolebinding", "configs", "--clusterrole=shuren-secrets-reader", f"--serviceaccount={account}")
    known = {"python": sys.executable, "zookeeper": place.zookeeper, "map": place.path}
    given = [f"--from-literal={name}={value}" for name, value in known.items()]
    demo.shown(*kubectl, "create", "configmap", "store", f"--from-file={demo.samples / 'store.py'}", *given)
    demo.apply("5-store.yaml")
    demo.shown(*kubectl, "wait", "shardmap/store", "--for=condition=Ready", f"--timeout={patience:.0f}s")
    demo.shown(*kubectl, "get", "shardmaps")
    demo.say(f"{_CLIENTS} clients begin to count, each key at its member; every answer has to be one more than the last")
    with _asking(demo.samples / "store_clients.py", place) as clients:
        demo.until("requests are answered", lambda: clients.answered > _WARM)
        demo.shown(*kubectl, "scale", "paasapp/store", f"--replicas={_MEMBERS + 1}")
        demo.until(f"{_MEMBERS + 1} members share the shards, and none moves any more", lambda: _at_rest(place, _MEMBERS + 1))
        after = clients.answered
        demo.until("clients go on", lambda: clients.answered > after + _WARM)
    status = place.get("shardmap", "store")["status"]
    moves, each = status["moves"], status["perMember"]
    demo.shown(*kubectl, "get", "shardmaps")
    demo.say(
        f"moves planned: {moves['planned']}, the fewest possible: {moves['lowerBound']}; shards per member: {each['min']}-{each['max']}"
    )
    told = clients.told
    demo.say(f"requests: {told['asked']}, failed: {told['failed']}, the slowest took {told['slowest']} s")
    if moves["planned"] != moves["lowerBound"]:
        raise DevenvError(f"{moves['planned']} shards moved where {moves['lowerBound']} would have done")
    if told["failed"]:
        raise DevenvError(f"{told['failed']} of {told['asked']} requests failed while the map grew: {told['failures']}")


def _at_rest(place: Place, members: int) -> bool:
    status = place.get("shardmap", "store").get("status", {})
    ready: dict[str, Any] = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
    generations = status.get("generations", {})
    return (
        (ready.get("status"), ready.get("reason")) == ("True", "Ready")
        and status["members"]["live"] == status["members"]["total"] == members
        and generations["published"] == generations["acknowledged"]
    )


@dataclass(kw_only=True)
class _Clients:
    """What the clients say: how many requests were answered so far, and in the end what failed."""

    answered: int = 0
    told: dict[str, Any] = field(default_factory=dict)


@contextmanager
def _asking(program: Path, place: Place) -> Iterator[_Clients]:
    """Clients that ask while the block runs."""
    command = [sys.executable, str(program), place.zookeeper, place.path, str(_CLIENTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        clients = _Clients()
        reader = threading.Thread(target=_listen, args=(process, clients), daemon=True)
        reader.start()
        try:
            yield clients
        finally:
            if process.stdin is not None:
                process.stdin.close()
                process.stdin = None
            reader.join(timeout=30)
    if not clients.told:
        raise DevenvError(f"the clients ended without a word (exit code {process.returncode})")


def _listen(process: subprocess.Popen[str], clients: _Clients) -> None:
    for line in process.stdout or ():
        if line.startswith("{"):
            clients.told = json.loads(line)
        else:
            clients.answered = int(line.split()[0])
