"""Two replicas, lines cut, clocks that disagree, a token that ends, an API server that refuses: never two writers, and it goes on.

That there is one writer at a time is read off ZooKeeper's own transaction log: every write of ours carries the check of the epoch.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from kube_rest import GROUP
from real_parts import fresh_namespace
from replicas import Replica, World
from shuren.devenv.background import Sandbox
from shuren.devenv.parts import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, ZOOKEEPER_ROOT
from tenant import PATIENCE, Tenant, epoch, lease_holder, now, sleeper
from waiting import eventually
from zookeeper_log import unfenced

pytestmark = pytest.mark.usefixtures("unmeasured_programs")

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


@pytest.fixture
def world(cut_off: World) -> World:
    return cut_off


@pytest.fixture
def user(world: World) -> Iterator[Tenant]:
    """A user of a world in which both replicas run and one leads; afterwards every write to ZooKeeper is looked at."""
    world.up()
    with fresh_namespace(world.sandbox) as namespace:
        yield Tenant(sandbox=world.sandbox, namespace=namespace, rest=world.rest)
    assert unfenced(world.sandbox.place.root / "zookeeper" / "1" / "data", ZOOKEEPER_ROOT) == []
    for one in world.both:
        assert not one.said(r"^Traceback|exception was never retrieved"), one.log.read_text()


def test_a_leader_cut_off_from_the_api_server_is_followed_and_writes_nothing_more(world: World, user: Tenant) -> None:
    leader = world.leader()
    user.run("web", sleeper())
    before = epoch(world.sandbox)
    began = now()
    with leader.kubernetes.cut_for(leader.pid):
        world_leads(world, world.other(leader))
        print(f"\ncut off from the API server: followed after {now() - began:.1f} s")  # noqa: T201
        user.apply("web", sleeper(cmd="exec sleep 2222"))
        user.wait("web")
        assert len(user.versions("web")) == 2
        raised = epoch(world.sandbox)
        assert raised == {**before, "n": before["n"] + 1, "holder": world.other(leader).name}
        eventually(lambda: leader.said("not renewed in time"), seconds=PATIENCE)
    # what it had sent into the cut line arrives now, late: the API server must find it outdated, and the replica that it does not lead
    eventually(lambda: leader.said(f"{world.other(leader).name}|not leading"), seconds=PATIENCE)
    user.run("after", sleeper())
    assert lease_holder(world.rest) == world.other(leader).name
    assert epoch(world.sandbox) == raised
    assert len(user.versions("web")) == 2


def world_leads(world: World, by: Replica) -> None:
    """Wait until a replica leads."""
    eventually(lambda: world.leader() is by, seconds=PATIENCE)


def test_a_leader_cut_off_from_zookeeper_claims_nothing_and_goes_on_when_the_line_is_whole(world: World, user: Tenant) -> None:
    leader = world.leader()
    user.run("web", sleeper())
    with leader.zookeeper.cut_for(leader.pid):
        user.apply("late", sleeper())
        user.until(lambda: user.status("late").get("observedGeneration") == 1, about="late")
        assert user.engine.app(user.app_id("late")) is None, "an app without a claim"
        assert user.condition("web", "Ready")["status"] == "True"
    user.wait("late")
    assert set(user.claims()) == {user.app_id("web"), user.app_id("late")}


def test_cut_off_from_zookeeper_until_another_leads_it_is_fenced(world: World, user: Tenant) -> None:
    """It gets back to ZooKeeper before it hears from Kubernetes that another leads: what it then sends is refused by the epoch."""
    leader = world.leader()
    follower = world.other(leader)
    user.run("web", sleeper())
    with leader.kubernetes.cut_for(leader.pid):
        with leader.zookeeper.cut_for(leader.pid):
            world_leads(world, follower)
            user.run("later", sleeper())
            held = epoch(world.sandbox)
        user.apply("web", sleeper(cmd="exec sleep 3333"))
        user.wait("web")
    eventually(lambda: leader.said(rf"{follower.name}|not leading"), seconds=PATIENCE)
    assert epoch(world.sandbox) == held
    assert len(user.versions("web")) == 2


@pytest.mark.skipif(FAKETIME is None, reason="Debian's libfaketime is not installed (apt-get install libfaketime)")
def test_clocks_an_hour_apart_do_not_move_the_lease_and_a_killed_leader_is_followed(world: World, user: Tenant) -> None:
    leader = world.leader()
    follower = world.other(leader)
    assert follower.end() == 0
    follower.start({"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    eventually(follower.ready, seconds=PATIENCE)
    user.run("web", sleeper())
    held = epoch(world.sandbox)
    user.run("web", sleeper(cmd="exec sleep 2222"))
    assert (lease_holder(world.rest), epoch(world.sandbox)) == (leader.name, held)

    began = now()
    leader.end(signal.SIGKILL)
    world_leads(world, follower)
    print(f"\nkilled: followed after {now() - began:.1f} s by one whose clock is an hour ahead")  # noqa: T201
    # the one whose clock is right comes back, an hour behind what the Lease says
    leader.start()
    eventually(leader.ready, seconds=PATIENCE)
    user.run("web", sleeper(cmd="exec sleep 3333"))
    assert lease_holder(world.rest) == follower.name
    assert follower.end() == 0
    world_leads(world, leader)


def test_a_clean_end_hands_over_at_once(world: World, user: Tenant) -> None:
    leader = world.leader()
    user.run("web", sleeper())
    began = now()
    assert leader.end() == 0
    world_leads(world, world.other(leader))
    print(f"\nended cleanly: followed after {now() - began:.1f} s")  # noqa: T201
    user.run("web", sleeper(cmd="exec sleep 2222"))
    assert len(user.versions("web")) == 2


@contextmanager
def only_seat_taken(sandbox: Sandbox, path: str) -> Iterator[None]:
    """A PATCH of the operator's user whose body never comes: while it is awaited, the request keeps its seat."""
    config = yaml.safe_load(Path(sandbox.endpoints.operator_kubeconfig).read_text())
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain, trust.wrap_socket(plain, server_hostname=host) as connection:
        head = [
            f"PATCH {path}?fieldManager=nobody&force=true HTTP/1.1",
            f"Host: {host}",
            f"Authorization: Bearer {token}",
            "Content-Type: application/apply-patch+yaml",
            "Content-Length: 10",
        ]
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        yield


def test_an_api_server_that_refuses_for_load_is_asked_again(world: World, user: Tenant) -> None:
    """Priority and fairness with one seat for writes of status, which somebody keeps: real answers 429."""
    level = {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}}
    account = {"kind": "ServiceAccount", "serviceAccount": {"name": OPERATOR_ACCOUNT, "namespace": OPERATOR_NAMESPACE}}
    writes = {"verbs": ["patch"], "apiGroups": ["paas.shurenyun.com"], "resources": ["paasapps/status"], "namespaces": ["*"]}
    flow = {
        "priorityLevelConfiguration": {"name": "one-seat"},
        "matchingPrecedence": 50,
        "rules": [{"subjects": [account], "resourceRules": [writes]}],
    }
    kind = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "metadata": {"name": "one-seat"}}
    user.run("seat", sleeper())
    sandbox, leader = world.sandbox, world.leader()
    status = f"{GROUP}/namespaces/{user.namespace}/paasapps/seat/status"

    def turned_away() -> int:
        return leader.counted(r'external_request_duration_seconds_count\{[^}]*code="429"[^}]*target="kubernetes"')

    sandbox.apply({**kind, "kind": "PriorityLevelConfiguration", "spec": level})
    sandbox.apply({**kind, "kind": "FlowSchema", "spec": flow})
    try:
        eventually(lambda: _has_condition(sandbox, "one-seat"), seconds=PATIENCE)
        with only_seat_taken(sandbox, status):
            user.apply("web", sleeper())
            eventually(lambda: turned_away() > 1, seconds=PATIENCE)
            user.until(lambda: len(user.tasks("web")) == 1)
            assert user.condition("web", "Ready").get("status") != "True"
        user.wait("web")
        assert len(user.versions("web")) == 1
    finally:
        sandbox.kubectl("delete", "flowschema,prioritylevelconfiguration", "one-seat")


def _has_condition(sandbox: Sandbox, flow_schema: str) -> bool:
    """Whether the API server has taken notice of it."""
    found = sandbox.get("flowschema", flow_schema)
    return any(
        condition["type"] == "Dangling" and condition["status"] == "False" for condition in found.get("status", {}).get("conditions", ())
    )


def test_a_token_that_ended_is_followed_by_the_next_in_the_file(world: World, user: Tenant) -> None:
    """The token is bound to a Secret, and ends with it; kubelet writes the next one into the same file."""
    leader = world.leader()
    assert world.other(leader).end() == 0
    sandbox = world.sandbox
    sandbox.kubectl("-n", OPERATOR_NAMESPACE, "create", "secret", "generic", "bound")
    bound = ("--bound-object-kind=Secret", "--bound-object-name=bound")
    lasting = leader.token.read_text()
    leader.token.write_text(sandbox.kubectl("-n", OPERATOR_NAMESPACE, "create", "token", OPERATOR_ACCOUNT, *bound))
    user.run("web", sleeper())
    sandbox.kubectl("-n", OPERATOR_NAMESPACE, "delete", "secret", "bound")
    try:
        audited = sandbox.audited()
        eventually(
            lambda: any((event.get("responseStatus") or {}).get("code") == 401 for event in sandbox.audit(since=audited)), seconds=PATIENCE
        )
        user.apply("web", sleeper(cmd="exec sleep 2222"))
    finally:
        leader.token.write_text(lasting)
    user.wait("web")
    assert len(user.versions("web")) == 2


def test_etcd_and_the_api_server_restarted_in_the_middle_of_a_roll_out(world: World, user: Tenant) -> None:
    user.run("web", sleeper(instances=2))
    leader = world.leader()
    user.apply("web", sleeper(instances=2, cmd="exec sleep 2222"))
    for part in ("apiserver", "etcd"):
        world.sandbox.kill(part)
    for part in ("etcd", "apiserver"):
        world.sandbox.start(part)
    user.wait("web")
    assert len(user.versions("web")) == 2
    user.run("after", sleeper())
    assert world.leader() in {leader, world.other(leader)}
    assert json.loads(user.kubectl("get", "paasapp", "web", "-o", "json"))["status"]["conditions"]
