"""The samples with traffic and shards: what they publish is carried by the chart's load balancers and answered by its name servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chart_release import NAMESPACE
from e2e_world import AGENTS, PATIENCE, ZONE, World
from shuren.api.crdgen import ROOT
from shuren.devenv.parts import ZOOKEEPER_ROOT
from waiting import eventually

GET = """
import json, sys, urllib.error, urllib.request
address, host, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
found = []
for _ in range(count):
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}:8080/", headers={"Host": host}), timeout=10) as answer:
            found.append([answer.status, answer.read().decode()])
    except urllib.error.HTTPError as error:
        found.append([error.code, ""])
    except OSError as error:
        found.append([0, str(error)])
print(json.dumps(found))
"""
STEADILY = """
import http.client, json, sys, threading, time
address, host = sys.argv[1:]
counts = {}
def ask():
    while not stop.is_set():
        try:
            connection = http.client.HTTPConnection(address, 8080, timeout=10)
            connection.request("GET", "/", headers={"Host": host})
            found = str(connection.getresponse().status)
            connection.close()
        except OSError as error:
            found = repr(error)
        counts[found] = counts.get(found, 0) + 1
        time.sleep(0.05)
stop = threading.Event()
asking = threading.Thread(target=ask)
asking.start()
sys.stdin.read()
stop.set()
asking.join()
print(json.dumps(counts))
"""
NAMES = """
import json, sys, dns.message, dns.query
server, *names = sys.argv[1:]
def ask(name):
    answer = dns.query.udp(dns.message.make_query(name, "A"), server, timeout=5)
    return sorted(item.address for rrset in answer.answer for item in rrset)
print(json.dumps({name: ask(name) for name in names}))
"""
REGISTERED = """
import sys
from kazoo.client import KazooClient
from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.moves import Live
hosts, path, *ids = sys.argv[1:]
client = KazooClient(hosts)
client.start(timeout=30)
for one in ids:
    data = codec.encode_live(Live(id=one, address="10.0.0.1:11211"))
    client.create(f"{path}/live/{codec.node_name(one)}", data, ephemeral=True, makepath=True)
print("registered", flush=True)
sys.stdin.read()
client.stop()
"""


@contextmanager
def running(world: World, script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program in the engine's pod until its standard input ends, at the end of the block at the latest."""
    argv = [str(world.tools / "kubectl"), f"--kubeconfig={world.kubeconfig}", "exec", "-i", "deployment/marathon", "-n", "mesos", "--"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*argv, "python3", "-c", script, *arguments], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
            process.wait(timeout=60)


@contextmanager
def asked_all_the_while(world: World, host: str) -> Iterator[None]:
    """Somebody asks for this host twenty times a second through the load balancers, and is always answered."""
    with running(world, STEADILY, world.address("shuren-lb", NAMESPACE), host) as process:
        yield
        said, _ = process.communicate(timeout=60)
    counts = json.loads(said)
    assert set(counts) == {"200"}, counts
    assert counts["200"] > 20


def served(world: World, host: str, count: int = 1) -> list[tuple[int, str]]:
    found: list[list[Any]] = world.python(GET, world.address("shuren-lb", NAMESPACE), host, str(count))
    return [(status, body) for status, body in found]


def rollout(world: World, app: str) -> dict[str, Any]:
    found: dict[str, Any] = world.get("paasapp", app)["status"].get("rollout", {})
    return found


def changed(world: World, app: str, version: str) -> None:
    """Somebody changes the sample."""
    world.kubectl("patch", f"paasapp/{app}", "--type=merge", "-p", json.dumps({"spec": {"env": {"VERSION": version}}}))


def promoted(world: World, app: str, *, word: str = "promote") -> None:
    """As the sample's first lines say."""
    world.kubectl("annotate", "--overwrite", f"paasapp/{app}", f"paas.shurenyun.com/rollout-{word}={version_of(world, app)}")


def version_of(world: World, app: str) -> str:
    """A value that no command has had: the object's version."""
    return str(world.get("paasapp", app)["metadata"]["resourceVersion"])


def env_of_tasks(world: World, app: str) -> set[str]:
    """VERSION of every app in Marathon that this sample is, now."""
    apps = world.marathon("/v2/apps")["apps"]
    return {one["env"]["VERSION"] for one in apps if one["id"].startswith(f"/default/{app}") and one["tasksRunning"]}


@pytest.fixture(scope="module")
def carried(world: World) -> World:
    """Everything of the chart runs, and the samples with a listener are Ready."""
    for name in ("web", "service", "canary", "blue-green"):
        world.sample(name)
    for part in ("shuren-lb", "shuren-dns"):
        world.rolled_out(part, NAMESPACE)
    for what in ("paasapp/web", "paasapp/web-canary", "paasapp/shop", "paasapp/pay"):
        world.wait(what, "condition=Ready")
    for what in ("web", "orders-db", "shop", "pay"):
        world.wait(f"paasservice/{what}", "condition=Ready")
    return world


def test_a_service_is_carried_by_name_and_weight(carried: World) -> None:
    eventually(lambda: [status for status, _ in served(carried, "shop.example.org", 4)] == [200] * 4, seconds=PATIENCE, every=0.5)
    found = served(carried, "shop.example.org", 60)
    assert {status for status, _ in found} == {200}
    stable = sum("hello from" in body and "version 1" in body for _, body in found)
    # nine of ten go to the app, one to its canary, which shows a folder
    assert 40 <= stable < 60
    assert served(carried, "nobody.example.org")[0][0] in {404, 503}
    tasks = carried.marathon("/v2/apps//default/web/tasks")["tasks"]
    pod = carried.get("pods", "-n", "mesos", "-l", "app=marathon")["items"][0]["status"]["podIP"]
    assert len(tasks) == 2
    names = carried.python(NAMES, carried.address("shuren-dns", NAMESPACE), f"web.default.{ZONE}", f"orders-db.{ZONE}", f"db.orders.{ZONE}")
    outside = ["10.20.0.11", "10.20.0.12"]
    assert names == {f"web.default.{ZONE}": [pod], f"orders-db.{ZONE}": outside, f"db.orders.{ZONE}": outside}
    slices = carried.get("endpointslices", "-l", "kubernetes.io/service-name=orders-db")["items"]
    assert sorted(address for one in slices for endpoint in one["endpoints"] for address in endpoint["addresses"]) == outside


def test_blue_green_waits_for_a_person_and_no_request_fails(carried: World) -> None:
    with asked_all_the_while(carried, "pay.example.org"):
        changed(carried, "pay", "2")
        eventually(lambda: rollout(carried, "pay").get("phase") == "Paused", seconds=PATIENCE, every=0.5)
        assert env_of_tasks(carried, "pay") == {"1", "2"}
        promoted(carried, "pay")
        eventually(lambda: rollout(carried, "pay").get("phase") == "Completed", seconds=PATIENCE, every=0.5)
        carried.wait("paasapp/pay", "condition=Ready")
    eventually(lambda: env_of_tasks(carried, "pay") == {"2"}, seconds=PATIENCE, every=0.5)


def test_a_canary_takes_its_share_and_is_taken_back(carried: World) -> None:
    with asked_all_the_while(carried, "canary.example.org"):
        changed(carried, "shop", "2")
        eventually(lambda: rollout(carried, "shop").get("weight") == 10, seconds=PATIENCE, every=0.5)
        assert env_of_tasks(carried, "shop") == {"1", "2"}
        promoted(carried, "shop", word="abort")
        eventually(lambda: rollout(carried, "shop").get("phase") == "Aborted", seconds=PATIENCE, every=0.5)
        eventually(lambda: env_of_tasks(carried, "shop") == {"1"}, seconds=PATIENCE, every=0.5)


def test_shards_are_spread_over_members_and_move_when_one_goes(world: World) -> None:
    program = f"--from-file=cart.py={ROOT / 'manifests' / 'samples' / 'demo' / 'store.py'}"
    hosts = f"{world.address('zookeeper')}:2181"
    literals = ("--from-literal=python=/opt/shuren/bin/python", f"--from-literal=zookeeper={hosts}")
    world.kubectl("create", "configmap", "cart", program, *literals)
    outside = f"{ZOOKEEPER_ROOT}/shards/default.sessions"
    with running(world, REGISTERED, hosts, outside, "cache-1", "cache-2", "cache-3") as members:
        assert members.stdout is not None
        assert members.stdout.readline() == "registered\n"
        world.sample("shards")
        for what in ("paasapp/cart", "shardmap/cart", "shardmap/sessions"):
            world.wait(what, "condition=Ready")
        status = world.get("shardmap", "cart")["status"]
        assert (status["members"]["live"], status["progress"], status["rackViolations"]) == (AGENTS, "1024/1024", 0), status
        # as the sample has it a third of the shards takes its time, on purpose
        caps = {"spec": {"moves": {"planned": {"percent": 50, "incoming": 200, "outgoing": 200}}}}
        world.kubectl("patch", "shardmap/cart", "--type=merge", "-p", json.dumps(caps))
        world.scale("cart", -1)
        world.wait("paasapp/cart", "condition=Ready")

        def rests() -> bool:
            # the session of the one that has ended goes a little later
            status = world.get("shardmap", "cart")["status"]
            return (status["members"]["live"], status["progress"]) == (AGENTS - 1, "1024/1024")

        eventually(rests, seconds=PATIENCE, every=0.5)


def shuren(world: World, command: str, *arguments: str) -> str:
    """The command line as a user of the cluster has it."""
    argv = [sys.executable, "-m", "shuren.cli", command, "--kubeconfig", str(world.kubeconfig), "-n", "default", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_commands_see_the_way_from_resource_to_answer(carried: World) -> None:
    if carried.target != "node":
        pytest.skip("Marathon and ZooKeeper of a cluster in Docker cannot be reached from here")
    eventually(lambda: served(carried, "shop.example.org")[0][0] == 200, seconds=PATIENCE, every=0.5)
    (way,) = json.loads(shuren(carried, "why", "psvc/web", "-o", "json"))
    assert {link["verdict"] for link in way["links"]} == {"ok"}, way
    assert json.loads(shuren(carried, "plan", "--live", "-o", "json"))["changes"] is False
    task = min(carried.tasks("web"))
    assert shuren(carried, "exec", task, "--", "cat", "site/index.html") == f"hello from {task}, version 1\n"
