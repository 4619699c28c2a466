"""Mesos as controllers see it: what the leading master says about the whole cluster, and no more."""

from __future__ import annotations

from typing import Protocol

from shuren.domain.cluster import MesosAgent, MesosSummary


class Mesos(Protocol):
    """The masters of one cluster, of which one leads."""

    async def summary(self) -> MesosSummary:
        """Agents and resources. Raises Unreachable when no leading master answers, Denied when it refuses us."""

    async def agents(self) -> tuple[MesosAgent, ...]:
        """All registered agents, by id. Raises as `summary` does."""
