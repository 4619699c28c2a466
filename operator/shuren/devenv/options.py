"""The options of `shuren sandbox up`, as values that also travel to a supervisor in the background."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from shuren.devenv.errors import DevenvError
from shuren.devenv.processes import ProcessId


class Runner(enum.StrEnum):
    """How the engine runs tasks: local processes, containers of a Docker engine, or only in its books."""

    PROCESS = "process"
    DOCKER = "docker"
    SIMULATED = "simulated"


MAX_AGENTS = 250
"""One address each in a /24; those above are the load balancers'."""
_MAX_LOAD_BALANCERS = 4


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a sandbox is made of.

    `agents` virtual Mesos agents (default 3); `operators` replicas of the operator (default 1, 0 = none); `zookeepers` 1, 3 for an
    ensemble, 0 for none; `engines` 1, 2 for one with a standby, 0 for none; `load_balancers` `shuren lb` with a HAProxy each (default 0);
    `engine_arguments` go to the engine unchanged. With `owner` set, the sandbox ends when that process does, however it ends. `kubeconfig`
    names a foreign cluster to use instead of an own control plane; its current context is taken. With `bare` nothing of the product is
    applied: for who installs its chart or manifests himself.
    """

    state_dir: Path
    agents: int = 3
    runner: Runner = Runner.PROCESS
    operators: int = 1
    zookeepers: int = 1
    engines: int = 1
    load_balancers: int = 0
    engine_arguments: tuple[str, ...] = ()
    owner: ProcessId | None = None
    kubeconfig: Path | None = None
    bare: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if not 1 <= self.agents <= MAX_AGENTS:
            raise DevenvError(f"--agents {self.agents}: between 1 and {MAX_AGENTS}, each has an address of its own in one loopback network")
        if self.zookeepers not in {0, 1, 3}:
            raise DevenvError(f"--zookeepers {self.zookeepers}: 1, 3 for an ensemble, or 0 for none")
        if self.engines not in {0, 1, 2}:
            raise DevenvError(f"--engines {self.engines}: 1, 2 for a leader and a standby, or 0 for none")
        if not 0 <= self.operators <= 5:  # noqa: PLR2004 - more replicas only wait for the lease
            raise DevenvError(f"--operators {self.operators}: between 0 and 5")
        if not 0 <= self.load_balancers <= _MAX_LOAD_BALANCERS:
            raise DevenvError(
                f"--load-balancers {self.load_balancers}: between 0 and {_MAX_LOAD_BALANCERS}, each has an address above the agents'"
            )
        if self.load_balancers and not self.zookeepers:
            raise DevenvError("a load balancer follows ZooKeeper: leave --zookeepers 0 or --load-balancers out")
        if self.bare and (self.operators or self.load_balancers):
            raise DevenvError(
                "--bare applies nothing of the product, so nothing of it can run: add --no-operator, leave --load-balancers out"
            )
        if self.operators and not (self.zookeepers and self.engines):
            raise DevenvError("an operator needs ZooKeeper and an engine: use --no-operator with --zookeepers 0 or --engines 0")

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, default=str))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Back from JSON."""
        data: dict[str, Any] = json.loads(path.read_text())
        owner, kubeconfig = data.pop("owner"), data.pop("kubeconfig")
        return cls(
            state_dir=Path(data.pop("state_dir")),
            runner=Runner(data.pop("runner")),
            engine_arguments=tuple(data.pop("engine_arguments")),
            owner=ProcessId(**owner) if owner else None,
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            **data,
        )
