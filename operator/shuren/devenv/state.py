"""What a supervisor knows about its sandbox, written as JSON at each change so that other commands (and the next `up`) can read it."""

from __future__ import annotations

import enum
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from shuren.devenv.errors import DevenvError
from shuren.devenv.processes import ProcessId

FORMAT = 1


class Phase(enum.StrEnum):
    """Where a sandbox stands."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


class PartStatus(enum.StrEnum):
    """Where one part stands. `EXITED` is the only one nobody asked for."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    KILLED = "killed"
    EXITED = "exited"


@dataclass(frozen=True, kw_only=True)
class PartState:
    """One part: its process while it has one, its ports by meaning, its log."""

    name: str
    index: int
    status: PartStatus
    log: str
    ports: dict[str, int] = field(default_factory=dict)
    process: ProcessId | None = None
    detail: str = ""

    @property
    def key(self) -> str:
        """How commands name it: `etcd`, `operator=1`."""
        return f"{self.name}={self.index}"


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """How to reach the sandbox: what `shuren sandbox env` prints."""

    kubeconfig: str
    operator_kubeconfig: str
    marathon_urls: tuple[str, ...]
    mesos_url: str
    zookeeper_hosts: str
    cluster: str
    path_prefix: str
    lb_addresses: tuple[str, ...] = ()

    @property
    def marathon_url(self) -> str:
        """Of the first engine; empty when there is none."""
        return self.marathon_urls[0] if self.marathon_urls else ""

    def exports(self, path: str) -> dict[str, str]:
        """The variables of `shuren sandbox env`; `path` is the caller's PATH, which kubectl and helm are put in front of."""
        return {
            "KUBECONFIG": self.kubeconfig,
            "MARATHON_URL": self.marathon_url,
            "ZOOKEEPER_HOSTS": self.zookeeper_hosts,
            "OPERATOR_KUBECONFIG": self.operator_kubeconfig,
            "MESOS_URL": self.mesos_url,
            "CLUSTER": self.cluster,
            **({"LB_ADDRESS": self.lb_addresses[0], "LB_ADDRESSES": ",".join(self.lb_addresses)} if self.lb_addresses else {}),
            "PATH": f"{self.path_prefix}:{path}" if path else self.path_prefix,
        }


@dataclass(frozen=True, kw_only=True)
class SandboxState:
    """The whole sandbox. `id` is fresh with each `up`."""

    id: str
    phase: Phase
    supervisor: ProcessId
    reason: str = ""
    parts: tuple[PartState, ...] = ()
    endpoints: Endpoints | None = None
    format: int = FORMAT

    def with_part(self, part: PartState) -> SandboxState:
        """With this part's state replaced, or added at the end."""
        parts = tuple(part if known.key == part.key else known for known in self.parts)
        return replace(self, parts=parts if part in parts else (*parts, part))

    def select(self, selector: str) -> list[PartState]:
        """The parts that `NAME` or `NAME=N` means. DevenvError when there is none."""
        name, _, index = selector.partition("=")
        chosen = [part for part in self.parts if part.name == name and (not index or str(part.index) == index)]
        if not chosen:
            known = ", ".join(part.key for part in self.parts)
            raise DevenvError(f"no part {selector!r} in this sandbox; there are: {known}")
        return chosen

    def to_json(self) -> dict[str, Any]:
        """JSON for the state file and for `status -o json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read back what `to_json` wrote."""
        if data.get("format") != FORMAT:
            raise DevenvError(
                f"the state file has format {data.get('format')!r}, this version reads {FORMAT}: run `down` with the version that made it"
            )
        return cls(
            id=data["id"],
            phase=Phase(data["phase"]),
            supervisor=ProcessId(**data["supervisor"]),
            reason=data["reason"],
            parts=tuple(_part(part) for part in data["parts"]),
            endpoints=_endpoints(data["endpoints"]) if data["endpoints"] else None,
        )


def _endpoints(data: dict[str, Any]) -> Endpoints:
    lists = {name: tuple(data.get(name, ())) for name in ("marathon_urls", "lb_addresses")}
    return Endpoints(**{**data, **lists})


def _part(data: dict[str, Any]) -> PartState:
    process = data["process"]
    return PartState(
        name=data["name"],
        index=data["index"],
        status=PartStatus(data["status"]),
        log=data["log"],
        ports=dict(data["ports"]),
        process=ProcessId(**process) if process else None,
        detail=data["detail"],
    )


def write_state(path: Path, state: SandboxState) -> None:
    """Replace the file as a whole, so that a reader never sees half of it."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(state.to_json(), indent=1))
    os.replace(fresh, path)  # noqa: PTH105 - same call, said plainly


def read_state(path: Path) -> SandboxState | None:
    """The last state written; None when there is no sandbox."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DevenvError(f"{path} is not JSON ({error}): end the sandbox' processes by hand and remove the directory") from error
    if not isinstance(data, dict):
        raise DevenvError(f"{path} holds no JSON object: end the sandbox' processes by hand and remove the directory")
    try:
        return SandboxState.from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise DevenvError(f"{path} cannot be read ({type(error).__name__}: {error}): run `down` with the version that made it") from error
