"""Commands that bring servers to what they shall be: by table, and against a model of HAProxy for any history."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy_room import NAMES, server_sets
from shuren.clients.fakes.haproxy import HAProxyModel
from shuren.domain.haproxy.converge import BATCH, LINE, BackendPlan, Gap, ObservedServer, batches, converge
from shuren.domain.haproxy.servers import Admin, Server, assign_ids

B = "shop.web:http"
OPTIONS = ("check", "inter", "2000ms")


def _server(name: str, admin: Admin = Admin.READY, **changes: int | str) -> Server:
    return replace(Server(name=name, address="10.0.0.1", port=80, admin=admin), **changes)  # type: ignore[arg-type]


def _plan(*servers: Server, checked: bool = True, sticky: bool = False) -> BackendPlan:
    return BackendPlan(name=B, servers=servers, options=OPTIONS if checked else (), checked=checked, sticky=sticky)


def _observed(name: str, *, admin: int = 0, operation: int = 2, **changes: int) -> ObservedServer:
    return replace(
        ObservedServer(
            backend=B,
            name=name,
            id=7,
            address="10.0.0.1",
            port=80,
            operation=operation,
            admin=admin,
            weight=100,
            check_status=6,
            check_state=6,
        ),
        **changes,  # type: ignore[arg-type]
    )


UP, ID = _observed("up"), assign_ids(["a"], {})["a"]
ADD = f"add server {B}/a 10.0.0.1:80 id {ID} weight 100"
CHECKED = f"{ADD} check inter 2000ms"
TABLE: dict[str, tuple[BackendPlan, list[ObservedServer], list[str]]] = {
    "nothing to do": (_plan(_server("a")), [_observed("a")], []),
    "the first server needs no proof": (
        _plan(_server("a")),
        [],
        [CHECKED, f"enable health {B}/a", f"set server {B}/a state ready"],
    ),
    "a further one has to pass its check": (
        _plan(_server("a"), _server("up")),
        [UP],
        [
            CHECKED,
            f"enable health {B}/a",
            f"set server {B}/a state drain",
            f"set server {B}/a health down",
            f"set server {B}/a state ready",
        ],
    ),
    "without checks it is ready at once": (
        _plan(_server("a"), _server("up"), checked=False),
        [UP],
        [ADD, f"set server {B}/a state ready"],
    ),
    "its weight comes before its traffic": (
        _plan(_server("a", weight=1), _server("up"), checked=False),
        [UP],
        [ADD, f"set server {B}/a weight 1", f"set server {B}/a state ready"],
    ),
    "one that starts waits in maintenance": (_plan(_server("a", Admin.MAINT)), [], [CHECKED, f"enable health {B}/a"]),
    "one that is drained from the start": (
        _plan(_server("a", Admin.DRAIN)),
        [],
        [CHECKED, f"enable health {B}/a", f"set server {B}/a state drain"],
    ),
    "a cookie is made before traffic": (
        _plan(_server("a"), sticky=True),
        [],
        [CHECKED, f"enable dynamic-cookie backend {B}", f"enable health {B}/a", f"set server {B}/a state ready"],
    ),
    "a weight": (_plan(_server("a", weight=5)), [_observed("a")], [f"set server {B}/a weight 5"]),
    "weights rise before others fall": (
        _plan(_server("a", weight=0), _server("b", weight=100)),
        [_observed("a"), _observed("b", weight=0)],
        [f"set server {B}/b weight 100", f"set server {B}/a weight 0"],
    ),
    "drain": (_plan(_server("a", Admin.DRAIN)), [_observed("a")], [f"set server {B}/a state drain"]),
    "drained already, whatever its weight": (_plan(_server("a", Admin.DRAIN)), [_observed("a", admin=8, weight=0)], []),
    "out": (_plan(_server("a", Admin.MAINT)), [_observed("a")], [f"set server {B}/a state maint"]),
    "out by the configuration is out": (_plan(_server("a", Admin.MAINT)), [_observed("a", admin=5)], []),
    "made ready, whatever the configuration said once": (_plan(_server("a")), [_observed("a", admin=4)], []),
    "back from drain": (_plan(_server("a")), [_observed("a", admin=8)], [f"set server {B}/a state ready"]),
    "back from maintenance it has to pass its check": (
        _plan(_server("a"), _server("up")),
        [_observed("a", admin=1, operation=0), UP],
        [
            f"set server {B}/a state drain",
            f"set server {B}/a health down",
            f"set server {B}/a state ready",
        ],
    ),
    "moved": (_plan(_server("a", port=81)), [_observed("a")], [f"set server {B}/a addr 10.0.0.1 port 81"]),
    "checked elsewhere": (_plan(_server("a", check_port=9)), [_observed("a")], [f"set server {B}/a check-port 9"]),
    "no checks, no port for them": (_plan(_server("a", check_port=9), checked=False), [_observed("a", check_state=0)], []),
    "somebody turned its check off": (_plan(_server("a")), [_observed("a", check_state=2)], [f"enable health {B}/a"]),
    "gone": (_plan(), [_observed("a")], [f"set server {B}/a state maint", f"del server {B}/a"]),
    "gone and out already": (_plan(), [_observed("a", admin=1)], [f"del server {B}/a"]),
    "the last that serves is drained: one never checked takes over": (
        _plan(_server("a"), _server("up", Admin.DRAIN)),
        [_observed("a", operation=0, check_status=1), UP],
        [f"set server {B}/a health up", f"set server {B}/up state drain"],
    ),
    "but not one whose check has failed": (
        _plan(_server("a"), _server("up", Admin.DRAIN)),
        [_observed("a", operation=0, check_status=8), UP],
        [f"set server {B}/up state drain"],
    ),
}


@pytest.mark.parametrize(("plan", "observed", "commands"), TABLE.values(), ids=TABLE.keys())
def test_table(plan: BackendPlan, observed: list[ObservedServer], commands: list[str]) -> None:
    assert list(converge(plan, observed).commands) == commands


def test_it_makes_before_it_breaks() -> None:
    plan = _plan(_server("new"), _server("old", Admin.DRAIN), _server("bad", Admin.MAINT))
    verbs = [c.split()[0] + c.rsplit(" ", 1)[1] for c in converge(plan, [_observed("old"), _observed("bad"), _observed("gone")]).commands]
    assert verbs[0] == f"add{OPTIONS[-1]}"
    assert verbs.index("setready") < verbs.index("setdrain") < verbs.index("setmaint") < len(verbs) - 1


def _apply(model: HAProxyModel, gap: Gap) -> list[str]:
    return [f"{command}: {said[1]}" for command in gap.commands if (said := model.execute(command))[0] == 3]


@given(st.lists(st.tuples(server_sets, st.booleans(), st.booleans(), st.sets(st.sampled_from(NAMES))), min_size=1, max_size=6))
def test_any_history_ends_in_what_is_wanted_and_a_second_pass_is_empty(
    history: list[tuple[tuple[Server, ...], bool, bool, set[str]]],
) -> None:
    """With checks passing or failing in between, and servers that cannot be deleted while they have sessions."""
    model = HAProxyModel([B])
    for servers, checked, sticky, busy in history:
        model.sessions = {(B, name): 1 for name in busy}
        plan = _plan(*servers, checked=checked, sticky=sticky)
        refused = _apply(model, converge(plan, model.servers(B)))
        assert all("still has connections" in line for line in refused), refused
        there = {s.name: s for s in model.servers(B)}
        for server in servers:
            now = there[server.name]
            assert (now.address, now.port, now.state) == (server.address, server.port, server.admin)
            if server.admin is Admin.READY:
                assert now.weight == server.weight
        assert {name for name, s in there.items() if s.state is not Admin.MAINT} <= {s.name for s in servers}
        again = converge(plan, model.servers(B))
        assert (again.changes, set(again.leaving)) == (0, busy & (there.keys() - {s.name for s in servers}))
        model.run_checks(lambda s: s.name != "b")
        model.sessions = {}
        _apply(model, converge(plan, model.servers(B)))
        assert {s.name for s in model.servers(B)} == {s.name for s in servers}
        assert converge(plan, model.servers(B)) == Gap()


@given(server_sets, server_sets)
def test_something_serves_at_every_step_if_it_did_and_shall(before: tuple[Server, ...], after: tuple[Server, ...]) -> None:
    """A change never passes through a moment in which nothing serves when something served before and something is to serve after."""
    model = HAProxyModel([B])
    _apply(model, converge(_plan(*before), model.servers(B)))
    model.run_checks()
    served = any(s.serves for s in model.servers(B))
    wanted = any(s.admin is Admin.READY and s.weight for s in after)
    for command in converge(_plan(*after), model.servers(B)).commands:
        model.execute(command)
        assert not (served and wanted) or any(s.serves for s in model.servers(B)), command


@given(server_sets)
def test_a_new_server_never_takes_traffic_before_its_check_while_others_serve(servers: tuple[Server, ...]) -> None:
    model = HAProxyModel([B])
    keeper = _server("keeper")
    _apply(model, converge(_plan(keeper), model.servers(B)))
    model.run_checks()
    for command in converge(_plan(*servers, keeper), model.servers(B)).commands:
        model.execute(command)
        serving = [s.name for s in model.servers(B) if s.serves]
        assert serving == ["keeper"], command


@given(st.lists(st.text(alphabet="abc中", min_size=1, max_size=300), max_size=600))
def test_batches_keep_order_and_fit_haproxys_buffer(commands: list[str]) -> None:
    lines = batches(commands)
    assert [c for line in lines for c in line] == commands
    assert all(len(line) <= BATCH and len("; ".join(line).encode()) <= LINE for line in lines)
