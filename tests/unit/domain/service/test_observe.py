"""Where a service answers: every networking mode, every state, weights, and health that is forgotten or bad all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.marathon.state import ActualApp, Health, Task, TaskState
from shuren.domain.service.observe import AddressBackend, Agent, AppBackend, Backend, Share, declared_ports, observe, summary
from shuren.domain.service.values import Endpoint, EndpointState

HOST: Mapping[str, Any] = {
    "networks": [{"mode": "host"}],
    "portDefinitions": [{"port": 10000, "name": "http", "protocol": "tcp"}, {"port": 10001, "name": "admin", "protocol": "udp,tcp"}],
    "healthChecks": [{"protocol": "MESOS_HTTP"}],
}
STARTING, READY, DRAINING, UNHEALTHY = EndpointState


def task(number: int = 1, **fields: Any) -> Task:
    given: dict[str, Any] = {
        "id": f"web.{number}",
        "app_id": "/web",
        "state": TaskState.RUNNING,
        "host": f"127.0.0.{number}",
        "agent_id": f"S{number}",
        "ports": (31000, 31001),
        "ip_addresses": (f"172.17.0.{number}",),
        "version": "2026-01-01T00:00:00.000Z",
        "health": Health.HEALTHY,
    }
    return Task(**(given | fields))


def app(*tasks: Task, definition: Mapping[str, Any] = HOST, app_id: str = "/web", **fields: Any) -> ActualApp:
    return ActualApp(
        id=app_id,
        definition=definition,
        version="2026-01-01T00:00:00.000Z",
        last_config_change_at="2026-01-01T00:00:00.000Z",
        last_scaling_at="2026-01-01T00:00:00.000Z",
        instances=len(tasks),
        tasks=tasks,
        **fields,
    )


def backend(*apps: ActualApp, port: str | int = "http", **fields: Any) -> AppBackend:
    return AppBackend(apps=apps, port=port, **fields)


def one(given_app: ActualApp, *, port: str | int = "http", before: Endpoint | None = None, **fields: Any) -> Endpoint:
    (endpoint,) = observe([backend(given_app, port=port, **fields)], before=() if before is None else (before,)).endpoints
    return endpoint


def container(mode: str, *mappings: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"networks": [{"mode": mode, "name": "dcos"}], "container": {"type": "MESOS", "portMappings": list(mappings)}}


@pytest.mark.parametrize(
    ("definition", "port", "address", "number"),
    [
        pytest.param(HOST, "http", "127.0.0.1", 31000, id="host by name"),
        pytest.param(HOST, 1, "127.0.0.1", 31001, id="host by index"),
        pytest.param(
            container("container/bridge", {"containerPort": 80, "hostPort": 0, "name": "web"}), "web", "127.0.0.1", 31000, id="bridge"
        ),
        pytest.param(
            container("container/bridge", {"containerPort": 1, "name": "a"}, {"containerPort": 80, "hostPort": 0, "name": "web"}),
            "web",
            "127.0.0.1",
            31000,
            id="only mappings with a host port count",
        ),
        pytest.param(container("container", {"containerPort": 8080, "name": "web"}), "web", "172.17.0.1", 8080, id="own address"),
        pytest.param(
            container("container", {"containerPort": 8080, "hostPort": 0, "name": "web"}), 0, "172.17.0.1", 8080, id="own address, mapped"
        ),
        pytest.param(container("container", {"containerPort": 0, "hostPort": 0}), 0, "172.17.0.1", 31000, id="same port inside as outside"),
    ],
)
def test_address_and_port_of_every_networking_mode(definition: Mapping[str, Any], port: str | int, address: str, number: int) -> None:
    endpoint = one(app(task(), definition=definition), port=port)
    assert (endpoint.address, endpoint.port) == (address, number)


def test_the_agents_address_and_zone_come_from_mesos() -> None:
    named = task(host="agent-1.example")
    seen = observe([backend(app(named))], agents={"S1": Agent(address="127.0.0.9", zone="bj-a")}).endpoints
    assert [(e.address, e.agent, e.zone) for e in seen] == [("127.0.0.9", "agent-1.example", "bj-a")]


def test_other_named_ports_of_a_task_are_told_too() -> None:
    assert one(app(task())).ports == {"http": 31000, "admin": 31001}


@pytest.mark.parametrize(
    "nowhere",
    [
        app(task(ports=())),
        app(task(host="", ports=(1, 2))),
        app(task(ip_addresses=()), definition=container("container", {"containerPort": 80, "name": "http"})),
        app(task(), definition=container("container", {"containerPort": 0, "name": "http"})),
    ],
)
def test_a_task_without_an_address_is_no_endpoint_yet(nowhere: ActualApp) -> None:
    assert observe([backend(nowhere)]) == observe([backend(app())])


@pytest.mark.parametrize(("port", "words"), [("https", "no port named 'https': it has http, admin"), (2, "no port with index 2")])
def test_a_port_that_the_app_has_not_is_told_and_the_rest_goes_on(port: str | int, words: str) -> None:
    seen = observe([backend(app(task()), port=port), backend(app(task(2), app_id="/b"))])
    assert [str(p) for p in seen.problems if words in str(p)]
    assert len(seen.endpoints) == 1


def test_an_app_without_ports_says_so() -> None:
    (problem,) = observe([backend(app(task(), definition={"networks": [{"mode": "host"}]}))]).problems
    assert str(problem) == "/web has no port named 'http': it has no ports"


# ---------------------------------------------------------------------------------------------------- states


@pytest.mark.parametrize(
    ("state", "health", "before", "after"),
    [
        (TaskState.STAGING, Health.UNKNOWN, None, STARTING),
        (TaskState.STARTING, Health.UNKNOWN, None, STARTING),
        (TaskState.RUNNING, Health.UNKNOWN, None, STARTING),
        (TaskState.RUNNING, Health.HEALTHY, None, READY),
        (TaskState.RUNNING, Health.HEALTHY, UNHEALTHY, READY),
        (TaskState.RUNNING, Health.UNHEALTHY, None, STARTING),
        (TaskState.RUNNING, Health.UNHEALTHY, STARTING, STARTING),
        (TaskState.RUNNING, Health.UNHEALTHY, UNHEALTHY, UNHEALTHY),
        (TaskState.RUNNING, Health.UNKNOWN, READY, READY),
        (TaskState.RUNNING, Health.UNKNOWN, UNHEALTHY, UNHEALTHY),
        (TaskState.RUNNING, Health.UNKNOWN, STARTING, STARTING),
        (TaskState.RUNNING, Health.HEALTHY, DRAINING, READY),
        (TaskState.KILLING, Health.HEALTHY, READY, DRAINING),
        (TaskState.UNREACHABLE, Health.UNKNOWN, STARTING, UNHEALTHY),
    ],
)
def test_the_state_of_a_task(state: TaskState, health: Health, before: EndpointState | None, after: EndpointState) -> None:
    given_app = app(task(state=state, health=health))
    former = None if before is None else replace(one(app(task())), state=before)
    assert one(given_app, before=former).state is after


@pytest.mark.parametrize("state", [s for s in TaskState if not s.active])
def test_a_terminal_task_is_gone(state: TaskState) -> None:
    assert not observe([backend(app(task(state=state)))], before=[one(app(task()))]).endpoints


def test_without_checks_a_running_task_is_ready() -> None:
    assert one(app(task(health=Health.UNKNOWN), definition={**HOST, "healthChecks": []})).state is READY


def test_a_chosen_victim_drains_whatever_its_health() -> None:
    for health in Health:
        assert one(app(task(health=health)), draining=frozenset({"web.1"})).state is DRAINING


def test_all_forgotten_health_leaves_every_state_as_it_was() -> None:
    tasks = [task(n) for n in range(1, 5)]
    former = [replace(e, state=s) for e, s in zip(observe([backend(app(*tasks))]).endpoints, [READY, READY, UNHEALTHY, READY], strict=True)]
    forgotten = app(*(replace(t, health=Health.UNKNOWN) for t in tasks))
    assert [e.state for e in observe([backend(forgotten)], before=former).endpoints] == [READY, READY, UNHEALTHY, READY]


# ---------------------------------------------------------------------------------------------------- readiness

READINESS: Mapping[str, Any] = {**HOST, "readinessChecks": [{"name": "r"}]}
NEW = "2026-01-01T00:00:00.000Z"
OLD = "2025-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("version", "deployments", "ready_tasks", "state"),
    [
        pytest.param(NEW, (), None, READY, id="no deployment, no check performed"),
        pytest.param(NEW, ("d",), None, STARTING, id="no result yet"),
        pytest.param(NEW, ("d",), (), STARTING, id="not ready"),
        pytest.param(NEW, ("d",), ("web.1",), READY, id="ready"),
        pytest.param(OLD, ("d",), (), READY, id="of the former configuration"),
    ],
)
def test_readiness_counts_while_marathon_performs_it(
    version: str, deployments: tuple[str, ...], ready_tasks: tuple[str, ...] | None, state: EndpointState
) -> None:
    seen = one(app(task(version=version), definition=READINESS, deployments=deployments, ready_tasks=ready_tasks))
    assert seen.state is state


def test_what_serves_does_not_go_back_when_a_deployment_begins() -> None:
    before = one(app(task(), definition=READINESS))
    assert one(app(task(), definition=READINESS, deployments=("d",)), before=before).state is READY


# ---------------------------------------------------------------------------------------------------- panic


def _with_bad(bad: int, of: int, threshold: float = 0.5) -> tuple[list[EndpointState], bool]:
    tasks = [task(n) for n in range(1, of + 1)]
    before = observe([backend(app(*tasks))]).endpoints
    now = app(*(replace(t, health=Health.UNHEALTHY) if n < bad else t for n, t in enumerate(tasks)))
    seen = observe([backend(now)], before=before, panic_threshold=threshold)
    return [e.state for e in seen.endpoints], seen.panic


def test_a_few_bad_ones_are_taken_out() -> None:
    assert _with_bad(2, 4) == ([UNHEALTHY, UNHEALTHY, READY, READY], False)


def test_most_of_them_bad_at_once_go_on_serving() -> None:
    assert _with_bad(3, 4) == ([READY] * 4, True)
    assert _with_bad(1, 1) == ([READY], True)


def test_the_threshold_is_the_users() -> None:
    assert _with_bad(3, 4, threshold=1.0) == ([UNHEALTHY] * 3 + [READY], False)
    assert _with_bad(1, 4, threshold=0.0) == ([READY] * 4, True)


def test_panic_ends_when_enough_are_good_again() -> None:
    tasks = [task(n) for n in range(1, 5)]
    sick = [replace(t, health=Health.UNHEALTHY) for t in tasks]
    first = observe([backend(app(*tasks))]).endpoints
    second = observe([backend(app(*sick))], before=first)
    assert second.panic
    third = observe([backend(app(*tasks[:2], *sick[2:]))], before=second.endpoints)
    assert not third.panic
    assert [e.state for e in third.endpoints] == [READY, READY, UNHEALTHY, UNHEALTHY]


# ---------------------------------------------------------------------------------------------------- weights


def weights(*backends: Backend) -> dict[str, int]:
    return {e.id: e.weight for e in observe(backends).endpoints}


def test_one_backend_has_the_usual_weight() -> None:
    assert set(weights(backend(app(task(1), task(2)), weight=7)).values()) == {100}


def test_backends_share_by_weight_however_many_endpoints_they_have() -> None:
    stable = backend(app(*(task(n) for n in range(1, 10))), weight=90)
    canary = backend(app(task(11), app_id="/canary"), weight=10)
    seen = weights(stable, canary)
    total = sum(seen.values())
    assert abs(seen["web.11:0"] / total - 0.1) < 0.01


def test_a_weight_of_zero_takes_nothing_and_the_smallest_share_is_not_rounded_away() -> None:
    seen = weights(backend(app(task(1)), weight=0), backend(app(task(2), app_id="/b"), weight=100))
    assert seen == {"web.1:0": 0, "web.2:0": 256}
    tiny = weights(backend(app(task(1)), weight=1), backend(app(task(2), app_id="/b"), weight=1000))
    assert tiny["web.1:0"] == 1


def test_external_addresses_are_ready_endpoints() -> None:
    seen = observe([AddressBackend(addresses=(("db-1.example", 5432), ("127.0.0.7", 5432)))]).endpoints
    assert [(e.id, e.state) for e in seen] == [("127.0.0.7:5432", READY), ("db-1.example:5432", READY)]


def test_a_task_named_by_two_backends_is_one_endpoint_of_the_first() -> None:
    shared = app(task(1))
    seen = observe([backend(shared, weight=50), backend(shared, weight=100)]).endpoints
    assert [(e.id, e.weight) for e in seen] == [("web.1:0", 128)]


TASKS = st.builds(
    task,
    st.integers(min_value=1, max_value=6),
    state=st.sampled_from(TaskState),
    health=st.sampled_from(Health),
    ports=st.sampled_from([(), (31000,), (31000, 31001)]),
)


@given(st.lists(TASKS, max_size=6, unique_by=lambda t: t.id), st.lists(TASKS, max_size=6, unique_by=lambda t: t.id), st.booleans())
def test_looking_again_at_an_unchanged_world_changes_nothing(first: list[Task], second: list[Task], deploying: bool) -> None:  # noqa: FBT001
    before = observe([backend(app(*first))]).endpoints
    now = app(*second, deployments=("d",) if deploying else ())
    once = observe([backend(now)], before=before)
    twice = observe([backend(now)], before=once.endpoints)
    assert twice == once
    assert [e.id for e in once.endpoints] == sorted({e.id for e in once.endpoints})


def test_ports_are_counted_as_declared() -> None:
    bridge = app(definition=container("container/bridge", {"containerPort": 1}, {"containerPort": 2, "hostPort": 5, "protocol": "udp"}))
    assert [(p.index, p.host, p.protocols, p.shown) for p in declared_ports(bridge)] == [(0, None, ("tcp",), "0"), (1, 0, ("udp",), "1")]


def test_counts_for_the_status() -> None:
    counts = summary(observe([backend(app(task(1), task(2, state=TaskState.STAGING), task(3, state=TaskState.KILLING)))]).endpoints)
    assert (counts.total, counts.ready, counts.by_state) == (3, 1, {READY: 1, STARTING: 1, DRAINING: 1})


# ---------------------------------------------------------------------------------------------------- two versions side by side


def split(old: int, new: int, percent: int, *more: ActualApp, bad: int = 0) -> dict[str, int]:
    """Weights by task: `old` tasks of /web and `new` of /web-alt beside it, `bad` of which have never been healthy."""
    first = app(*(task(n) for n in range(1, old + 1)))
    tasks = (task(n, id=f"new.{n}", app_id="/web-alt", health=Health.UNHEALTHY if n <= bad else Health.HEALTHY) for n in range(1, new + 1))
    second = app(*tasks, app_id="/web-alt")
    shares = {"/web-alt": Share(beside="/web", percent=percent)}
    return {e.task: e.weight for e in observe([backend(first, second, *more, shares=shares)]).endpoints}


@pytest.mark.parametrize(
    ("old", "new", "percent", "each_old", "each_new"),
    [
        pytest.param(2, 1, 50, 128, 256, id="half of the traffic, half as many"),
        pytest.param(9, 1, 10, 256, 256, id="its share by its number"),
        pytest.param(2, 2, 0, 256, 0, id="none yet"),
        pytest.param(2, 2, 100, 0, 256, id="all of it"),
        pytest.param(1, 1, 1, 256, 3, id="a hundredth"),
        pytest.param(100, 1, 100, 0, 256, id="all to one"),
    ],
)
def test_the_share_of_the_app_beside_whatever_the_numbers(old: int, new: int, percent: int, each_old: int, each_new: int) -> None:
    weights = split(old, new, percent)
    assert {weights[f"web.{n}"] for n in range(1, old + 1)} == {each_old}
    assert {weights[f"new.{n}"] for n in range(1, new + 1)} == {each_new}


def test_a_share_that_nobody_is_there_to_take_stays_with_the_other() -> None:
    assert split(2, 1, 100, bad=1) == {"web.1": 256, "web.2": 256, "new.1": 0}
    assert split(0, 2, 10) == {"new.1": 256, "new.2": 256}
    assert split(0, 2, 0) == {"new.1": 0, "new.2": 0}, "before it is meant to have any it stands in for nobody"


def test_a_split_app_takes_no_more_from_its_neighbours_than_before() -> None:
    neighbour = app(*(task(n, id=f"next.{n}", app_id="/next") for n in (1, 2)), app_id="/next")
    weights = split(2, 1, 50, neighbour)
    assert (weights["web.1"], weights["new.1"], weights["next.1"]) == (128, 256, 256)
    assert weights["web.1"] * 2 + weights["new.1"] == weights["next.1"] * 2
