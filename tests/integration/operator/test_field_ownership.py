"""Who owns which field: users the spec, the operator its status and its finalizer. A second pass over an unchanged world writes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shuren.devenv.errors import DevenvError
from tenant import Tenant, api_writes, broken, marathon_requests, passes, sleeper, until_quiet, web, writes_below

OPERATORS = {"shuren-status", "shuren-finalizer"}


def owners(tenant: Tenant, name: str) -> dict[str, dict[str, Any]]:
    """Field managers with the fields that they own, all their entries merged at the top."""
    found: dict[str, dict[str, Any]] = {}
    for entry in json.loads(tenant.kubectl("get", "paasapp", name, "--show-managed-fields", "-o", "json"))["metadata"]["managedFields"]:
        found.setdefault(entry["manager"], {}).update(entry["fieldsV1"])
    return found


def server_side(manager: str, *options: str) -> tuple[str, ...]:
    return ("--server-side", f"--field-manager={manager}", *options)


def test_the_operator_owns_status_and_finalizer_and_never_a_field_of_the_spec(tenant: Tenant) -> None:
    fast = {"rollout": {"deadlineSeconds": 3}, "instances": 1}
    tenant.apply("web", web("1", **fast), *server_side("alice"))
    tenant.wait("web")
    tenant.kubectl("scale", "paasapp/web", "--replicas=2")
    tenant.wait("web")
    tenant.apply("web", broken("2", rollout={"deadlineSeconds": 3}, instances=2), *server_side("alice", "--force-conflicts"))
    tenant.until_reason("web", "RolledBack")

    found = owners(tenant, "web")

    users = {"alice", "kubectl"}
    assert {manager for manager, fields in found.items() if "f:spec" in fields} <= users
    for manager in found.keys() - users:
        fields = found[manager]
        assert fields.keys() <= {"f:status", "f:metadata"}, manager
        assert fields.get("f:metadata", {}).keys() <= {"f:finalizers"}, manager


def test_two_users_conflict_with_each_other_and_the_operator_follows_who_wins(tenant: Tenant) -> None:
    tenant.apply("web", sleeper(labels={"tier": "a"}), *server_side("alice"))
    tenant.wait("web")

    with pytest.raises(DevenvError, match='conflict with "alice"') as refused:
        tenant.apply("web", sleeper(labels={"tier": "b"}), *server_side("bob"))

    assert ".spec.labels.tier" in str(refused.value)
    assert not any(name in str(refused.value) for name in OPERATORS)
    tenant.apply("web", sleeper(labels={"tier": "b"}), *server_side("bob", "--force-conflicts"))
    tenant.wait("web")
    app = tenant.engine.app(tenant.app_id("web"))
    assert app is not None
    assert app["labels"] == {"tier": "b"}


def test_who_applies_the_same_again_gets_no_conflict_with_the_operator(tenant: Tenant) -> None:
    """GitOps tools apply the same manifest every few minutes, with and without --server-side."""
    spec = sleeper()
    del spec["instances"]
    tenant.apply("git", spec, *server_side("argocd-controller"))
    tenant.apply("cli", spec)
    for name in ("git", "cli"):
        tenant.wait(name)
        tenant.kubectl("scale", f"paasapp/{name}", "--replicas=2")
        tenant.wait(name)
    tasks = {name: set(tenant.tasks(name)) for name in ("git", "cli")}

    assert "unchanged" in tenant.apply("cli", spec)
    tenant.apply("git", spec, *server_side("argocd-controller"))

    for name in ("git", "cli"):
        tenant.wait(name)
        assert tenant.app(name)["spec"]["instances"] == 2, "who does not name the number of instances does not take it back"
        assert set(tenant.tasks(name)) == tasks[name]


def test_another_pass_over_an_unchanged_world_writes_nothing(tenant: Tenant) -> None:
    sandbox = tenant.sandbox
    tenant.kubectl(
        "create", "rolebinding", "reader", "--clusterrole=shuren-secrets-reader", "--serviceaccount=shuren-system:shuren-operator"
    )
    tenant.kubectl("create", "secret", "generic", "login", "--from-literal=password=squirrel")
    reference = {"name": "PASSWORD", "secretKeyRef": {"name": "login", "key": "password"}}
    patch = {"op": "add", "path": "/labels", "value": {"patched": "yes"}}
    specs = {
        "plain": sleeper(),
        "checked": web("1", instances=1),
        "secret": sleeper(envRefs=[reference], patches=[patch]),
        "stopped": sleeper(instances=0),
        "waiting": sleeper(cpus=1000),
        "refused": sleeper(role="nobody"),
        "undone": web("1", instances=1, rollout={"deadlineSeconds": 3}),
    }
    for name, spec in specs.items():
        tenant.apply(name, spec)
    for name in ("plain", "checked", "secret", "stopped", "undone"):
        tenant.wait(name)
    tenant.apply("undone", broken("2", instances=1, rollout={"deadlineSeconds": 3}))
    tenant.until_reason("undone", "RolledBack")
    tenant.until_reason("refused", "RefusedByMarathon")
    tenant.until(lambda: tenant.status("waiting").get("waiting", {}).get("reason") == "InsufficientCpus", about="waiting")
    until_quiet(sandbox)
    before = {name: tenant.app(name) for name in specs}
    nodes, deployments, requests = writes_below(sandbox), tenant.engine.counter("deployments"), marathon_requests(sandbox)
    audited, made = sandbox.audited(), passes(sandbox)

    tenant.kubectl("annotate", "paasapps", "--all", "note=looked-at")

    tenant.until(lambda: passes(sandbox) >= made + len(specs))
    assert api_writes(sandbox, audited) == []
    assert writes_below(sandbox) == nodes
    assert tenant.engine.counter("deployments") == deployments
    after = marathon_requests(sandbox)
    assert {verb: after[verb] - requests.get(verb, 0) for verb in after if verb != "GET" and after[verb] != requests.get(verb, 0)} == {}
    for name in specs:
        assert tenant.status(name) == before[name]["status"]
