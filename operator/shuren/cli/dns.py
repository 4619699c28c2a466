"""`shuren dns`: the name server of a cluster's zone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shuren.cli.lb import Format, Level


def dns(
    zookeeper: Annotated[str, typer.Option(envvar="SHUREN_ZOOKEEPER", help="Servers, as zk1:2181,zk2:2181.")],
    root: Annotated[str, typer.Option(envvar="SHUREN_ROOT", help="MesosCluster.spec.zookeeper.root, such as /shuren/bj1.")],
    *,
    zone: Annotated[str, typer.Option(help="Zone to answer for. Default: MesosCluster.spec.dns.zone, read from ZooKeeper.")] = "",
    address: Annotated[str, typer.Option(help="Where to answer, UDP and TCP.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="0: a free one.")] = 53,
    server: Annotated[
        list[str] | None,
        typer.Option(
            "--ns",
            help="Name server of the zone, once for each; with its address (NAME=IP) where the name is in the zone. Default: ns1.ZONE.",
        ),
    ] = None,
    ttl: Annotated[int, typer.Option(min=0, help="Seconds for which answers may be kept.")] = 5,
    negative_ttl: Annotated[int, typer.Option(min=0, help="Seconds for which 'there is none' may be kept.")] = 5,
    state_dir: Annotated[
        Path | None, typer.Option(envvar="SHUREN_DNS_STATE_DIR", help="Keeps what was last good, for a start while ZooKeeper is away.")
    ] = None,
    powerdns: Annotated[
        str,
        typer.Option(
            envvar="SHUREN_POWERDNS",
            help="Do not answer, tell PowerDNS: base URL of its HTTP API, whose key is in SHUREN_POWERDNS_API_KEY.",
        ),
    ] = "",
    metrics_address: Annotated[str, typer.Option(help="Where /metrics, /healthz and /readyz are served.")] = "127.0.0.1",
    metrics_port: Annotated[int, typer.Option(help="0: nowhere.")] = 9103,
    log_format: Annotated[Format, typer.Option(help="Form of log lines.")] = Format.CONSOLE,
    log_level: Annotated[Level, typer.Option(case_sensitive=False, help="What is logged, from this on.")] = Level.INFO,
) -> None:
    """Answer DNS for services and tasks of one cluster, from ZooKeeper alone.

    A user and password for ZooKeeper come from SHUREN_ZOOKEEPER_USERNAME and SHUREN_ZOOKEEPER_PASSWORD, shown by
    SHUREN_ZOOKEEPER_SCHEME=digest (the default) or sasl (DIGEST-MD5); TLS to it
    from SHUREN_ZOOKEEPER_TLS=true, with SHUREN_ZOOKEEPER_CA, _CERTIFICATE, _KEY (PEM files, read for each connection) and _SERVER_NAME.

    /metrics and the probes are served under TLS with SHUREN_METRICS_CERTIFICATE and SHUREN_METRICS_KEY (PEM files, read for each
    connection); SHUREN_METRICS_CLIENT_CA: who reads /metrics must show a certificate of that authority.
    """
    import asyncio  # noqa: PLC0415 - what only this command needs
    import os  # noqa: PLC0415

    from shuren.cli.zookeeper import identity  # noqa: PLC0415
    from shuren.clients import page_tls  # noqa: PLC0415
    from shuren.domain.errors import ShurenError  # noqa: PLC0415
    from shuren.edge import logs  # noqa: PLC0415
    from shuren.edge.dns.serve import Settings, serve  # noqa: PLC0415

    logs.set_up(logs.LogFormat(log_format.value), log_level.value)
    us = identity()
    try:
        settings = Settings(
            hosts=zookeeper,
            root=root,
            zone=zone.strip("."),
            address=address,
            port=port,
            servers=tuple((name.strip("."), where) for name, _, where in (given.partition("=") for given in server or ())),
            ttl=ttl,
            negative_ttl=negative_ttl,
            state_dir=state_dir,
            digest=us.digest,
            tls=us.tls,
            metrics_address=metrics_address,
            metrics_port=metrics_port,
            metrics_tls=page_tls.from_environment(),
            powerdns=powerdns,
            powerdns_key=os.environ.get("SHUREN_POWERDNS_API_KEY", ""),
        )
        asyncio.run(serve(settings))
    except ShurenError as error:
        typer.echo(f"shuren dns: {error}", err=True)
        raise typer.Exit(1) from error
