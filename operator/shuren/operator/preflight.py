"""What is looked at before anything starts: is the API server there, does it know our kinds, may we read them, and who are we."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shuren.domain.errors import Denied, Gone, Invalid, Throttled, Unreachable
from shuren.operator.settings import Settings
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import NAMESPACES, Kubernetes, Resource

log = logging.getLogger(__name__)

_PATIENCE = 30.0
"""Seconds that the API server gets to answer for the first time; after that the process ends and is started again by whoever runs it."""
_PAUSE = 1.0


async def check_kinds(kubernetes: Kubernetes, resources: Sequence[Resource], settings: Settings, clock: Clock) -> None:
    """Return when each kind can be listed. Invalid, with what to do, when the API server does not know one; Denied when we may not."""
    started = clock.monotonic()
    for resource in resources:
        namespace = settings.namespaces[0] if settings.namespaces and resource.namespaced else ""
        while True:
            try:
                await kubernetes.list(resource, name="-", namespace=namespace)
            except Gone as error:
                raise Invalid(
                    f"the API server does not know {resource.plural}.{resource.group}: "
                    "apply the CRDs first (kubectl apply --server-side -f crds/)"
                ) from error
            except Denied as error:
                raise Denied(
                    f"{error} (needed: get, list, watch on {resource.plural}.{resource.group}; manifests/base/rbac.yaml grants it)"
                ) from error
            except (Unreachable, Throttled) as error:
                if clock.monotonic() - started > _PATIENCE:
                    raise
                log.info("waiting for the API server: %s", error)
                await clock.sleep(_PAUSE)
            else:
                break


async def installation(kubernetes: Kubernetes, settings: Settings) -> str:
    """What tells this installation from all others that might use the same ZooKeeper: the cluster's own id, and our namespace in it.

    `SHUREN_INSTALLATION` overrides it, e.g. after the Kubernetes cluster has been rebuilt. Without the right to read the namespace
    kube-system it is the name of our namespace alone.
    """
    if settings.installation:
        return settings.installation
    try:
        namespace = await kubernetes.get(NAMESPACES, "", "kube-system")
    except Denied as error:
        log.warning(
            "%s (needed: get on namespaces); this installation calls itself %r in ZooKeeper. Set SHUREN_INSTALLATION if another one "
            "of that name uses the same root",
            error,
            settings.namespace,
        )
        return settings.namespace
    return f"{namespace['metadata']['uid']}/{settings.namespace}" if namespace is not None else settings.namespace
