"""A definition from Marathon that is none: no pass ends in a mistake, nothing is written on such a basis, and it passes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paasapp_world import World
from shuren.domain.app.decide import decide
from shuren.domain.app.plan import OUTSIDE, KillTasks, PutApp, ScaleApp
from shuren.domain.app.snapshot import ClusterView, Desired, Management, Resource, RolloutPolicy, Snapshot
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.marathon.state import ActualApp, TaskFailure

NONSENSE: tuple[dict[str, Any], ...] = (
    {"upgradeStrategy": "fast"},
    {"container": [1]},
    {"networks": {"mode": "host"}},
    {"healthChecks": ["HTTP"]},
    {"constraints": 5},
    {"cpus": "many"},
    {"fetch": [{"extract": True}]},
    {"unreachableStrategy": {"inactiveAfterSeconds": {}}, "readinessChecks": [7]},
)


@pytest.mark.parametrize("change", NONSENSE)
async def test_it_is_told_and_nothing_is_written_until_it_can_be_read(change: dict[str, Any]) -> None:
    world = World()
    world.apply(instances=2)
    await world.settle()
    actual = world.marathon.actual("/shop/web")
    assert actual is not None
    world.steps.clear()
    odd = dataclasses.replace(actual, definition={**actual.definition, **change})
    world.site.stale["/shop/web"] = (world.clock.monotonic(), odd)
    for _ in range(3):
        await world.round(everything=True)
    assert [step for step in world.steps if step.startswith("marathon")] == []
    assert world.conditions()["Ready"] == ("Unknown", "NotUnderstood")
    assert "/shop/web" in world.message()
    world.site.stale.clear()
    await world.settle()
    for _ in range(2):
        await world.round(everything=True)
    assert world.ready()
    assert [step for step in world.steps if step.startswith("marathon")] == []


async def test_whatever_length_its_words_have_the_status_can_be_written() -> None:
    world = World()
    world.apply(instances=2)
    await world.settle()
    actual = world.marathon.actual("/shop/web")
    assert actual is not None
    long = "9" * 40_000
    failure = TaskFailure(message=long, host=long, timestamp=long, task_id=long, state=long, version=long)
    odd = dataclasses.replace(actual, version=long, last_config_change_at=long, deployments=(long,), last_task_failure=failure)
    world.site.stale["/shop/web"] = (world.clock.monotonic(), odd)
    await world.round(everything=True)
    assert world.status()["lastTaskFailure"]["taskId"] == "9" * 1024
    assert world.status()["marathon"]["version"] == "9" * 64


_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=3),
    st.just([]),
    st.just([5]),
    st.just({}),
    st.just([{}]),
    st.just({"a": 5}),
)
_FIELDS = sorted(
    {"args", "cmd", "constraints", "container", "cpus", "env", "executor", "fetch", "gpus", "healthChecks", "ipAddress", "killSelection"}
    | {"labels", "networks", "portDefinitions", "ports", "readinessChecks", "requirePorts", "resourceLimits", "role", "secrets", "tty"}
    | {"acceptedResourceRoles", "backoffFactor", "check", "dependencies", "unreachableStrategy", "upgradeStrategy", "uris", "user"}
)


@given(st.dictionaries(st.sampled_from(_FIELDS), _ODD, min_size=1, max_size=3), st.integers(0, 3))
def test_no_definition_makes_the_decision_fail(change: dict[str, Any], instances: int) -> None:
    key = ObjectKey(kind="PaasApp", namespace="shop", name="web")
    definition = {"id": "/shop/web", "cmd": "sleep 1", "instances": 1, **change}
    snapshot = Snapshot(
        resource=Resource(key=key, uid="u", generation=1, finalizers=("paas.shurenyun.com/marathon-app",)),
        management=Management(ignore_paths=("/labels/a", "/container/volumes/0", "/instances")),
        rollout=RolloutPolicy(),
        cluster=ClusterView(name="bj1"),
        desired=Desired(app_id="/shop/web", definition={"id": "/shop/web", "cmd": "sleep 1", "instances": instances}, revision="r"),
        claim=Claim(app_id="/shop/web", uid="u", namespace="shop", name="web", epoch=1),
        app=ActualApp(id="/shop/web", definition=definition, version="1", last_config_change_at="1", last_scaling_at="1", instances=1),
    )
    plan = decide(snapshot)
    assert all(isinstance(action, (PutApp, ScaleApp, KillTasks)) for action in plan.actions if isinstance(action, OUTSIDE))
