"""Certificates, authorities and users: fetched from where they are kept, judged, and written to this host for HAProxy alone.

What was there stays when its source is away, over restarts too. docs/decisions says why the load balancer fetches Secrets itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from shuren.domain.errors import Denied, Invalid, ShurenError, Transient
from shuren.domain.haproxy.materials import Material, MaterialKind, Materials, parse_users
from shuren.edge.lb.disk import StateDirectory
from shuren.ports.kubernetes import SECRETS, Kubernetes

log = logging.getLogger(__name__)

_KEYS = {
    MaterialKind.CERTIFICATE.value: ("tls.crt", "tls.key"),
    MaterialKind.AUTHORITY.value: ("ca.crt",),
    MaterialKind.USERS.value: ("auth",),
}


class Source(Protocol):
    """Where materials are kept."""

    async def fetch(self, material: Material) -> bytes:
        """Its content as one file. Invalid, Denied or Unreachable say why it cannot be had."""


class DirectorySource:
    """Files that somebody else keeps on this host (`--certificates`)."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    async def fetch(self, material: Material) -> bytes:
        """See the protocol."""
        if self._directory is None:
            raise Invalid("this load balancer has no certificate directory (shuren lb --certificates)")
        try:
            return (self._directory / material.name).read_bytes()
        except FileNotFoundError as error:
            raise Invalid("there is no such file in the certificate directory of this load balancer") from error
        except OSError as error:
            raise Denied(f"the file cannot be read: {error.strerror}") from error


class SecretSource:
    """Secrets, by a ServiceAccount that may `get` those that it needs and no others."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kubernetes = kubernetes

    async def fetch(self, material: Material) -> bytes:
        """See the protocol."""
        secret = await self._kubernetes.get(SECRETS, material.namespace, material.name)
        if secret is None:
            raise Invalid("there is no such Secret")
        return b"\n".join(_value(secret, key).strip() for key in _KEYS[material.kind]) + b"\n"


class NoSecrets:
    """A load balancer that was given no access to an API server."""

    async def fetch(self, material: Material) -> bytes:
        """See the protocol."""
        raise Invalid(f"this load balancer was given no access to Secrets (KUBECONFIG), so {material.name} cannot be fetched")


def _value(secret: dict[str, Any], key: str) -> bytes:
    text = (secret.get("data") or {}).get(key)
    if not text:
        raise Invalid(f"it has no key {key}")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Invalid(f"its key {key} is not base64") from error


class MaterialStore:
    """Keeps the materials that routes name on this host."""

    def __init__(self, *, disk: StateDirectory, files: Source, secrets: Source) -> None:
        self._disk = disk
        self._files = files
        self._secrets = secrets
        self._content: dict[Material, bytes] = {}
        self._missing: dict[Material, str] = {}

    def restore(self, wanted: Iterable[Material]) -> None:
        """Take what lies on this host from before."""
        for material in wanted:
            path = self._disk.certs / material.file
            if path.exists():
                self._content[material] = path.read_bytes()

    @property
    def materials(self) -> Materials:
        """What is there now."""
        users = {m: parse_users(data.decode()) for m, data in self._content.items() if m.kind == MaterialKind.USERS.value}
        return Materials(directory=str(self._disk.certs), there=frozenset(self._content), users=users, missing=dict(self._missing))

    def unknown(self, wanted: Iterable[Material]) -> frozenset[Material]:
        """Those that were never asked for."""
        return frozenset(m for m in wanted if m not in self._content and m not in self._missing)

    def content(self, material: Material) -> str:
        """As HAProxy reads it."""
        return self._content[material].decode()

    @property
    def complete(self) -> bool:
        """Whether nothing that was asked for is missing or refused."""
        return not self._missing

    async def refresh(self, wanted: Iterable[Material]) -> frozenset[Material]:
        """Fetch these anew and forget all others. Gives those whose content, or the reason why they are not there, has changed."""
        asked = sorted(set(wanted))
        answers = await asyncio.gather(*(self._fetch(material) for material in asked))
        changed = {material for material, answer in zip(asked, answers, strict=True) if self._take(material, answer)}
        for material in (self._content.keys() | self._missing.keys()) - set(asked):
            self._content.pop(material, None)
            self._missing.pop(material, None)
            (self._disk.certs / material.file).unlink(missing_ok=True)
        return frozenset(changed)

    async def _fetch(self, material: Material) -> bytes | ShurenError:
        try:
            data = await (self._secrets if material.namespace else self._files).fetch(material)
            judge(material, data, self._disk.certs)
        except ShurenError as error:
            return error
        return data

    def _take(self, material: Material, answer: bytes | ShurenError) -> bool:
        if isinstance(answer, Transient) and material in self._content:
            log.info("%s cannot be asked for just now: %s", material, answer)
            return False
        if isinstance(answer, ShurenError):
            why = str(answer)
            changed = self._missing.get(material) != why
            self._missing[material] = why
            if changed:
                kept = ", the one from before stays in use" if material in self._content else ""
                log.warning("%s cannot be had%s: %s", material, kept, why)
            return changed
        healed = self._missing.pop(material, None) is not None
        if self._content.get(material) == answer:
            return healed
        self._content[material] = answer
        self._disk.put_material(material.file, answer)
        return True


def judge(material: Material, data: bytes, directory: Path) -> None:
    """Invalid when HAProxy could not use it: a certificate that does not parse, or that its key does not fit."""
    try:
        text = data.decode("ascii" if material.kind != MaterialKind.USERS.value else "utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("it is no text") from error
    match material.kind:
        case MaterialKind.CERTIFICATE.value:
            _judge_certificate(material, data, directory)
        case MaterialKind.AUTHORITY.value:
            try:
                ssl.create_default_context(cadata=text)
            except (ssl.SSLError, ValueError) as error:
                raise Invalid(f"its certificates to trust cannot be read: {_reason(error)}") from error
        case _:
            parse_users(text)


def _judge_certificate(material: Material, data: bytes, directory: Path) -> None:
    # the ssl module takes a certificate with its key from a file only
    probe = directory / f".judge.{material.file}"
    probe.touch(mode=0o600)
    try:
        probe.write_bytes(data)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(probe)
    except ssl.SSLError as error:
        mismatch = "MISMATCH" in (error.reason or "")
        said = "its key does not belong to its certificate" if mismatch else f"certificate and key cannot be read: {_reason(error)}"
        raise Invalid(said) from error
    finally:
        probe.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return (error.reason or "").replace("_", " ").lower() if isinstance(error, ssl.SSLError) else "not PEM"
