"""All settings of the operator process, from its environment."""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from shuren.clients import page_tls
from shuren.clients.page_tls import PageTls
from shuren.domain.errors import FieldError, Invalid

E = TypeVar("E", bound=Enum)

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class EventSourceKind(Enum):
    """KOPF: kopf watches our kinds (default). NATIVE: our own list+watch, which costs far less CPU per event."""

    KOPF = "kopf"
    NATIVE = "native"


class LogFormat(Enum):
    """JSON for collectors, CONSOLE for people."""

    JSON = "json"
    CONSOLE = "console"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per environment variable, named in its comment."""

    namespace: str = "shuren-system"  # SHUREN_NAMESPACE: where the Lease lies
    identity: str = ""  # SHUREN_IDENTITY: this replica's name in the Lease; default host name and process id
    installation: str = ""  # SHUREN_INSTALLATION: this installation's name in ZooKeeper; default the uid of kube-system and our namespace
    namespaces: tuple[str, ...] = ()  # SHUREN_NAMESPACES: comma separated; empty: all
    metrics_port: int = 8080  # SHUREN_METRICS_PORT: /metrics, /healthz, /readyz; 0: none
    metrics_address: str = "0.0.0.0"  # SHUREN_METRICS_ADDRESS
    metrics_tls: PageTls | None = None  # SHUREN_METRICS_CERTIFICATE, _KEY and _CLIENT_CA: PEM files; none: plain HTTP
    log_format: LogFormat = LogFormat.CONSOLE  # SHUREN_LOG_FORMAT
    log_level: str = "INFO"  # SHUREN_LOG_LEVEL
    workers: int = 1000  # SHUREN_WORKERS: passes at the same time; most wait for something outside, and what waits is written together
    event_source: EventSourceKind = EventSourceKind.KOPF  # SHUREN_EVENT_SOURCE
    resync_seconds: float = 600.0  # SHUREN_RESYNC_SECONDS: list-and-diff of every kind, jittered
    shutdown_seconds: float = 20.0  # SHUREN_SHUTDOWN_SECONDS: for passes under way; below terminationGracePeriodSeconds


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Invalid names the variable and what it may be."""
    default = Settings()
    return Settings(
        namespace=environ.get("SHUREN_NAMESPACE") or default.namespace,
        identity=environ.get("SHUREN_IDENTITY") or f"{socket.gethostname()}-{os.getpid()}",
        installation=environ.get("SHUREN_INSTALLATION", "").strip(),
        namespaces=tuple(part.strip() for part in environ.get("SHUREN_NAMESPACES", "").split(",") if part.strip()),
        metrics_port=_whole(environ, "SHUREN_METRICS_PORT", default.metrics_port, least=0, most=65535),
        metrics_address=environ.get("SHUREN_METRICS_ADDRESS") or default.metrics_address,
        metrics_tls=page_tls.from_environment(environ),
        log_format=_choice(environ, "SHUREN_LOG_FORMAT", default.log_format),
        log_level=_level(environ, default.log_level),
        workers=_whole(environ, "SHUREN_WORKERS", default.workers, least=1, most=10_000),
        event_source=_choice(environ, "SHUREN_EVENT_SOURCE", default.event_source),
        resync_seconds=_number(environ, "SHUREN_RESYNC_SECONDS", default.resync_seconds, least=1),
        shutdown_seconds=_number(environ, "SHUREN_SHUTDOWN_SECONDS", default.shutdown_seconds),
    )


def _number(environ: Mapping[str, str], name: str, default: float, *, least: float = 0) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError as error:
        raise _wrong(name, f"must be a number, not {text!r}") from error
    if not (least <= value < math.inf):
        raise _wrong(name, f"must be at least {least:g}, not {text!r}")
    return value


def _whole(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environ.get(name) or str(default)
    value = int(text) if re.fullmatch(r"\s*[0-9]{1,9}\s*", text) else -1
    if not least <= value <= most:
        raise _wrong(name, f"must be a whole number from {least} to {most}, not {text!r}")
    return value


def _choice(environ: Mapping[str, str], name: str, default: E) -> E:
    text = environ.get(name) or default.value
    try:
        return type(default)(text)
    except ValueError as error:
        raise _wrong(name, f"must be one of {', '.join(str(e.value) for e in type(default))}, not {text!r}") from error


def _level(environ: Mapping[str, str], default: str) -> str:
    text = (environ.get("SHUREN_LOG_LEVEL") or default).upper()
    if text not in _LEVELS:
        raise _wrong("SHUREN_LOG_LEVEL", f"must be one of {', '.join(_LEVELS)}, not {text!r}")
    return text


def _wrong(name: str, message: str) -> Invalid:
    return Invalid(f"{name} {message}", errors=(FieldError(path=name, message=message),))
