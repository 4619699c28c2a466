"""Health checks, readiness checks and the Mesos check of a Marathon app."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Caseless, Int, Natural, Node, Port, Reason, Rule
from shuren.api.v1alpha1.marathon.networking import PortName

UrlPath = Annotated[str, Field(max_length=1024)]


class HealthProtocol(StrEnum):
    """Who probes, and how."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    TCP = "TCP"
    COMMAND = "COMMAND"
    MESOS_HTTP = "MESOS_HTTP"
    MESOS_HTTPS = "MESOS_HTTPS"
    MESOS_TCP = "MESOS_TCP"


MESOS_NETWORK_CHECKS = frozenset({HealthProtocol.MESOS_HTTP, HealthProtocol.MESOS_HTTPS, HealthProtocol.MESOS_TCP})
MARATHON_CHECKS = frozenset({HealthProtocol.HTTP, HealthProtocol.HTTPS, HealthProtocol.TCP})
"""Probed by Marathon's leader over the network; the others run on the agent."""


class IpProtocol(StrEnum):
    """Address family of a probe."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class HttpScheme(StrEnum):
    """Scheme of a probe."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class Command(Node):
    """A shell command."""

    value: Annotated[str, Field(min_length=1, max_length=65536)]
    """Command line; exit status 0 means good."""


_PROTOCOL = "(has(self.protocol) ? self.protocol.lowerAscii() : 'http')"


class HealthCheck(Node):
    """One health check. With maxConsecutiveFailures failures in a row after the grace period the task is killed and replaced."""

    rules = (
        Rule(
            cel=f"({_PROTOCOL} == 'command') == has(self.command)",
            holds=lambda h: (h.kind is HealthProtocol.COMMAND) == (h.command is not None),
            message="protocol COMMAND and the field command belong together: give both or neither",
            at="command",
        ),
        Rule(
            cel=f"{_PROTOCOL} != 'command' || !has(self.path)",
            holds=lambda h: h.kind is not HealthProtocol.COMMAND or h.path is None,
            message="a COMMAND check takes no path: remove it",
            at="path",
            reason=Reason.FORBIDDEN,
        ),
        Rule(
            cel=f"!has(self.ipProtocol) || self.ipProtocol.lowerAscii() != 'ipv6'"
            f" || {_PROTOCOL} in ['mesos_http', 'mesos_https', 'mesos_tcp']",
            holds=lambda h: h.ip_protocol is not IpProtocol.IPV6 or h.kind in MESOS_NETWORK_CHECKS,
            message="IPv6 works with MESOS_HTTP, MESOS_HTTPS and MESOS_TCP checks only",
            at="ipProtocol",
        ),
    )

    protocol: Annotated[HealthProtocol, Caseless(HealthProtocol)] | None = None
    """HTTP, HTTPS, TCP (probed by Marathon's leader), COMMAND, MESOS_HTTP, MESOS_HTTPS, MESOS_TCP (probed on the agent; prefer these: with
    the first three, rolling updates need maximumOverCapacity above 0 and health is unknown after a change of leader). Marathon's default:
    HTTP."""
    path: UrlPath | None = None
    """Path of an HTTP check; status 200 to 399 is good. Marathon's default: /."""
    port: Port | None = None
    """Fixed port; wins over portIndex. Marathon's default: none."""
    port_index: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Index into the app's ports. Marathon's default: 0 when the app has ports."""
    grace_period_seconds: Natural | None = None
    """Seconds after the start during which failures do not count, until the first success. Marathon's default: 300."""
    interval_seconds: Natural | None = None
    """Seconds between probes. Marathon's default: 60."""
    timeout_seconds: Natural | None = None
    """Seconds after which a probe has failed. Marathon's default: 20."""
    max_consecutive_failures: Natural | None = None
    """Failures in a row after which the task is killed; 0 = never (Marathon's checks) or at the first failure (Mesos' checks). Marathon's
    default: 3."""
    delay_seconds: Natural | None = None
    """Seconds before the first probe (COMMAND and MESOS_ checks; Marathon ignores it for HTTP, HTTPS and TCP). Marathon's default: 15."""
    ignore_http1xx: Annotated[bool | None, Field(alias="ignoreHttp1xx")] = None
    """Accepted and ignored by Marathon 1.11."""
    ip_protocol: Annotated[IpProtocol, Caseless(IpProtocol)] | None = None
    """IPv4 or IPv6 (DOCKER engine and MESOS_ checks only). Marathon's default: IPv4."""
    command: Command | None = None
    """Command of a COMMAND check, run inside the task's container."""

    @property
    def kind(self) -> HealthProtocol:
        """Protocol with Marathon's default."""
        return self.protocol or HealthProtocol.HTTP


class ReadinessCheck(Node):
    """Says during a roll-out when a new instance may take the place of an old one; it has no part in normal operation."""

    rules = (
        Rule(
            cel="(has(self.timeoutSeconds) ? self.timeoutSeconds : 10) < (has(self.intervalSeconds) ? self.intervalSeconds : 30)",
            holds=lambda c: (
                (10 if c.timeout_seconds is None else c.timeout_seconds) < (30 if c.interval_seconds is None else c.interval_seconds)
            ),
            message="timeoutSeconds (default 10) must be less than intervalSeconds (default 30)",
            at="timeoutSeconds",
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of the check. Marathon's default: readinessCheck."""
    protocol: Annotated[HttpScheme, Caseless(HttpScheme)] | None = None
    """HTTP or HTTPS. Marathon's default: HTTP."""
    path: UrlPath | None = None
    """Path to ask. Marathon's default: /."""
    port_name: PortName | None = None
    """Name of the port to ask; it must be among the app's ports. Marathon's default: http-api."""
    interval_seconds: Annotated[Int, Field(ge=1)] | None = None
    """Seconds between questions. Marathon's default: 30."""
    timeout_seconds: Annotated[Int, Field(ge=1)] | None = None
    """Seconds to wait for the answer; less than intervalSeconds. Marathon's default: 10."""
    http_status_codes_for_ready: Annotated[list[Annotated[int, Field(ge=100, le=999)]], Field(min_length=1, max_length=256)] | None = None
    """Status codes that mean ready. Marathon's default: [200]."""
    preserve_last_response: bool | None = None
    """Whether Marathon keeps the last answer for readers of the app. Marathon's default: false."""


class HttpProbe(Node):
    """An HTTP question, asked on the agent."""

    port: Port | None = None
    """Fixed port; wins over portIndex. Marathon's default: none."""
    port_index: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Index into the app's ports. Marathon's default: 0."""
    path: UrlPath | None = None
    """Path to ask. Marathon's default: /."""
    scheme: Annotated[HttpScheme, Caseless(HttpScheme)] | None = None
    """HTTP or HTTPS. Marathon's default: HTTP."""


class TcpProbe(Node):
    """A TCP connection, tried on the agent."""

    port: Port | None = None
    """Fixed port; wins over portIndex. Marathon's default: none."""
    port_index: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Index into the app's ports. Marathon's default: 0."""


class MesosCommand(Node):
    """A command as Mesos takes it: a line for the shell, or a program with its arguments."""

    rules = (
        Rule(
            cel="has(self.shell) != has(self.argv)",
            holds=lambda c: (c.shell is None) != (c.argv is None),
            message="give exactly one of shell and argv",
        ),
    )

    shell: Annotated[str, Field(min_length=1, max_length=65536)] | None = None
    """Command line for the shell."""
    argv: Annotated[list[Annotated[str, Field(max_length=65536)]], Field(min_length=1, max_length=256)] | None = None
    """Program and arguments, run without a shell."""


class ExecProbe(Node):
    """A command, run inside the container; exit status 0 means good."""

    command: MesosCommand
    """The command: {shell: line} or {argv: [program, argument, …]}."""


class Check(Node):
    """A Mesos check: its result is shown with the task and changes nothing."""

    rules = (
        Rule(
            cel="[has(self.http), has(self.tcp), has(self.exec)].filter(x, x).size() == 1",
            holds=lambda c: sum(probe is not None for probe in (c.http, c.tcp, c.exec)) == 1,
            message="a check needs exactly one of http, tcp, exec",
        ),
    )

    http: HttpProbe | None = None
    """HTTP question."""
    tcp: TcpProbe | None = None
    """TCP connection."""
    exec: ExecProbe | None = None
    """Command."""
    interval_seconds: Natural | None = None
    """Seconds between checks. Marathon's default: 60."""
    timeout_seconds: Natural | None = None
    """Seconds after which a check has failed. Marathon's default: 20."""
    delay_seconds: Natural | None = None
    """Seconds before the first check. Marathon's default: 15."""
