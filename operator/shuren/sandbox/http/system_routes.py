"""Deployments, queue, leader, info, metrics, ping."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

from shuren.sandbox.definition import apps, paths
from shuren.sandbox.definition.errors import Violation, not_valid, refused
from shuren.sandbox.definition.shape import Enum, Int, Obj, Text, optional, required

from .answers import deployed, json_answer, page, text_answer
from .negotiation import accepted

if TYPE_CHECKING:
    from .call import Call


async def list_deployments(call: Call) -> web.StreamResponse:
    """GET /v2/deployments."""
    return json_answer(call.engine.deployments())


async def cancel_deployment(call: Call) -> web.StreamResponse:
    """DELETE /v2/deployments/{id}: rolls back, or with `force` only stops."""
    deployment_id = call.args[0]
    try:
        started = await call.engine.cancel_deployment(deployment_id, force=call.force)
    except KeyError:
        raise refused(404, f"DeploymentPlan {deployment_id} does not exist", details=True) from None
    return web.Response(status=202) if started is None else deployed(started)


async def show_queue(call: Call) -> web.StreamResponse:
    """GET /v2/queue."""
    return json_answer({"queue": call.engine.queue(last_unused_offers="lastUnusedOffers" in call.values("embed"))})


async def reset_delay(call: Call) -> web.StreamResponse:
    """DELETE /v2/queue/{id}/delay. It declares no content type, so its 404 comes as bytes."""
    app_id = paths.absolute(call.args[0])
    if not call.engine.reset_delay(app_id):
        error = refused(404, f"Application {app_id} not found in tasks queue.", details=True)
        error.headers["Content-Type"] = "application/octet-stream"
        raise error
    return web.Response(status=204)


async def show_leader(call: Call) -> web.StreamResponse:
    """GET /v2/leader."""
    leader = call.engine.leader()
    if leader is None:
        raise refused(404, "There is no leader", details=True)
    return json_answer({"leader": leader})


async def abdicate(call: Call) -> web.StreamResponse:
    """DELETE /v2/leader. The engine steps down a moment later, so that this is still answered."""
    violations = []
    for name in ("backup", "restore"):
        uri = call.request.query.get(name)
        if uri is not None and urlsplit(uri).scheme not in ("file", "s3"):
            violations.append(Violation(path="/", message=f"Invalid URI or unsupported scheme: {uri}"))
    if violations:
        raise not_valid(violations)
    if call.engine.leader() is None:
        raise refused(404, "There is no leader", details=True)
    await call.engine.abdicate()
    return json_answer({"message": "Leadership abdicated", "details": []})


async def show_info(call: Call) -> web.StreamResponse:
    """GET /v2/info."""
    return json_answer(call.engine.info())


async def show_plugins(call: Call) -> web.StreamResponse:
    """GET /v2/plugins: none are loaded."""
    del call
    return json_answer({"plugins": []})


async def no_plugin(call: Call) -> web.StreamResponse:
    """Any verb on `/v2/plugins/{id}/{path}` is the plugin's affair, and none is loaded. No content type is declared."""
    error = refused(404, f"No plugin with this pluginId: {call.args[0]}", details=True)
    error.headers["Content-Type"] = "application/octet-stream"
    raise error


async def ping(call: Call) -> web.StreamResponse:
    """GET /ping in the form that is liked best; nothing for who likes none of them."""
    for kind, _ in accepted(call.request):
        match kind:
            case "*/*" | "text/*" | "text/plain":
                return text_answer("pong", "text/plain")
            case "text/html":
                return text_answer("pong", "text/html")
            case "application/json" | "application/*":
                return json_answer("pong")
            case _:
                continue
    return web.Response(status=204)


def _metrics(call: Call) -> dict[str, Any]:
    """The engine's metrics with those of its HTTP."""
    metrics = call.engine.metrics()
    return metrics | {section: metrics[section] | values for section, values in call.traffic.metrics().items()}


async def show_metrics(call: Call) -> web.StreamResponse:
    """GET /metrics."""
    return json_answer(_metrics(call))


def _prometheus(metrics: dict[str, Any]) -> str:
    """The text form: dots and dashes become underscores, a meter shows its count, a timer its percentiles too."""
    lines = []
    for section, field, kind in (("counters", "count", "counter"), ("gauges", "value", "gauge"), ("meters", "count", "counter")):
        for name, value in sorted(metrics.get(section, {}).items()):
            if isinstance(value.get(field), (int, float)):
                lines += [f"# TYPE {_flat(name)} {kind}", f"{_flat(name)} {value[field]}"]
    for name, value in sorted(metrics.get("timers", {}).items()):
        flat = _flat(name)
        lines.append(f"# TYPE {flat} summary")
        for key, share in (("p50", "0.5"), ("p75", "0.75"), ("p95", "0.95"), ("p98", "0.98"), ("p99", "0.99"), ("p999", "0.999")):
            lines.append(f'{flat}{{quantile="{share}"}} {value[key]}')
        lines.append(f"{flat}_count {value['count']}")
    return "\n".join(lines) + "\n"


def _flat(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_:]", "_", name)


async def show_prometheus(call: Call) -> web.StreamResponse:
    """GET /metrics/prometheus."""
    return text_answer(_prometheus(_metrics(call)), "text/plain")


async def show_config(call: Call) -> web.StreamResponse:
    """GET /config: the flags, of which this server knows few."""
    return json_answer(call.engine.info().get("marathon_config", {}))


_LEVELS = {"trace": logging.DEBUG, "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_LOGGER_CHANGE = Obj(
    (
        required("level", Enum(literals=(*_LEVELS, "off"))),
        required("logger", Text(min_length=1)),
        optional("durationSeconds", Int(minimum=1)),
    )
)


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name == "ROOT" else name)


async def show_logging(call: Call) -> web.StreamResponse:
    """GET /logging: the levels of this program's loggers."""
    del call
    known = ["ROOT", *sorted(name for name, logger in logging.root.manager.loggerDict.items() if isinstance(logger, logging.Logger))]
    return json_answer({name: _level(_logger(name)) for name in known})


def _level(logger: logging.Logger) -> str:
    """In Logback's words, which tell a logger's own level from that of its parent."""
    if not logger.level:
        return f"{_level_name(logger.getEffectiveLevel())} (inherited)"
    return _level_name(logger.level)


def _level_name(level: int) -> str:
    if level > logging.CRITICAL:
        return "OFF"
    return next((name.upper() for name, known in reversed(_LEVELS.items()) if known <= level), "ALL")


async def change_logging(call: Call) -> web.StreamResponse:
    """POST /logging: sets the level of one logger, for a while with `durationSeconds`."""
    change = apps.read(_LOGGER_CHANGE, await call.json())
    logger = _logger(change["logger"])
    before = logger.level
    logger.setLevel(_LEVELS.get(change["level"], logging.CRITICAL + 1))
    if "durationSeconds" in change:
        asyncio.get_running_loop().call_later(change["durationSeconds"], logger.setLevel, before)
    return json_answer(change)


async def go_to_ui(call: Call) -> web.StreamResponse:
    """GET /."""
    return web.Response(status=302, headers={"Location": call.url("/ui/")})


async def show_ui(call: Call) -> web.StreamResponse:
    """GET /ui/ (and of the API's console): a word for who comes with a browser."""
    del call
    return text_answer(
        "<html><body><h1>Marathon-compatible engine</h1><p>See <a href='/v2/info'>/v2/info</a>.</p></body></html>", "text/html"
    )


async def add_slash(call: Call) -> web.StreamResponse:
    """GET of what is taken for a directory, because its name has no dot."""
    return web.Response(status=302, headers={"Location": call.request.path + "/"})


async def web_resource(call: Call) -> web.StreamResponse:
    """GET below /ui/: there are no files."""
    name = call.args[0].rstrip("/").rpartition("/")[2]
    return await not_there(call) if "." in name or call.request.path.endswith("/") else await add_slash(call)


async def not_there(call: Call) -> web.StreamResponse:
    """404 of the servlet container."""
    return page(404, "Not Found", path=call.request.path)
