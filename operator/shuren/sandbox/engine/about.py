"""`GET /v2/info` and `GET /metrics`."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from shuren.sandbox.engine.plan import all_specs

if TYPE_CHECKING:
    from shuren.sandbox.contract import Group, Json, Settings
    from shuren.sandbox.engine.leading import Leading

VERSION = "1.11.24"
"""Of the Marathon whose behaviour this is."""


def info(*, settings: Settings, address: str, leader: str | None, elected: bool, framework_id: str | None, mesos_url: str | None) -> Json:
    """What an operator reads: version, features, role, default network, port range."""
    host, _, port = address.rpartition(":")
    return {
        "name": "marathon",
        "version": VERSION,
        "buildref": "sandbox",
        "elected": elected,
        "leader": leader,
        "frameworkId": framework_id,
        "marathon_config": {
            "access_control_allow_origin": settings.access_control_allow_origin,
            "checkpoint": True,
            "decline_offer_duration": 120000,
            "default_network_name": settings.default_network_name,
            "env_vars_prefix": settings.env_vars_prefix,
            "executor": "//cmd",
            "failover_timeout": 604800,
            "features": sorted(settings.features),
            "framework_name": "marathon",
            "ha": True,
            "hostname": host,
            "launch_token": 1000,
            "launch_token_refresh_interval": 30000,
            "leader_proxy_connection_timeout_ms": 5000,
            "leader_proxy_read_timeout_ms": 10000,
            "local_port_max": settings.local_port_max,
            "local_port_min": settings.local_port_min,
            "maintenance_mode": True,
            "master": mesos_url,
            "max_instances_per_offer": 5,
            "mesos_bridge_name": "mesos-bridge",
            "mesos_heartbeat_failure_threshold": 5,
            "mesos_heartbeat_interval": 15000,
            "mesos_leader_ui_url": mesos_url,
            "mesos_role": settings.mesos_role,
            "mesos_user": None,
            "min_revive_offers_interval": int(settings.min_revive_interval * 1000),
            "new_group_enforce_role": settings.new_group_enforce_role,
            "offer_matching_timeout": 3000,
            "on_elected_prepare_timeout": 180000,
            "reconciliation_initial_delay": 15000,
            "reconciliation_interval": 600000,
            "revive_offers_for_new_apps": True,
            "revive_offers_repetitions": 3,
            "scale_apps_initial_delay": 15000,
            "scale_apps_interval": 300000,
            "store_cache": True,
            "task_launch_confirm_timeout": int(settings.task_launch_confirm_timeout * 1000),
            "task_launch_timeout": int(settings.task_launch_timeout * 1000),
            "task_lost_expunge_initial_delay": 300000,
            "task_lost_expunge_interval": 30000,
            "task_reservation_timeout": 20000,
            "webui_url": None,
        },
        "zookeeper_config": {
            "zk": None,
            "zk_compression": True,
            "zk_compression_threshold": 65536,
            "zk_connection_timeout": 10000,
            "zk_max_node_size": 1024000,
            "zk_max_versions": settings.max_zk_versions,
            "zk_session_timeout": 10000,
            "zk_timeout": 10000,
        },
        "http_config": {"http_port": int(port), "https_port": 8443},
    }


def metrics(leading: Leading) -> Json:
    """Counters and gauges under Marathon's names."""
    world = leading.world
    groups = _count_groups(world.root)
    pods = sum("containers" in s for s in all_specs(world.root))
    specs = sum(1 for _ in all_specs(world.root))
    staged, running, _, _ = world.instances.totals
    now = world.clock.now()
    overdue = sum(len(world.instances.scheduled(i)) for i in world.instances.waiting_apps())
    gauges = {
        "marathon.apps.active.gauge": specs - pods,
        "marathon.pods.active.gauge": pods,
        "marathon.groups.active.gauge": groups,
        "marathon.deployments.active.gauge": len(leading.deployments),
        "marathon.instances.running.gauge": running,
        "marathon.instances.staged.gauge": staged,
        "marathon.instances.launch-overdue.gauge": overdue,
        "marathon.instances.inflight-kills.gauge": len(leading.lifecycle.kills),
        "marathon.instances.inflight-kill-attempts.gauge": len(leading.lifecycle.kills),
        "marathon.leadership.duration.gauge.seconds": round(now - leading.since, 3),
        "marathon.uptime.gauge.seconds": round(now - leading.since, 3),
        "marathon.http.event-streams.active.gauge": world.bus.streams,
        "marathon.debug.root-group.updates.active.gauge": leading.updates_active,
        "marathon.jvm.memory.heap.used.gauge.bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    counters = {
        "marathon.deployments.counter": leading.deployments.started,
        "marathon.deployments.dismissed.counter": leading.deployments.dismissed,
        "marathon.tasks.launched.counter": world.launched,
        "marathon.mesos.offers.incoming.counter": world.offers_used + world.offers_declined,
        "marathon.mesos.offers.used.counter": world.offers_used,
        "marathon.mesos.offers.declined.counter": world.offers_declined,
    }
    for state, count in world.task_updates.items():
        counters[f"marathon.mesos.task-updates.{state.lower().replace('_', '-')}.counter"] = count
    return {
        "version": "4.0.0",
        "counters": {name: {"count": value} for name, value in counters.items()},
        "gauges": {name: {"value": value} for name, value in gauges.items()},
        "histograms": {},
        "meters": {},
        "timers": {},
    }


def _count_groups(root: Group) -> int:
    return 1 + sum(_count_groups(child) for child in root.groups.values())
