"""Makes the runner that the command line names."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from shuren.sandbox.runners.docker import DockerRunner
from shuren.sandbox.runners.process import ProcessRunner
from shuren.sandbox.runners.simulated import SimulatedRunner

if TYPE_CHECKING:
    from shuren.sandbox.engine.clock import Clock
    from shuren.sandbox.runners.port import Runner


class RunnerKind(Enum):
    """`--runner`."""

    PROCESS = "process"
    DOCKER = "docker"
    SIMULATED = "simulated"

    def __str__(self) -> str:
        return self.value


def make_runner(kind: RunnerKind, clock: Clock, *, docker_socket: str) -> Runner:
    """A fresh runner. The clock matters to the simulated one only."""
    match kind:
        case RunnerKind.PROCESS:
            return ProcessRunner()
        case RunnerKind.DOCKER:
            return DockerRunner(docker_socket)
        case RunnerKind.SIMULATED:
            return SimulatedRunner(clock)
