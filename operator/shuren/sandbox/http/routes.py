"""Which path and method goes where. Paths keep their slashes, so the table is one of patterns, first match wins."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import app_routes, event_stream, group_routes, pod_routes, system_routes, task_routes

if TYPE_CHECKING:
    from .call import Handler


@dataclass(frozen=True, kw_only=True)
class Route:
    """Handlers by method for the paths of a pattern; a HEAD is a GET unless it has one of its own.

    `reads_json`: bodies must be JSON by their content type. `negotiated`: only who accepts what is `produced` is served. `servlet`: a
    servlet beside the JSON resources, which answers for itself what methods it has.
    """

    pattern: re.Pattern[str]
    handlers: dict[str, Handler] = field(default_factory=dict)
    reads_json: bool = True
    negotiated: bool = True
    produces: str = "application/json"
    servlet: bool = False


SERVLET_ALLOWS = "GET, HEAD, OPTIONS"


def _route(
    pattern: str,
    *,
    reads_json: bool = True,
    negotiated: bool = True,
    produces: str = "application/json",
    servlet: bool = False,
    **handlers: Handler,
) -> Route:
    return Route(
        pattern=re.compile(pattern + r"/?", re.DOTALL),
        handlers=handlers,
        reads_json=reads_json,
        negotiated=negotiated,
        produces=produces,
        servlet=servlet,
    )


ROUTES = (
    _route("/v2/apps", GET=app_routes.list_apps, POST=app_routes.create_app, PUT=app_routes.put_apps, PATCH=app_routes.patch_apps),
    _route("/v2/apps/(.+?)/tasks/([^/]+)", DELETE=task_routes.kill_app_task),
    _route("/v2/apps/(.+?)/tasks", GET=task_routes.list_app_tasks, DELETE=task_routes.kill_app_tasks),
    _route("/v2/apps/(.+?)/versions/([^/]+)", GET=app_routes.show_version),
    _route("/v2/apps/(.+?)/versions", GET=app_routes.list_versions),
    _route("/v2/apps/(.+?)/restart", POST=app_routes.restart_app, DELETE=app_routes.delete_restart),
    _route("/v2/apps/(.+?)", GET=app_routes.show_app, PUT=app_routes.put_app, PATCH=app_routes.patch_app, DELETE=app_routes.delete_app),
    _route(
        "/v2/groups",
        reads_json=False,
        GET=group_routes.show_group,
        POST=group_routes.create_group,
        PUT=group_routes.put_group,
        DELETE=group_routes.delete_group,
    ),
    _route(
        "/v2/groups/(.+?)",
        reads_json=False,
        GET=group_routes.show_group,
        POST=group_routes.create_group,
        PUT=group_routes.put_group,
        PATCH=group_routes.patch_group,
        DELETE=group_routes.delete_group,
    ),
    _route("/v2/deployments", GET=system_routes.list_deployments),
    _route("/v2/deployments/([^/]+)", DELETE=system_routes.cancel_deployment),
    _route("/v2/tasks", GET=task_routes.list_tasks),
    _route("/v2/tasks/delete", POST=task_routes.kill_tasks),
    _route("/v2/queue", GET=system_routes.show_queue),
    _route("/v2/queue/(.+?)/delay", negotiated=False, DELETE=system_routes.reset_delay),
    _route("/v2/pods", HEAD=pod_routes.can_have_pods, GET=pod_routes.list_pods, POST=pod_routes.create_pod),
    _route("/v2/pods/::status", GET=pod_routes.all_status),
    _route("/v2/pods/(.+?)::status", GET=pod_routes.pod_status),
    _route("/v2/pods/(.+?)::versions/([^/]+)", GET=pod_routes.pod_version),
    _route("/v2/pods/(.+?)::versions", GET=pod_routes.pod_versions),
    _route("/v2/pods/(.+?)::instances/([^/]+)", DELETE=pod_routes.kill_instance),
    _route("/v2/pods/(.+?)::instances", DELETE=pod_routes.kill_instances),
    _route("/v2/pods/(.+?)", GET=pod_routes.show_pod, PUT=pod_routes.put_pod, DELETE=pod_routes.delete_pod),
    _route("/v2/info", GET=system_routes.show_info),
    _route("/v2/leader", GET=system_routes.show_leader, DELETE=system_routes.abdicate),
    _route("/v2/plugins", GET=system_routes.show_plugins),
    _route(
        "/v2/plugins/([^/]+)/(.+?)",
        reads_json=False,
        negotiated=False,
        GET=system_routes.no_plugin,
        PUT=system_routes.no_plugin,
        POST=system_routes.no_plugin,
        DELETE=system_routes.no_plugin,
    ),
    _route("/v2/events", negotiated=False, reads_json=False, servlet=True, GET=event_stream.stream_events),
    _route("/ping", negotiated=False, GET=system_routes.ping),
    _route("/metrics", GET=system_routes.show_metrics),
    _route("/metrics/prometheus", reads_json=False, produces="text/plain", GET=system_routes.show_prometheus),
    _route("/config", GET=system_routes.show_config),
    _route("/logging", GET=system_routes.show_logging, POST=system_routes.change_logging),
    _route("", negotiated=False, GET=system_routes.go_to_ui),
    _route("/(?:ui|api-console)/", negotiated=False, reads_json=False, servlet=True, GET=system_routes.show_ui),
    _route("/(?:ui|api-console)/(.+)", negotiated=False, reads_json=False, servlet=True, GET=system_routes.web_resource),
    _route("/(?:ui|api-console|help)(?!/)", negotiated=False, reads_json=False, servlet=True, GET=system_routes.add_slash),
    _route("/public(?:/.*)?", negotiated=False, reads_json=False, servlet=True, GET=system_routes.not_there),
)


def find(path: str) -> tuple[Route, tuple[str, ...]] | None:
    """The route of a decoded path with its variable parts, None for a path nobody knows."""
    for route in ROUTES:
        found = route.pattern.fullmatch(path)
        if found is not None:
            return route, found.groups()
    return None


def allowed(route: Route) -> str:
    """The `Allow` header of a route."""
    methods = dict.fromkeys((*(name for name in route.handlers if name != "HEAD"), "OPTIONS"))
    if "GET" in methods:
        methods["HEAD"] = None
    return ",".join(methods)
