"""A ShardMap over a real app on the real API server, ZooKeeper and engine, with clients that count what fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import yaml
from kazoo.client import KazooClient
from typer.testing import CliRunner

from kube_rest import GROUP, Rest
from sharding_server import RecordingServer as Server
from shuren.cli.app import app
from shuren.devenv.background import Sandbox
from shuren.devenv.parts import ZOOKEEPER_ROOT
from shuren.devenv.places import find_manifests
from shuren.sharding import ShardMapClient, ShardMember, ZooKeeperStore
from shuren.sharding.core import NOBODY, ShardTable
from waiting import eventually

PATIENCE = 90.0
DEMO = find_manifests().samples / "demo"


def path_of(namespace: str, name: str = "store") -> str:
    return f"{ZOOKEEPER_ROOT}/shards/{namespace}.{name}"


def run_store(sandbox: Sandbox, namespace: str, *, instances: int, **spec: Any) -> None:
    """The demo's store: what it needs to know, the app and its map."""
    kubectl = sandbox.kubectl
    reader = ("--clusterrole=shuren-secrets-reader", "--serviceaccount=shuren-system:shuren-operator")
    kubectl("-n", namespace, "create", "rolebinding", "configs", *reader)
    literals = {"python": sys.executable, "zookeeper": sandbox.endpoints.zookeeper_hosts, "map": path_of(namespace)}
    given = [f"--from-literal={name}={value}" for name, value in literals.items()]
    kubectl("-n", namespace, "create", "configmap", "store", f"--from-file={DEMO / 'store.py'}", *given)
    for body in yaml.safe_load_all((DEMO / "5-store.yaml").read_text()):
        if body["kind"] == "PaasApp":
            body["spec"] |= {"instances": instances, "cpus": 0.05, "mem": 16}
        else:
            body["spec"] |= spec
        sandbox.apply({**body, "metadata": {**body["metadata"], "namespace": namespace}})


def status(sandbox: Sandbox, namespace: str, name: str = "store") -> dict[str, Any]:
    found: dict[str, Any] = sandbox.get("-n", namespace, "shardmap", name).get("status") or {}
    return found


def condition(found: dict[str, Any], kind: str = "Ready") -> tuple[str, str]:
    return next(((c["status"], c["reason"]) for c in found.get("conditions") or () if c["type"] == kind), ("", ""))


def at_rest(found: dict[str, Any], members: int) -> bool:
    return (
        condition(found) == ("True", "Ready")
        and found["members"]["total"] == found["members"]["live"] == members
        and found["generations"]["acknowledged"] == found["generations"]["published"]
    )


@contextmanager
def asking(sandbox: Sandbox, namespace: str) -> Iterator[dict[str, Any]]:
    """Clients that ask while the block runs; what they say in the end is in what this gives."""
    command = [sys.executable, str(DEMO / "store_clients.py"), sandbox.endpoints.zookeeper_hosts, path_of(namespace), "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told: dict[str, Any] = {}
        try:
            assert "answered" in process.stdout.readline()
            yield told
        finally:
            process.stdin.close()
            told |= json.loads(process.stdout.read().splitlines()[-1])
            process.stdin = None


@contextmanager
def watching(sandbox: Sandbox, namespace: str) -> Iterator[list[str]]:
    """`shuren shards watch` while the block runs; what it has said is in what this gives."""
    command = [sys.executable, "-m", "shuren.cli", "shards", "watch", "store", "-n", namespace]
    with subprocess.Popen([*command, "--kubeconfig", str(sandbox.endpoints.kubeconfig)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = [process.stdout.readline()]
        try:
            yield lines
        finally:
            process.terminate()
            lines += process.stdout.read().splitlines()


def test_a_map_follows_its_app_and_no_client_notices(operated: Sandbox, operated_namespace: str) -> None:
    namespace = operated_namespace
    run_store(operated, namespace, instances=2, moves={"planned": {"percent": 50, "incoming": 8, "outgoing": 8}, "delaySeconds": 60})
    operated.kubectl("-n", namespace, "wait", "shardmap/store", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")
    first = status(operated, namespace)
    assert (first["perMember"], first["generations"]["published"]) == ({"min": 32, "max": 32}, 1)
    with asking(operated, namespace) as told, watching(operated, namespace) as lines:
        operated.kubectl("-n", namespace, "scale", "paasapp/store", "--replicas=3")
        eventually(lambda: at_rest(status(operated, namespace), 3), seconds=PATIENCE, every=0.5)
        grown = status(operated, namespace)
        assert (grown["moves"]["planned"], grown["moves"]["lowerBound"], grown["perMember"]) == (21, 21, {"min": 21, "max": 22})
    assert (told["failed"], told["failures"]) == (0, [])
    assert told["asked"] > 100
    assert lines[0].startswith("generation 1: 64 shards, 2 members")
    assert any(" registered at " in line for line in lines)
    assert any(line.startswith("shard ") and " -> " in line for line in lines)
    assert any("shards have other holders" in line for line in lines)
    _ask_the_command_line(operated, namespace)
    _roll(operated, namespace, members=3)
    _look_at_the_whole(operated, namespace)
    with asking(operated, namespace) as told:
        # the victim's shards move before it goes
        _shrink_as_planned(operated, namespace, instances=2)
    assert (told["failed"], told["failures"]) == (0, [])
    operated.kubectl("-n", namespace, "delete", "shardmap/store", "--wait=false")
    eventually(lambda: condition(status(operated, namespace)) == ("False", "InUse"), seconds=30)
    operated.kubectl("-n", namespace, "delete", "paasapp/store", f"--timeout={PATIENCE:.0f}s")
    operated.kubectl("-n", namespace, "wait", "shardmap/store", "--for=delete", f"--timeout={PATIENCE:.0f}s")
    client = KazooClient(operated.endpoints.zookeeper_hosts)
    client.start()
    assert client.exists(path_of(namespace)) is None
    client.stop()
    client.close()


def _roll(sandbox: Sandbox, namespace: str, *, members: int) -> None:
    """A new version of an app on all agents: member by member, each where it was, and no shard moves."""
    before = status(sandbox, namespace)["hash"]
    patch = {"spec": {"env": {"VERSION": "2"}}}
    sandbox.kubectl("-n", namespace, "patch", "paasapp/store", "--type=merge", "-p", json.dumps(patch))

    def rolled() -> bool:
        found = sandbox.get("-n", namespace, "paasapp", "store")
        ready = condition(found["status"]) == ("True", "Ready") and found["status"]["observedGeneration"] == found["metadata"]["generation"]
        return ready and bool(found["status"]["counts"]["updated"] == members)

    eventually(rolled, seconds=PATIENCE, every=0.5)
    eventually(lambda: at_rest(status(sandbox, namespace), members), seconds=PATIENCE, every=0.5)
    assert status(sandbox, namespace)["hash"] == before


def _look_at_the_whole(sandbox: Sandbox, namespace: str) -> None:
    """`status` shows the app with its shards, and `why` walks on to the map."""
    kinds = {item["kind"]: item for item in shuren(sandbox, namespace, "status", "store", group="")["items"]}
    members = kinds["ShardMap"]["members"]
    assert (sum(m["holds"] for m in members), {m["live"] for m in members}, kinds["ShardMap"]["app"]) == (64, {True}, "store")
    plain = CliRunner().invoke(app, ["status", "store", "-n", namespace, "--kubeconfig", str(sandbox.endpoints.kubeconfig)]).stdout
    assert "└─ ShardMap " in plain
    assert "holds 21 shards" in plain
    ways = {way["of"]: [link["link"] for link in way["links"]] for way in shuren(sandbox, namespace, "why", "store", group="")}
    assert ways["ShardMap store"][-3:] == ["published table", "registration", "moves"]
    (way,) = shuren(sandbox, namespace, "why", "shm/store", group="")
    assert {link["verdict"] for link in way["links"]} == {"ok"}


def _shrink_as_planned(sandbox: Sandbox, namespace: str, *, instances: int) -> None:
    """Plan, apply, and compare with what then happened: the members that went, the shards that moved, each at least and at most once."""
    body = sandbox.get("-n", namespace, "paasapp", "store")
    wanted = {key: body[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "store", "namespace": namespace}}
    wanted["spec"] = {**body["spec"], "instances": instances}
    plan = shuren(sandbox, namespace, "plan", "-f", "-", group="", stdin=json.dumps(wanted))
    (of_app,), (of_map,) = plan["apps"], plan["shards"]
    assert [a["action"] for a in of_app["now"]] == ["drain"]
    assert [a["action"] for step in of_app["steps"] for a in step] == ["drain", "kill-tasks"]
    before = {task["id"]: task["host"] for task in shuren(sandbox, namespace, "status", "store", group="")["items"][0]["tasks"]}
    (victim,) = of_app["tasks"]["removed"]
    held = {m["id"]: m["holds"] for m in shuren(sandbox, namespace, "status", "shm/store", group="")["items"][-1]["members"]}
    assert of_map["moves"] == of_map["lowerBound"] == held[before[victim]]
    sandbox.kubectl("-n", namespace, "scale", "paasapp/store", f"--replicas={instances}")
    eventually(lambda: at_rest(status(sandbox, namespace), instances), seconds=PATIENCE, every=0.5)
    eventually(lambda: len(shuren(sandbox, namespace, "status", "store", group="")["items"][0]["tasks"]) == instances, seconds=PATIENCE)
    after = {task["id"] for task in shuren(sandbox, namespace, "status", "store", group="")["items"][0]["tasks"]}
    assert before.keys() - after == {victim}
    done = status(sandbox, namespace)["moves"]
    assert (done["planned"], done["lowerBound"], done["failed"]) == (of_map["moves"], of_map["lowerBound"], 0)


def shuren(sandbox: Sandbox, namespace: str, *arguments: str, group: str = "shards", stdin: str = "") -> Any:
    """`shuren shards …`, or a command of no group, answered as JSON."""
    command = [*([group] if group else []), *arguments, "-n", namespace, "--kubeconfig", str(sandbox.endpoints.kubeconfig), "-o", "json"]
    ran = CliRunner().invoke(app, command, input=stdin)
    assert ran.exit_code in {0, 3}, ran.output
    return json.loads(ran.stdout)


def _ask_the_command_line(sandbox: Sandbox, namespace: str) -> None:
    """Where a key is, and what changes would move, on a map of 64 shards and three members."""
    found = shuren(sandbox, namespace, "explain", "client-0:1")
    (holder,) = found["holders"]
    assert (holder["role"], holder["live"], found["shards"], found["move"]) == ("primary", True, 64, [])
    again = shuren(sandbox, namespace, "explain", str(found["slot"]), "--slot")
    assert again["holders"] == found["holders"]
    emptied = shuren(sandbox, namespace, "plan", "--drain", holder["id"], "--exit-code")
    assert (emptied["moves"], emptied["problems"]) == (holder["holds"], [])
    assert {m["id"]: m["after"] for m in emptied["members"]}[holder["id"]] == 0
    kubeconfig = ("--kubeconfig", str(sandbox.endpoints.kubeconfig))
    nobody = CliRunner().invoke(app, ["shards", "plan", "--drain", "nobody", "-n", namespace, *kubeconfig])
    assert nobody.exit_code not in {0, 3}
    assert "--drain nobody: no member of this map" in nobody.output + nobody.stderr
    larger = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasApp", "metadata": {"name": "store"}, "spec": {"instances": 4}}
    grown = shuren(sandbox, namespace, "plan", "-f", "-", stdin=json.dumps(larger))
    assert (grown["moves"], grown["lowerBound"]) == (16, 16)
    assert {m["after"] for m in grown["members"]} == {16}
    body = sandbox.get("-n", namespace, "shardmap", "store")
    wanted = {"apiVersion": body["apiVersion"], "kind": "ShardMap", "metadata": {"name": "store"}}
    copied = shuren(sandbox, namespace, "plan", "-f", "-", stdin=json.dumps(wanted | {"spec": body["spec"] | {"replicas": 2}}))
    assert (copied["moves"], copied["lowerBound"], len(copied["shards"])) == (64, 64, 64)
    assert {m["after"] - m["before"] for m in copied["members"]} <= {21, 22}
    both = [*body["spec"]["partitionings"], {"name": "twice", "shards": 128}]
    halved = shuren(sandbox, namespace, "plan", "-f", "-", stdin=json.dumps(wanted | {"spec": body["spec"] | {"partitionings": both}}))
    assert (halved["moves"], halved["shards"]) == (0, [])
    assert halved["advice"][0] == "the map is split: 128 shards of partitioning twice; that copies nothing"


def test_a_map_by_load_relieves_who_is_asked_most_gets_copies_and_is_split(operated: Sandbox, operated_namespace: str) -> None:
    hosts, path = operated.endpoints.zookeeper_hosts, path_of(operated_namespace, "bad")
    names = ("a", "b", "c")
    spec: dict[str, Any] = {
        "members": {"static": [{"id": name, "rack": f"r-{name}"} for name in names]},
        "balance": {"by": "Load", "roundSeconds": 1, "budgetPercent": 50},
        "moves": {"planned": {"percent": 100, "incoming": 32, "outgoing": 32}},
        "turndownPolicy": "Immediate",
    }
    operated.apply(shard_map(operated_namespace, **spec))
    with ExitStack() as stack:
        members = [
            stack.enter_context(
                ShardMember(ZooKeeperStore(hosts, session_seconds=4.0), path, id=name, address=f"{name}:1", server=Server())
            )
            for name in names
        ]
        client = ShardMapClient(ZooKeeperStore(hosts), path)
        stack.callback(client.stop)
        client.start(within=PATIENCE)
        hot = frozenset(shard for shard in range(64) if primary(client, shard) == "a")
        assert len(hot) in {21, 22}

        def balanced() -> bool:
            """Shards that `a` had at first are asked for three times as much, whoever has them and by whatever number."""
            halves = client_table(client).shards // 64
            for member in members:
                member.measured({s: 6 // halves if s // halves in hot else 2 // halves for s in client_shards(client, member.id)})
            found = status(operated, operated_namespace, "bad")
            load = found.get("load") or {}
            settled = at_rest(found, 3) and found["shards"]["settled"] == found["shards"]["total"]
            followed = settled and client_table(client).generation == found["generations"]["published"]
            return followed and load.get("reporting") == 3 and not load["balancing"] and load["hottestPercent"] <= 110

        def kept() -> int:
            """How many of its shards the member still has that is asked most."""
            return sum(primary(client, shard) == "a" for shard in hot)

        # at rest, and told by three members, the map is for a moment also before they have said what they measure
        eventually(lambda: balanced() and kept() < len(hot), seconds=PATIENCE, every=0.5)
        counts = sorted(len(client_shards(client, name)) for name in names)
        assert counts[0] < 20, f"not by count: {counts}"
        operated.apply(shard_map(operated_namespace, **spec, replicas=2))
        eventually(lambda: balanced() and client_table(client).replicas == 2, seconds=PATIENCE, every=0.5)
        assert NOBODY not in set(client_table(client).owners)
        before = [primary(client, s) for s in range(64)]
        both = [{"name": "p1", "shards": 64}, {"name": "p2", "shards": 128}]
        operated.apply(shard_map(operated_namespace, **spec, replicas=2, partitionings=both))
        eventually(lambda: balanced() and client_table(client).shards == 128, seconds=PATIENCE, every=0.5)
        assert [primary(client, s) for s in range(128)] == [member for member in before for _ in range(2)], "a split is no reason to move"
        assert condition(status(operated, operated_namespace, "bad"), "Advice") == ("True", "SplitDone")
    operated.kubectl("-n", operated_namespace, "delete", "shardmap/bad", "--timeout=60s")


def client_table(client: ShardMapClient) -> ShardTable:
    assert client.table is not None
    return client.table


def primary(client: ShardMapClient, shard: int) -> str:
    table = client_table(client)
    member = table.member(table.owners[shard])
    assert member is not None
    return member.id


def client_shards(client: ShardMapClient, member: str) -> list[int]:
    """Those that a member leads by the client's table."""
    return [shard for shard in range(client_table(client).shards) if primary(client, shard) == member]


def shard_map(namespace: str, **spec: Any) -> dict[str, Any]:
    given = {"clusterRef": {"name": "sandbox"}, "partitionings": [{"name": "p1", "shards": 64}], "members": {"appRef": {"name": "a"}}}
    metadata = {"name": "bad", "namespace": namespace}
    return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "ShardMap", "metadata": metadata, "spec": given | spec}


STATIC = [{"id": "a"}, {"id": "b"}]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"partitionings": [{"name": "p1", "shards": 100}]}, "the number of shards is a power of two"),
    ({"partitionings": [{"name": "p1", "shards": 131072}]}, "spec.partitionings[0].shards"),
    ({"partitionings": [{"name": "p1", "shards": 64}, {"name": "p2", "shards": 256}]}, "it has twice as many shards"),
    ({"partitionings": [{"name": "p1", "shards": 64}, {"name": "p1", "shards": 128}]}, "Duplicate value"),
    ({"partitionings": []}, "spec.partitionings"),
    ({"algorithm": "modulo"}, "spec.algorithm"),
    ({"algorithm": "redis16384"}, "redis16384 has 16384 shards"),
    ({"replicas": 0}, "spec.replicas"),
    ({"replicas": 17}, "spec.replicas"),
    ({"members": {}}, "give exactly one of appRef, serviceRef and static"),
    ({"members": {"appRef": {"name": "a"}, "static": STATIC}}, "give exactly one of appRef, serviceRef and static"),
    ({"members": {"static": STATIC}, "replicas": 3}, "fewer members with a weight above 0 than replicas"),
    ({"members": {"static": [{"id": "a"}, {"id": "a"}]}}, "Duplicate value"),
    ({"members": {"static": [{"id": "a", "weight": 0}, {"id": "b", "weight": 0}]}}, "no member has a weight above 0"),
    ({"members": {"static": [{"id": "a", "weight": -1}]}}, "spec.members.static[0].weight"),
    ({"members": {"static": STATIC, "weights": [{"id": "a", "weight": 1}]}}, "static members carry their own weights"),
    ({"balance": {"by": "Load", "untilPercent": 130}}, "untilPercent is below abovePercent"),
]
FIXED: list[tuple[dict[str, Any], str]] = [
    ({"partitionings": [{"name": "p1", "shards": 128}]}, "the number of shards of a partitioning cannot change"),
    ({"partitionings": [{"name": "p9", "shards": 64}]}, "keep a partitioning that is there"),
    ({"clusterRef": {"name": "other"}}, "a map cannot leave its cluster"),
    ({"algorithm": "redis16384", "partitionings": [{"name": "p1", "shards": 64}]}, "another algorithm would put every key elsewhere"),
]


def test_the_api_server_refuses_what_it_can_and_names_the_field(operated: Sandbox, operated_namespace: str) -> None:
    rest = Rest(operated.endpoints.kubeconfig)
    for spec, words in BAD:
        answer = rest.create(shard_map(operated_namespace, **spec))
        assert (answer.status, words in answer.body["message"]) == (422, True), (words, answer.body)
    good = shard_map(operated_namespace, suspend=True)
    assert rest.create(good, dry_run=False).status == 201
    path = f"{GROUP}/namespaces/{operated_namespace}/shardmaps/bad"
    for spec, words in FIXED:
        answer = rest.call("PATCH", path, {"spec": spec}, content_type="application/merge-patch+json", dryRun="All")
        assert (answer.status, words in answer.body["message"]) == (422, True), (words, answer.body)
    rest.close()
    operated.kubectl("-n", operated_namespace, "delete", "shardmap/bad", "--timeout=60s")
