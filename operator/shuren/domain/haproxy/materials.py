"""Certificates, authorities and users: what a route names and what is not in ZooKeeper, since some of it is secret.

The agent brings these from where they are and tells the configuration where each lies on this host; here they have names only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from shuren.domain.errors import Invalid
from shuren.domain.haproxy.settings import LoadBalancing
from shuren.domain.service.values import ServiceName


class MaterialKind(Enum):
    """CERTIFICATE: chain and key. AUTHORITY: certificates to trust. USERS: names and password hashes."""

    CERTIFICATE = "certificate"
    AUTHORITY = "authority"
    USERS = "users"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Material:
    """A Secret in a namespace (`namespace` and `name`), or a file in the load balancer's directory (no `namespace`)."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"Secret {self.namespace}/{self.name}" if self.namespace else f"file {self.name}"
        return f"{self.kind} in {where}"

    @property
    def file(self) -> str:
        """Name of the file that holds it; a namespace has no dots, so that no two are alike."""
        return f"{self.kind}.{self.namespace}.{self.name}.pem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """What is there. `directory` holds the files; `users` is name → hash of each USERS; `missing` says why something is not there, or why
    what it was renewed with was refused.
    """

    directory: str = "certs"
    there: frozenset[Material] = frozenset()
    users: Mapping[Material, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    missing: Mapping[Material, str] = field(default_factory=dict)

    def path(self, material: Material) -> str:
        """Where HAProxy finds it."""
        return f"{self.directory}/{material.file}"

    def why_not(self, material: Material) -> str:
        """Empty when it is there."""
        if material in self.there:
            return ""
        return f"{material}: {self.missing.get(material, 'not there yet')}"

    def refused(self, material: Material) -> str:
        """Why it is not there, or not as its source has it now; empty when all is well."""
        if material in self.there and material in self.missing:
            return f"{material}: {self.missing[material]}; the one from before stays in use"
        return self.why_not(material)


def certificate(service: ServiceName, *, secret: str = "", file: str = "") -> Material:
    """A listener's certificate."""
    return Material(kind=MaterialKind.CERTIFICATE.value, namespace=service.namespace if secret else "", name=secret or file)


def authority(service: ServiceName, secret: str) -> Material:
    """Certificates to trust."""
    return Material(kind=MaterialKind.AUTHORITY.value, namespace=service.namespace, name=secret)


def users(service: ServiceName, secret: str) -> Material:
    """Who may log in."""
    return Material(kind=MaterialKind.USERS.value, namespace=service.namespace, name=secret)


def needs(service: ServiceName, settings: LoadBalancing) -> tuple[Material, ...]:
    """Everything that a route names, sorted."""
    return tuple(sorted({material for _, material in _named(service, settings)}))


def _named(service: ServiceName, settings: LoadBalancing) -> Iterable[tuple[str, Material]]:
    """Everything that a route names, with the field that does."""
    for number, listener in enumerate(settings.listeners):
        if listener.tls is not None:
            at = f"spec.loadBalancer.listeners[{number}].tls"
            for place, one in enumerate(listener.tls.certificates):
                field = f"{at}.certificates[{place}].{'secretRef' if one.secret else 'file'}"
                yield field, certificate(service, secret=one.secret, file=one.file)
            if listener.tls.client_ca:
                yield f"{at}.clientCertificates.caSecretRef", authority(service, listener.tls.client_ca)
    if settings.upstream.tls is not None and settings.upstream.tls.ca:
        yield "spec.loadBalancer.upstream.tls.caSecretRef", authority(service, settings.upstream.tls.ca)
    if settings.access.basic_auth is not None:
        yield "spec.loadBalancer.access.basicAuth.secretRef", users(service, settings.access.basic_auth.secret)


_USER = re.compile(r"([-_.@A-Za-z0-9]{1,128}):([-$./A-Za-z0-9]{13,512})")


def parse_users(text: str) -> tuple[tuple[str, str], ...]:
    """Lines of `name:hash`, the hash as crypt(3) takes it. Invalid for anything else: a password in clear must not pass for a hash."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _USER.fullmatch(line.strip())
        if match is None or match[2].startswith(("$apr1$", "$2")):
            raise Invalid(f"line {number} is not name:hash with a hash of crypt(3): make it with `openssl passwd -6`")
        found.append((match[1], match[2]))
    return tuple(sorted(found))


def missing_for(service: ServiceName, settings: LoadBalancing, materials: Materials) -> tuple[str, ...]:
    """What a route names and what is not there or was refused, in words for its status: field and reason."""
    first: dict[Material, str] = {}
    for at, material in _named(service, settings):
        first.setdefault(material, at)
    return tuple(f"{first[material]}: {why}" for material in sorted(first) if (why := materials.refused(material)))
