"""One plan across all layers: Marathon, ZooKeeper, load balancers, names, shards."""

from __future__ import annotations

from dataclasses import dataclass

from shuren.domain.app.plan import CancelDeployment, DeleteApp, Drain, KillTasks, PutApp, RestartApp, RestoreVersion, ScaleApp
from shuren.domain.identity import ObjectKey
from shuren.domain.preview.apps import AppForecast
from shuren.domain.preview.balancers import BalancerForecast
from shuren.domain.preview.names import NameChange
from shuren.domain.preview.services import ServiceForecast
from shuren.domain.preview.shards import ShardForecast

RUNNING = (PutApp, ScaleApp, KillTasks, Drain, RestartApp, RestoreVersion, CancelDeployment, DeleteApp)
"""Actions that touch what runs."""


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """Something that this plan cannot tell, and why: a cluster that does not answer, a Secret that may not be read."""

    about: str
    why: str


@dataclass(frozen=True, kw_only=True)
class ClusterNames:
    """Changed record sets of one cluster's zone."""

    cluster: str
    changes: tuple[NameChange, ...]


@dataclass(frozen=True, kw_only=True)
class WholePlan:
    """Everything that is foreseen. `unknown` makes it incomplete."""

    apps: tuple[tuple[ObjectKey, AppForecast], ...] = ()
    services: tuple[tuple[ObjectKey, ServiceForecast], ...] = ()
    balancers: tuple[BalancerForecast, ...] = ()
    names: tuple[ClusterNames, ...] = ()
    shards: tuple[tuple[ObjectKey, ShardForecast], ...] = ()
    unknown: tuple[Unknown, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything that runs, or what is published, will change. Bookkeeping (claims, revisions, finalizers) is no change."""
        apps = any(isinstance(action, RUNNING) for _, forecast in self.apps for action in forecast.actions)
        services = any(forecast.changes for _, forecast in self.services)
        return (
            apps
            or services
            or any(b.changes for b in self.balancers)
            or any(n.changes for n in self.names)
            or any(f.changes for _, f in self.shards)
        )

    @property
    def restarts(self) -> int:
        """How many tasks will be replaced."""
        return sum(len(forecast.tasks.replaced) for _, forecast in self.apps)
