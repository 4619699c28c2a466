"""`shuren lb`: the agent beside HAProxy."""

from __future__ import annotations

import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OnExit(StrEnum):
    """What becomes of HAProxy when the agent is told to end."""

    KEEP = "keep"
    STOP = "stop"


class Format(StrEnum):
    """Form of log lines."""

    CONSOLE = "console"
    JSON = "json"


class Level(StrEnum):
    """The least that a line of the log has to be worth."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def lb(
    zookeeper: Annotated[str, typer.Option(envvar="SHUREN_ZOOKEEPER", help="Servers, as zk1:2181,zk2:2181.")],
    root: Annotated[str, typer.Option(envvar="SHUREN_ROOT", help="MesosCluster.spec.zookeeper.root, such as /shuren/bj1.")],
    group: Annotated[str, typer.Option(envvar="SHUREN_LB_GROUP", help="Services with this spec.loadBalancer.group are carried.")],
    state_dir: Annotated[
        Path, typer.Option(envvar="SHUREN_LB_STATE_DIR", help="Configuration, sockets, certificates, what was last good.")
    ] = Path("/var/lib/shuren-lb"),
    *,
    name: Annotated[str, typer.Option("--id", envvar="SHUREN_LB_ID", help="Name of this load balancer. Default: the host's.")] = "",
    haproxy: Annotated[str, typer.Option(envvar="SHUREN_HAPROXY", help="Program, 2.6 or newer.")] = "haproxy",
    attach: Annotated[
        bool, typer.Option("--attach", help="Never start HAProxy: somebody else does, with STATE_DIR/current/haproxy.cfg.")
    ] = False,
    on_exit: Annotated[
        OnExit, typer.Option(help="keep: HAProxy goes on without the agent. stop: it finishes what it has and ends (containers).")
    ] = OnExit.KEEP,
    ports: Annotated[str, typer.Option(help="Ports that services may open.")] = "80,443,1024-65535",
    bind_address: Annotated[
        str, typer.Option(envvar="SHUREN_LB_BIND_ADDRESS", help="IP address to open for listeners that name none; *: all of this host's.")
    ] = "*",
    allow_backend_lines: Annotated[
        bool, typer.Option("--allow-backend-lines", help="Take spec.loadBalancer.backendLines: lines of HAProxy's own language.")
    ] = False,
    certificates: Annotated[Path | None, typer.Option(help="Directory of PEM files that services may name.")] = None,
    global_lines: Annotated[Path | None, typer.Option(help="File with further lines for the global section.")] = None,
    haproxy_metrics: Annotated[str, typer.Option(help="address:port of HAProxy's own metrics, such as 127.0.0.1:9101.")] = "",
    haproxy_log: Annotated[str, typer.Option(help="Target of HAProxy's log line, such as '127.0.0.1:514 local0'.")] = "",
    max_connections: Annotated[int, typer.Option(help="HAProxy's maxconn; 0: as it chooses.")] = 0,
    threads: Annotated[int, typer.Option(help="HAProxy's nbthread; 0: as it chooses.")] = 0,
    old_workers_seconds: Annotated[int, typer.Option(help="How long connections may outlive a reload.")] = 1800,
    counters_seconds: Annotated[float, typer.Option(help="How often counters are written to ZooKeeper.")] = 10.0,
    certificates_seconds: Annotated[float, typer.Option(help="How often Secrets and files of certificates are read again.")] = 60.0,
    metrics_address: Annotated[str, typer.Option(help="Where /metrics, /healthz and /readyz are served.")] = "127.0.0.1",
    metrics_port: Annotated[int, typer.Option(envvar="SHUREN_LB_METRICS_PORT", help="0: nowhere.")] = 9102,
    log_format: Annotated[Format, typer.Option(help="Form of log lines.")] = Format.CONSOLE,
    log_level: Annotated[Level, typer.Option(case_sensitive=False, help="What is logged, from this on.")] = Level.INFO,
) -> None:
    """Drive HAProxy from ZooKeeper: routes and endpoints of one group, without a reload for endpoints.

    A user and password for ZooKeeper come from SHUREN_ZOOKEEPER_USERNAME and SHUREN_ZOOKEEPER_PASSWORD, shown by
    SHUREN_ZOOKEEPER_SCHEME=digest (the default) or sasl (DIGEST-MD5); TLS to it
    from SHUREN_ZOOKEEPER_TLS=true, with SHUREN_ZOOKEEPER_CA, _CERTIFICATE, _KEY (PEM files, read for each connection) and _SERVER_NAME.
    Access to the Secrets that hold certificates comes from KUBECONFIG, or from the pod's ServiceAccount.

    /metrics and the probes are served under TLS with SHUREN_METRICS_CERTIFICATE and SHUREN_METRICS_KEY (PEM files, read for each
    connection); SHUREN_METRICS_CLIENT_CA: who reads /metrics must show a certificate of that authority.
    """
    import asyncio  # noqa: PLC0415 - what only this command needs

    from shuren.cli.zookeeper import identity  # noqa: PLC0415
    from shuren.clients import page_tls  # noqa: PLC0415
    from shuren.domain.errors import ShurenError  # noqa: PLC0415
    from shuren.domain.haproxy.claims import PortSet  # noqa: PLC0415
    from shuren.edge import logs  # noqa: PLC0415
    from shuren.edge.lb.serve import Connection, serve  # noqa: PLC0415
    from shuren.edge.lb.settings import Settings  # noqa: PLC0415

    logs.set_up(logs.LogFormat(log_format.value), log_level.value)
    try:
        allowed = PortSet.parse(ports)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--ports") from error
    try:
        lines = tuple(line for line in global_lines.read_text().splitlines() if line.strip()) if global_lines is not None else ()
    except (OSError, UnicodeError) as error:
        raise typer.BadParameter(f"{global_lines} cannot be read: {error}", param_hint="--global-lines") from error
    us = identity()
    settings = Settings(
        id=name or socket.gethostname(),
        group=group,
        root=root,
        state_dir=state_dir.absolute(),
        haproxy=haproxy,
        attach_only=attach,
        stop_haproxy_on_exit=on_exit is OnExit.STOP,
        ports=allowed,
        bind_address=bind_address,
        backend_lines=allow_backend_lines,
        global_lines=lines,
        haproxy_metrics=haproxy_metrics,
        log=haproxy_log,
        hard_stop=old_workers_seconds,
        max_connections=max_connections,
        threads=threads,
        certificate_dir=certificates,
        counters_interval=counters_seconds,
        material_interval=certificates_seconds,
    )
    try:
        connection = Connection(
            hosts=zookeeper,
            digest=us.digest,
            tls=us.tls,
            metrics_address=metrics_address,
            metrics_port=metrics_port,
            metrics_tls=page_tls.from_environment(),
        )
        asyncio.run(serve(settings, connection))
    except ShurenError as error:
        typer.echo(f"shuren lb: {error}", err=True)
        raise typer.Exit(1) from error
