"""A sandbox that several tests use one after the other: what one of them made is taken away after it, also when it failed half-way."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shuren.devenv.background import Sandbox

_OURS = ("shardmap", "paasservice", "paasapp", "mesoscluster")  # who refers to another goes before it
_THEIRS = ("configmap", "secret", "rolebinding", "namespace")
_SYSTEM = ("kube-", "shuren-system")
_CLUSTER = "mesoscluster/sandbox"


@dataclass(frozen=True, kw_only=True)
class Made:
    """One object that a person made."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}" + (f" in {self.namespace}" if self.namespace else "")


@contextmanager
def left_as_found(sandbox: Sandbox) -> Iterator[None]:
    """Whatever the block makes is gone afterwards, however it ends. AssertionError when it ends well and did not clean up after itself."""
    objects, apps, cluster = _objects(sandbox), _apps(sandbox), _cluster(sandbox)
    forgotten: list[str] = []
    ended_well = False
    try:
        yield
        ended_well = True
    finally:
        made = {one: going for one, going in _objects(sandbox).items() if one not in objects}
        if ended_well:
            going_namespaces = {one.name for one, going in made.items() if going and one.kind == "namespace"}
            forgotten = sorted(str(one) for one, going in made.items() if not going and one.namespace not in going_namespaces)
        now = _cluster(sandbox)
        if changed := [{"op": "add", "path": path, "value": value} for path, value in cluster.items() if now[path] != value]:
            sandbox.kubectl("patch", _CLUSTER, "--type=json", "-p", json.dumps(changed))
        _delete(sandbox, made, _OURS, "--timeout=120s")
        for app in sorted(_apps(sandbox) - apps):
            url = f"{sandbox.endpoints.marathon_url}/v2/apps/{app}?force=true"
            urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=30).close()  # noqa: S310 - our own http URL
        _delete(sandbox, made, _THEIRS, "--wait=false")
    if forgotten:
        raise AssertionError("left behind: " + ", ".join(forgotten))


def _delete(sandbox: Sandbox, made: Iterable[Made], kinds: tuple[str, ...], *how: str) -> None:
    for one in sorted((one for one in made if one.kind in kinds), key=lambda one: (kinds.index(one.kind), str(one))):
        where = ("-n", one.namespace) if one.namespace else ()
        sandbox.kubectl("delete", one.kind, one.name, *where, "--ignore-not-found", *how)


def _objects(sandbox: Sandbox) -> dict[Made, bool]:
    """Without what belongs to the system or to another object. The value: whether it is on its way out."""
    found = {}
    for item in sandbox.get(",".join((*_OURS, *_THEIRS)), "--all-namespaces")["items"]:
        metadata = item["metadata"]
        namespace = metadata.get("namespace", "")
        system = namespace.startswith(_SYSTEM) or metadata["name"] == "kube-root-ca.crt"
        if not system and "ownerReferences" not in metadata:
            found[Made(kind=item["kind"].lower(), namespace=namespace, name=metadata["name"])] = "deletionTimestamp" in metadata
    return found


def _apps(sandbox: Sandbox) -> set[str]:
    with urllib.request.urlopen(f"{sandbox.endpoints.marathon_url}/v2/apps", timeout=30) as answer:  # noqa: S310 - our own http URL
        return {app["id"] for app in json.load(answer)["apps"]}


def _cluster(sandbox: Sandbox) -> dict[str, Any]:
    """What a person may change of the sandbox's own MesosCluster, by path."""
    found = sandbox.get(_CLUSTER)
    return {"/spec": found["spec"], "/metadata/labels": found["metadata"].get("labels", {})}
