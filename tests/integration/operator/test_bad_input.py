"""What is wrong is refused with the field and the fix, or waited for, and heals by itself; what runs stays up meanwhile."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shuren.devenv.errors import DevenvError
from tenant import Tenant, sleeper, web

SECRET = "correct-horse-battery-staple"
READER = ("--clusterrole=shuren-secrets-reader", "--serviceaccount=shuren-system:shuren-operator")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"instances": -1}, ["spec.instances", "greater than or equal to 0"]),
        ({"instances": "two"}, ["spec.instances", "integer"]),
        ({"instancez": 2}, ['unknown field "spec.instancez"']),
        ({"clusterRef": None}, ["spec.clusterRef", "Required value"]),
        ({"cmd": None}, ["spec: Required value: nothing to run: give cmd, args, or container.docker.image"]),
        ({"env": {"PORT": 80}}, ["spec.env: PORT: must be a string (write numbers and true/false in quotes)"]),
        ({"id": "/Shop/Web"}, ["spec.id", "lower-case letters"]),
        ({"patches": [{"op": "replace", "path": "/id", "value": "/x"}]}, ["/id cannot be patched: set spec.id"]),
        ({"upgradeStrategy": {"minimumHealthCapacity": 2}}, ["spec.upgradeStrategy.minimumHealthCapacity", "less than or equal to 1"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_the_api_server_refuses_with_the_field_and_the_fix(tenant: Tenant, wrong: dict[str, Any], words: list[str]) -> None:
    spec = {key: value for key, value in sleeper(**wrong).items() if value is not None}

    with pytest.raises(DevenvError) as refused:
        tenant.apply("web", spec)

    for word in words:
        assert word in str(refused.value)
    assert tenant.app("web") == {}


def test_what_only_marathon_can_judge_is_told_in_its_words_and_the_running_version_stays(tenant: Tenant) -> None:
    tenant.run("web", web("1", instances=1))
    tasks = set(tenant.tasks("web"))

    tenant.apply("web", web("2", instances=1, role="nobody"))

    message = tenant.until_reason("web", "RefusedByMarathon", "Stalled")
    assert "/role: got nobody, expected one of: [*, " in message
    assert "what runs stays as it is until the spec is changed" in message
    assert tenant.condition("web", "Ready")["status"] == "False"
    assert set(tenant.tasks("web")) == tasks
    assert tenant.answers("web") == ["1"]

    tenant.apply("web", web("3", instances=1))
    tenant.wait("web")
    assert tenant.condition("web", "Stalled") == {}
    assert tenant.answers("web") == ["3"]


def test_a_name_that_marathon_has_for_a_group_is_refused_in_its_words(tenant: Tenant) -> None:
    tenant.run("deep", sleeper(id=f"/{tenant.namespace}/shop/web"))

    tenant.apply("shop", sleeper())

    message = tenant.until_reason("shop", "RefusedByMarathon", "Stalled")
    assert "Groups and Applications may not have the same identifier" in message
    assert len(tenant.engine.tasks(f"/{tenant.namespace}/shop/web")) == 1


def test_a_missing_secret_is_waited_for_a_changed_one_rolls_and_no_value_is_ever_shown(tenant: Tenant) -> None:
    tenant.kubectl("create", "rolebinding", "reader", *READER)
    reference = {"name": "VERSION", "secretKeyRef": {"name": "login", "key": "password"}}
    spec = web("", instances=1, envRefs=[reference])
    del spec["env"]

    tenant.apply("web", spec)
    message = tenant.until_reason("web", "SecretMissing")
    assert message == "waiting for Secret login, key password in the namespace of this resource"
    assert tenant.engine.app(tenant.app_id("web")) is None

    tenant.kubectl("create", "secret", "generic", "login", "--from-literal=user=root")
    assert tenant.until_reason("web", "SecretMissing") == message, "the key is still missing"

    _set(tenant, "login", "password", SECRET)
    tenant.wait("web")
    assert tenant.answers("web") == [SECRET]

    _set(tenant, "login", "password", SECRET + "-2")
    tenant.until(lambda: tenant.answers("web") == [SECRET + "-2"], about="web")
    tenant.wait("web")
    assert len(tenant.revisions("web")) == 2

    tenant.kubectl("delete", "secret", "login")
    tenant.until_reason("web", "SecretMissing")
    assert tenant.answers("web") == [SECRET + "-2"], "what runs stays up"

    shown = [
        tenant.kubectl("get", "paasapps,controllerrevisions,events.events.k8s.io", "-o", "yaml", "--show-managed-fields"),
        *(path.read_text() for path in tenant.sandbox.place.logs.glob("operator-*.log")),
    ]
    for text in shown:
        assert SECRET not in text
        assert base64.b64encode(SECRET.encode()).decode()[:-2] not in text


def _set(tenant: Tenant, secret: str, key: str, value: str) -> None:
    tenant.kubectl("patch", "secret", secret, "--type=merge", f'-p={{"stringData": {{"{key}": "{value}"}}}}')


def test_a_config_map_as_a_file_and_its_change(tenant: Tenant) -> None:
    tenant.kubectl("create", "rolebinding", "reader", *READER)
    serve = 'exec python3 -m http.server "$PORT0" --bind "$HOST" --directory site'
    spec = web("", instances=1, cmd=serve, filesFrom=[{"path": "site/index.html", "configMapKeyRef": {"name": "page", "key": "html"}}])
    tenant.apply("web", spec)
    tenant.until_reason("web", "ConfigMapMissing")

    tenant.kubectl("create", "configmap", "page", "--from-literal=html=hello")
    tenant.wait("web")
    assert tenant.answers("web") == ["hello"]

    tenant.kubectl("patch", "configmap", "page", "--type=merge", '-p={"data": {"html": "bye"}}')
    tenant.until(lambda: tenant.answers("web") == ["bye"], about="web")


def test_a_secret_that_the_operator_may_not_read_is_told_with_the_command_that_grants_it(tenant: Tenant, may_be_refused: list[str]) -> None:
    may_be_refused.append(tenant.namespace)
    tenant.kubectl("create", "secret", "generic", "login", "--from-literal=password=x")
    reference = {"name": "PASSWORD", "secretKeyRef": {"name": "login", "key": "password"}}

    tenant.apply("web", sleeper(envRefs=[reference]))

    message = tenant.until_reason("web", "ReferencesDenied")
    assert 'cannot list resource "secrets"' in message
    command = message.partition("To allow it: kubectl ")[2]
    tenant.sandbox.kubectl(*command.split())
    tenant.wait("web")
