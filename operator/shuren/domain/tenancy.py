"""Which namespaces may use a cluster, and which app ids each may claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from shuren.domain.marathon.paths import within


class Operator(Enum):
    """Kubernetes' label selector operators."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """One `matchExpressions` entry."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it; NotIn holds for a missing label, as in Kubernetes."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """A label selector; the empty one matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether all requirements hold."""
        return all(requirement.matches(labels) for requirement in self.requirements)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixRule:
    """Namespaces that `selector` matches may claim ids below any of `prefixes`."""

    selector: Selector
    prefixes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tenancy:
    """Of one cluster. Without rules a namespace may claim ids below `/<namespace>` only; rules add to that."""

    namespaces: Selector = Selector()
    rules: tuple[PrefixRule, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Namespace:
    """What decisions need of a Kubernetes namespace."""

    name: str
    labels: Mapping[str, str]


def allowed_prefixes(tenancy: Tenancy, namespace: Namespace) -> tuple[str, ...]:
    """All prefixes this namespace may claim ids below, sorted."""
    found = {f"/{namespace.name}"}
    for rule in tenancy.rules:
        if rule.selector.matches(namespace.labels):
            found |= set(rule.prefixes)
    return tuple(sorted(found))


def refusal(tenancy: Tenancy, namespace: Namespace, app_id: str, *, cluster: str) -> str | None:
    """Why this namespace may not claim the id, as a sentence with what to do; None when it may."""
    if not tenancy.namespaces.matches(namespace.labels):
        return (
            f"namespace {namespace.name} may not use cluster {cluster}: its labels do not match "
            "spec.tenancy.namespaces of the MesosCluster; label the namespace or choose another cluster"
        )
    prefixes = allowed_prefixes(tenancy, namespace)
    if any(within(app_id, prefix) for prefix in prefixes):
        return None
    return (
        f"namespace {namespace.name} may claim ids below {_listed(prefixes)} in cluster {cluster}, not {app_id}; "
        "change spec.id, or add a prefix under spec.tenancy.idPrefixes of the MesosCluster"
    )


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:5]) + (" …" if len(items) > 5 else "")  # noqa: PLR2004 - enough to see the pattern
