"""What a MesosCluster and the Secrets that it names say, as domain values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from shuren.api.problems import problems
from shuren.api.v1alpha1 import mesoscluster as api
from shuren.api.v1alpha1.references import SecretRef
from shuren.controllers.selectors import selector_of
from shuren.domain.cluster import (
    Blocked,
    ClusterSettings,
    Credentials,
    Login,
    MarathonSettings,
    MesosSettings,
    Obstacle,
    SecretName,
    TlsMaterial,
    TlsSettings,
    ZooKeeperSettings,
)
from shuren.domain.errors import FieldError, Invalid
from shuren.domain.guard import DeletionLimit
from shuren.domain.identity import ObjectKey
from shuren.domain.tenancy import PrefixRule, Selector, Tenancy
from shuren.ports.kubernetes import SECRETS, Object


class References(Protocol):
    """Secrets that resources refer to; watched only while somebody does."""

    def require(self, owner: ObjectKey, wanted: frozenset[ObjectKey]) -> Mapping[ObjectKey, Object | None] | None:
        """Their present state (None: there is no such object); None while any of them has not been read yet. Denied when one may not be.

        From now on, until the next call for the same owner, `owner` gets a pass when one of them changes. An empty set ends it.
        """


def settings(item: Object) -> ClusterSettings:
    """The spec with its defaults. Invalid names every field that is wrong."""
    try:
        cluster = api.read(item)
    except ValidationError as error:
        found = tuple(FieldError(path=p.path, message=p.message) for p in problems(error))
        raise Invalid("; ".join(f"{e.path}: {e.message}" if e.path else e.message for e in found[:5]), errors=found) from error
    spec = cluster.spec
    limits = spec.marathon.limits or api.Limits()
    guard = spec.deletion_guard or api.DeletionGuard()
    return ClusterSettings(
        name=str(item["metadata"]["name"]),
        marathon=MarathonSettings(
            urls=tuple(spec.marathon.urls),
            auth=_secret(spec.marathon.auth_secret_ref),
            tls=_tls(spec.marathon.tls),
            requests_per_second=limits.requests_per_second,
            max_concurrent_deployments=limits.max_concurrent_deployments,
        ),
        zookeeper=ZooKeeperSettings(
            hosts=tuple(spec.zookeeper.hosts),
            root=spec.zookeeper.root,
            auth=_secret(spec.zookeeper.auth_secret_ref),
            sasl=spec.zookeeper.auth_scheme is api.ZooKeeperAuthScheme.SASL,
            tls=_tls(spec.zookeeper.tls),
        ),
        mesos=_mesos(spec.mesos),
        tenancy=_tenancy(spec.tenancy),
        dns_zone=spec.dns.zone if spec.dns is not None else "",
        unreachable_grace=float(spec.unreachable_grace_seconds),
        deletions=DeletionLimit(share=guard.max_percent_per_minute / 100, floor=guard.always_allowed),
        record_roots=tuple(spec.tenancy.record_roots or ()) if spec.tenancy is not None else (),
    )


def _mesos(mesos: api.MesosEndpoint | None) -> MesosSettings | None:
    if mesos is None:
        return None
    return MesosSettings(masters=tuple(mesos.masters), auth=_secret(mesos.auth_secret_ref), tls=_tls(mesos.tls))


def _secret(reference: SecretRef | None) -> SecretName | None:
    return None if reference is None else SecretName(namespace=reference.namespace, name=reference.name)


def _tls(tls: api.Tls | None) -> TlsSettings | None:
    if tls is None:
        return None
    return TlsSettings(
        ca=_secret(tls.ca_secret_ref),
        client=_secret(tls.client_cert_secret_ref),
        server_name=tls.server_name,
        insecure=tls.insecure_skip_verify,
    )


def _tenancy(tenancy: api.Tenancy | None) -> Tenancy:
    if tenancy is None:
        return Tenancy()
    grants = tenancy.id_prefixes or []
    return Tenancy(
        namespaces=selector_of(tenancy.namespaces) if tenancy.namespaces is not None else Selector(),
        rules=tuple(PrefixRule(selector=selector_of(g.namespace_selector), prefixes=tuple(g.prefixes)) for g in grants),
    )


# ---------------------------------------------------------------------------------------------------- Secrets


def wanted_secrets(of: ClusterSettings) -> frozenset[ObjectKey]:
    """Keys of all Secrets that the settings name."""
    return frozenset(_key(name) for name in of.secrets)


def _key(name: SecretName) -> ObjectKey:
    return ObjectKey(kind=SECRETS.kind, namespace=name.namespace, name=name.name)


def credentials(of: ClusterSettings, secrets: Mapping[ObjectKey, Object | None]) -> Credentials | Obstacle:
    """What the Secrets hold, or what is missing: waited for, since Secrets often come after what names them."""
    reader = _Secrets(secrets)
    found = Credentials(
        marathon=reader.login(of.marathon.auth, "spec.marathon.authSecretRef", token=True),
        marathon_tls=reader.tls(of.marathon.tls, "spec.marathon.tls"),
        mesos=reader.login(of.mesos.auth if of.mesos is not None else None, "spec.mesos.authSecretRef", token=False),
        mesos_tls=reader.tls(of.mesos.tls if of.mesos is not None else None, "spec.mesos.tls"),
        zookeeper=reader.login(of.zookeeper.auth, "spec.zookeeper.authSecretRef", token=False),
        zookeeper_tls=reader.tls(of.zookeeper.tls, "spec.zookeeper.tls"),
    )
    if not reader.missing:
        return found
    return Obstacle(kind=Blocked.WAITING, reason="SecretNotReady", message="; ".join(reader.missing))


class _Secrets:
    """Reads keys of Secrets and collects what is missing. Values never get into a message."""

    def __init__(self, secrets: Mapping[ObjectKey, Object | None]) -> None:
        self._secrets = secrets
        self.missing: list[str] = []

    def _data(self, name: SecretName, field: str) -> dict[str, bytes] | None:
        item = self._secrets.get(_key(name))
        if item is None:
            self.missing.append(f"Secret {name} ({field}) does not exist; waiting for it")
            return None
        return {key: _decoded(value) for key, value in (item.get("data") or {}).items()}

    def login(self, name: SecretName | None, field: str, *, token: bool) -> Login | None:
        if name is None:
            return None
        data = self._data(name, field)
        if data is None:
            return None
        texts = {key: value.decode("utf-8", "replace").strip() for key, value in data.items() if key in {"username", "password", "token"}}
        if token and texts.get("token"):
            return Login(token=texts["token"])
        if "username" in texts and "password" in texts:
            return Login(username=texts["username"], password=texts["password"])
        self.missing.append(f"Secret {name} ({field}) needs the keys username and password" + (", or token" if token else ""))
        return None

    def tls(self, tls: TlsSettings | None, field: str) -> TlsMaterial:
        if tls is None:
            return TlsMaterial()
        authority = self._part(tls.ca, "ca.crt", f"{field}.caSecretRef")
        certificate = self._part(tls.client, "tls.crt", f"{field}.clientCertSecretRef")
        key = self._part(tls.client, "tls.key", f"{field}.clientCertSecretRef") if certificate is not None else None
        return TlsMaterial(ca=authority, certificate=certificate, key=key)

    def _part(self, name: SecretName | None, key: str, field: str) -> bytes | None:
        if name is None:
            return None
        data = self._data(name, field)
        if data is None:
            return None
        if not data.get(key):
            self.missing.append(f"Secret {name} ({field}) has no key {key}")
            return None
        return data[key]


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return b""
