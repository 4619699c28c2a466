"""How the programs beside traffic reach a ZooKeeper that asks who they are: from their environment, since command lines are seen by all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from shuren.clients.zookeeper.client import Digest
from shuren.clients.zookeeper.tls import Tls, TlsFiles

PREFIX = "SHUREN_ZOOKEEPER_"
TLS = ("CA", "CERTIFICATE", "KEY", "SERVER_NAME")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Password of the scheme digest, and TLS; None: none."""

    digest: Digest | None = None
    tls: Tls | None = None


def identity(environ: Mapping[str, str] = os.environ) -> Identity:
    """SHUREN_ZOOKEEPER_USERNAME and _PASSWORD, with _SCHEME (digest or sasl).

    _TLS=true, or any of _CA, _CERTIFICATE, _KEY (PEM files) and _SERVER_NAME, for TLS.

    BadParameter names the variable at fault.
    """
    found = {name: environ.get(PREFIX + name, "") for name in ("USERNAME", "PASSWORD", "SCHEME", "TLS", *TLS)}
    if found["PASSWORD"] and not found["USERNAME"]:
        raise typer.BadParameter(f"{PREFIX}PASSWORD is set without {PREFIX}USERNAME")
    if found["KEY"] and not found["CERTIFICATE"]:
        raise typer.BadParameter(f"{PREFIX}KEY is set without {PREFIX}CERTIFICATE")
    if found["TLS"].lower() not in {"", "true", "false"}:
        raise typer.BadParameter(f"{PREFIX}TLS must be true or false, not {found['TLS']!r}")
    if found["SCHEME"].lower() not in {"", "digest", "sasl"}:
        raise typer.BadParameter(f"{PREFIX}SCHEME must be digest or sasl, not {found['SCHEME']!r}")
    sasl = found["SCHEME"].lower() == "sasl"
    if sasl and not found["USERNAME"]:
        raise typer.BadParameter(f"{PREFIX}SCHEME is sasl without {PREFIX}USERNAME")
    digest = Digest(username=found["USERNAME"], password=found["PASSWORD"], sasl=sasl) if found["USERNAME"] else None
    wanted = found["TLS"].lower() == "true" or (not found["TLS"] and any(found[name] for name in TLS))
    if not wanted:
        return Identity(digest=digest)
    files = TlsFiles(**{name.lower(): Path(found[name]) for name in TLS[:3] if found[name]})
    for name in TLS[:3]:
        if found[name] and not Path(found[name]).is_file():
            raise typer.BadParameter(f"{PREFIX}{name}: there is no file {found[name]}")
    try:
        files.context()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{PREFIX}CA, {PREFIX}CERTIFICATE or {PREFIX}KEY cannot be used: {error}") from error
    return Identity(digest=digest, tls=Tls(context=files.context, server_name=found["SERVER_NAME"] or None))
