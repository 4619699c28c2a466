"""Which app in Marathon is whose: claims, changes of id, adoption, tenancy, clusters that come later."""

from __future__ import annotations

from typing import Any

from tenant import Tenant, claims, looking, sleeper, web


def test_of_two_resources_that_want_one_id_the_first_has_it_and_the_second_gets_it_afterwards(tenant: Tenant) -> None:
    shared = f"/{tenant.namespace}/shared"
    tenant.run("first", sleeper(id=shared))
    tasks = set(tenant.engine.tasks(shared))

    tenant.apply("second", sleeper(id=shared, cmd="exec sleep 7777"))

    message = tenant.until_reason("second", "OwnedByOther", "Stalled")
    assert f"app id {shared} is claimed by PaasApp {tenant.namespace}/first; choose another spec.id, or delete that resource" in message
    assert set(tenant.engine.tasks(shared)) == tasks
    tenant.kubectl("delete", "paasapp", "first", "--timeout=90s")
    tenant.wait("second")
    assert set(tenant.claims()) == {shared}
    app = tenant.engine.app(shared)
    assert app is not None
    assert app["cmd"] == "exec sleep 7777"


def test_a_loser_that_is_deleted_takes_nothing_along(tenant: Tenant) -> None:
    shared = f"/{tenant.namespace}/shared"
    tenant.run("first", sleeper(id=shared))
    tenant.apply("second", sleeper(id=shared))
    tenant.until_reason("second", "OwnedByOther")

    tenant.kubectl("delete", "paasapp", "second", "--timeout=90s")

    assert len(tenant.engine.tasks(shared)) == 1
    assert tenant.claims()[shared]["name"] == "first"


def test_a_changed_id_starts_the_new_app_before_the_old_one_goes(tenant: Tenant) -> None:
    old, new = tenant.app_id("web"), f"/{tenant.namespace}/moved"
    tenant.run("web", web("1", instances=1))

    def healthy(app_id: str) -> int:
        return int((tenant.engine.app(app_id) or {}).get("tasksHealthy", 0))

    with looking(lambda: healthy(old) + healthy(new)) as seen:
        tenant.apply("web", web("2", instances=1, id=new))
        tenant.until(lambda: tenant.engine.app(old) is None, about="web")

    assert min(seen) >= 1, "the old app serves until the new one does"
    tenant.wait("web")
    assert len(tenant.engine.tasks(new)) == 1
    assert set(tenant.claims()) == {new}
    assert tenant.status("web")["marathon"]["id"] == new


def foreign(tenant: Tenant, **fields: Any) -> set[str]:
    """An app that somebody put into Marathon himself, running; returns its tasks."""
    definition = {key: value for key, value in sleeper(**fields).items() if key != "clusterRef"}
    tenant.engine.ask("POST", "/v2/apps", {"id": tenant.app_id("web"), **definition})
    tenant.until(lambda: len(tenant.tasks("web")) == 1)
    return set(tenant.tasks("web"))


def test_an_app_that_nobody_claimed_is_not_touched_and_an_identical_one_is_adopted_without_a_restart(tenant: Tenant) -> None:
    tasks = foreign(tenant)

    tenant.apply("web", sleeper())
    message = tenant.until_reason("web", "NotAdopted", "Stalled")
    assert "exists in Marathon and no resource owns it (nothing would change); set spec.management.adoption to AdoptIfIdentical" in message
    assert tenant.claims() == {}

    tenant.apply("web", sleeper(management={"adoption": "AdoptIfIdentical"}))
    tenant.wait("web")
    assert set(tenant.tasks("web")) == tasks
    assert set(tenant.claims()) == {tenant.app_id("web")}

    tenant.kubectl("patch", "paasapp", "web", "--type=merge", '-p={"spec": {"management": {"deletion": "Orphan"}}}')
    tenant.kubectl("delete", "paasapp", "web", "--timeout=90s")
    assert set(tenant.tasks("web")) == tasks, "orphaned: it runs on"
    assert tenant.claims() == {}
    tenant.engine.ask("DELETE", f"/v2/apps/{tenant.app_id('web')}")


def test_an_app_that_differs_is_adopted_only_when_it_may_be_changed(tenant: Tenant) -> None:
    tasks = foreign(tenant)

    tenant.apply("web", sleeper(cmd="exec sleep 5555", management={"adoption": "AdoptIfIdentical"}))
    message = tenant.until_reason("web", "NotIdentical", "Stalled")
    assert "/cmd" in message
    assert set(tenant.tasks("web")) == tasks

    tenant.apply("web", sleeper(cmd="exec sleep 5555", management={"adoption": "Adopt"}))
    tenant.wait("web")
    assert not set(tenant.tasks("web")) & tasks


def test_a_refused_adoption_that_is_deleted_takes_nothing_along(tenant: Tenant) -> None:
    tasks = foreign(tenant)
    tenant.apply("web", sleeper())
    tenant.until_reason("web", "NotAdopted")

    tenant.kubectl("delete", "paasapp", "web", "--timeout=90s")

    assert set(tenant.tasks("web")) == tasks
    tenant.engine.ask("DELETE", f"/v2/apps/{tenant.app_id('web')}")


def test_an_observed_app_is_shown_and_neither_claimed_nor_changed(tenant: Tenant) -> None:
    tasks = foreign(tenant)

    tenant.apply("web", sleeper(cmd="exec sleep 5555", management={"policy": "ObserveOnly"}))
    tenant.wait("web")

    assert tenant.status("web")["counts"]["running"] == 1
    assert tenant.condition("web", "InSync")["status"] == "False"
    assert "finalizers" not in tenant.app("web")["metadata"]
    assert tenant.claims() == {}
    tenant.kubectl("delete", "paasapp", "web", "--timeout=90s")
    assert set(tenant.tasks("web")) == tasks
    tenant.engine.ask("DELETE", f"/v2/apps/{tenant.app_id('web')}")


def test_a_cluster_that_comes_later_is_waited_for(tenant: Tenant) -> None:
    name = f"second-{tenant.namespace}"
    tenant.apply("web", sleeper(clusterRef={"name": name}))
    message = tenant.until_reason("web", "ClusterNotFound")
    assert message == f"MesosCluster {name} does not exist (spec.clusterRef.name); waiting for it"

    with tenant.second_cluster():
        tenant.wait("web")

        assert len(tenant.tasks("web")) == 1
        assert set(claims(tenant.sandbox, f"/shuren/{name}")) == {tenant.app_id("web")}
        assert tenant.claims() == {}


def test_a_namespace_stays_below_its_prefixes_until_the_cluster_grants_another(tenant: Tenant) -> None:
    with tenant.second_cluster() as name:
        wanted = f"/granted-{tenant.namespace}/web"
        tenant.apply("web", sleeper(id=wanted, clusterRef={"name": name}))
        message = tenant.until_reason("web", "NotAllowed", "Stalled")
        assert f"namespace {tenant.namespace} may claim ids below /{tenant.namespace} in cluster {name}, not {wanted}" in message
        assert "change spec.id, or add a prefix under spec.tenancy.idPrefixes of the MesosCluster" in message
        assert tenant.engine.app(wanted) is None

        selector = f'{{"matchLabels": {{"kubernetes.io/metadata.name": "{tenant.namespace}"}}}}'
        rule = f'{{"namespaceSelector": {selector}, "prefixes": ["/granted-{tenant.namespace}"]}}'
        patch = f'-p={{"spec": {{"tenancy": {{"idPrefixes": [{rule}]}}}}}}'
        tenant.sandbox.kubectl("patch", "mesoscluster", name, "--type=merge", patch)
        tenant.wait("web")
        assert len(tenant.engine.tasks(wanted)) == 1


def test_a_namespace_that_a_cluster_does_not_serve_is_told_so_until_it_is_labelled(tenant: Tenant) -> None:
    with tenant.second_cluster(tenancy={"namespaces": {"matchLabels": {"paas": "yes"}}}) as name:
        tenant.apply("web", sleeper(clusterRef={"name": name}))
        message = tenant.until_reason("web", "NotAllowed", "Stalled")
        assert f"namespace {tenant.namespace} may not use cluster {name}: its labels do not match spec.tenancy.namespaces" in message

        tenant.sandbox.kubectl("label", "namespace", tenant.namespace, "paas=yes")
        tenant.wait("web")
