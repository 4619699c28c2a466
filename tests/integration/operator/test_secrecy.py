"""What a Secret holds is nowhere but where it is used: marked values are looked for in everything that we write or say.

Everybody is there: two replicas, a load balancer and a name server, on a ZooKeeper that lets nobody in without a login by SASL.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest
from typer.testing import CliRunner

from engine_process import free_port
from kube_rest import Rest
from lb_process import Balancer
from lb_room import GROUP
from real_parts import fresh_namespace
from replicas import World
from shuren.cli.app import app
from shuren.clients.zookeeper.client import Digest, ZooKeeperClient
from shuren.devenv.background import Sandbox
from shuren.devenv.keypairs import KeyPair
from shuren.devenv.parts import CLUSTER
from shuren.devenv.pki import Authority
from shuren.domain.errors import ShurenError
from tenant import PATIENCE, Tenant, broken, web
from waiting import eventually
from zookeeper_process import sasl_server

pytestmark = pytest.mark.usefixtures("unmeasured_programs")

READER = ("--clusterrole=shuren-secrets-reader", "--serviceaccount=shuren-system:shuren-operator")
VARIABLE, FILE, MARATHON, ZOOKEEPER = "mark-variable-8d1f", "mark-file-52c7", "mark-marathon-e90b", "mark-zookeeper-77aa"
KINDS = "paasapps,paasservices,shardmaps,mesosclusters,controllerrevisions,events.events.k8s.io,events,leases,services,endpointslices"
HOST, ZONE = "web.example", "mesos.test"
COMMANDS = (
    ("status",),
    ("status", "-o", "json"),
    ("why", "paasapp/web", "-o", "json"),
    ("why", "paasservice/web"),
    ("diff",),
    ("diff", "-o", "json"),
    ("history", "web"),
    ("history", "web", "-o", "json"),
    ("plan", "--live"),
    ("plan", "--live", "-o", "json"),
    ("top",),
    ("doctor",),
    ("export", "--kubernetes"),
)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """The world with marked values in it, and who runs in it."""

    world: World
    user: Tenant
    hosts: str
    root: str
    authority: Authority
    certificate: KeyPair
    balancer: Balancer
    balancer_metrics: int
    name_server: subprocess.Popen[bytes]
    name_server_port: int
    name_server_metrics: int
    directory: Path

    @property
    def sandbox(self) -> Sandbox:
        """Where all that is."""
        return self.world.sandbox

    @property
    def key_mark(self) -> str:
        """A line from the middle of the certificate's private key."""
        return self.certificate.key.read_text().splitlines()[2]


@pytest.fixture(scope="module")
def planted(cut_off: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    # what is started from here on would leave core files if it let itself
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    for one in cut_off.both:
        one.end()
    cut_off.up()
    directory = tmp_path_factory.mktemp("planted")
    with ExitStack() as stack:
        rest = Rest(cut_off.sandbox.endpoints.kubeconfig)
        stack.callback(rest.close)
        hosts = stack.enter_context(sasl_server(directory, {"shuren": ZOOKEEPER}))
        namespace = stack.enter_context(fresh_namespace(cut_off.sandbox))
        user = Tenant(sandbox=cut_off.sandbox, namespace=namespace, rest=rest)
        authority = Authority(directory / "pki")
        pair = authority.server("web", common_name=HOST)
        _secrets(user, pair)
        stack.callback(lambda: user.sandbox.kubectl("-n", "shuren-system", "delete", "secret", "to-marathon", "to-zookeeper"))
        root = f"/shuren/second-{namespace}"
        given = user.sandbox.get("mesoscluster", CLUSTER)["spec"]
        login = {"namespace": "shuren-system", "name": "to-zookeeper"}
        logins = {
            "marathon": {**given["marathon"], "authSecretRef": {"namespace": "shuren-system", "name": "to-marathon"}},
            "zookeeper": {"hosts": [hosts], "root": root, "authSecretRef": login, "authScheme": "Sasl"},
            "dns": {"zone": ZONE},
        }
        cluster = stack.enter_context(user.second_cluster(**logins))
        user.sandbox.kubectl("wait", f"mesoscluster/{cluster}", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")
        environ = {"SHUREN_ZOOKEEPER_USERNAME": "shuren", "SHUREN_ZOOKEEPER_PASSWORD": ZOOKEEPER, "SHUREN_ZOOKEEPER_SCHEME": "sasl"}
        metrics = [free_port(), free_port()]
        balancer = Balancer(
            directory / "lb",
            hosts,
            *("--metrics-port", str(metrics[0]), "--log-level", "DEBUG"),
            root=root,
            environ={**environ, "KUBECONFIG": str(user.sandbox.endpoints.kubeconfig)},
        )
        balancer.start()
        stack.callback(lambda: asyncio.run(balancer.end()))
        port = free_port()
        with (directory / "dns.log").open("wb") as log:
            command = [sys.executable, "-m", "shuren.cli", "dns", "--zookeeper", hosts, "--root", root, "--address", "127.0.0.1"]
            options = [
                "--port",
                str(port),
                "--state-dir",
                str(directory / "dns"),
                "--metrics-port",
                str(metrics[1]),
                "--log-level",
                "DEBUG",
            ]
            name_server = subprocess.Popen([*command, *options], stdout=log, stderr=log, env={**os.environ, **environ})
        stack.callback(lambda: name_server.wait(60))
        stack.callback(name_server.terminate)
        _apply(user, cluster, balancer.port)
        stack.callback(lambda: user.kubectl("delete", "paasservice/web", f"--timeout={PATIENCE:.0f}s"))
        eventually((balancer.directory / "master.sock").exists, seconds=PATIENCE)
        yield Planted(
            world=cut_off,
            user=user,
            hosts=hosts,
            root=root,
            authority=authority,
            certificate=pair,
            balancer=balancer,
            balancer_metrics=metrics[0],
            name_server=name_server,
            name_server_port=port,
            name_server_metrics=metrics[1],
            directory=directory,
        )


def _secrets(user: Tenant, pair: KeyPair) -> None:
    user.kubectl("create", "rolebinding", "reader", *READER)
    user.kubectl("create", "secret", "generic", "app", f"--from-literal=variable={VARIABLE}", f"--from-literal=file={FILE}")
    user.kubectl("create", "secret", "tls", "web-tls", f"--cert={pair.certificate}", f"--key={pair.key}")
    system = ("-n", "shuren-system", "create", "secret", "generic")
    user.sandbox.kubectl(*system, "to-marathon", "--from-literal=username=shuren", f"--from-literal=password={MARATHON}")
    user.sandbox.kubectl(*system, "to-zookeeper", "--from-literal=username=shuren", f"--from-literal=password={ZOOKEEPER}")


def _references(cluster: str) -> dict[str, object]:
    return {
        "clusterRef": {"name": cluster},
        "envRefs": [{"name": "PASSWORD", "secretKeyRef": {"name": "app", "key": "variable"}}],
        "filesFrom": [{"path": "site/token", "secretKeyRef": {"name": "app", "key": "file"}}],
    }


def _apply(user: Tenant, cluster: str, port: int) -> None:
    references = _references(cluster)
    listener = {"name": "https", "protocol": "HTTPS", "port": port, "hosts": [HOST]}
    service = {
        "clusterRef": {"name": cluster},
        "backends": [{"name": "web", "appRef": {"name": "web"}, "portName": "http"}],
        "loadBalancer": {"group": GROUP, "listeners": [{**listener, "tls": {"certificates": [{"secretRef": {"name": "web-tls"}}]}}]},
    }
    kind = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasService"}
    user.sandbox.apply({**kind, "metadata": {"name": "web", "namespace": user.namespace}, "spec": service})
    user.run("web", web("1", **references))
    user.kubectl("wait", "paasservice/web", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")


def test_whole_programs_work_with_a_zookeeper_that_asks_for_a_login_by_sasl(planted: Planted) -> None:
    trusting = ssl.create_default_context(cafile=str(planted.authority.ca.certificate))
    trusting.check_hostname = False  # the name is in the subject alone; the answer below names it

    def answered() -> bool:
        try:
            return _answer(planted.balancer.port, trusting) == (200, b"1", HOST)
        except (OSError, http.client.HTTPException):
            return False

    eventually(answered, seconds=PATIENCE)
    name = f"web.{planted.user.namespace}.{ZONE}"

    def named() -> bool:
        found = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=planted.name_server_port, timeout=5.0)
        return len([record for rrset in found.answer for record in rrset]) == len(planted.user.tasks("web"))

    eventually(named, seconds=PATIENCE)
    assert not asyncio.run(_reads(planted.hosts, f"{planted.root}/meta")), "without a login"


def _answer(port: int, trusting: ssl.SSLContext) -> tuple[int, bytes, str]:
    """Status, content, and the common name of the certificate."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        trusting.wrap_socket(plain, server_hostname=HOST) as line,
        closing(http.client.HTTPResponse(line)) as answer,
    ):
        line.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        answer.begin()
        shown: Any = line.getpeercert()
        return answer.status, answer.read().strip(), dict(pair for part in shown["subject"] for pair in part)["commonName"]


async def _reads(hosts: str, path: str) -> bool:
    """Whether somebody without a login gets at a node."""
    client = ZooKeeperClient(hosts, request_timeout=3.0)
    try:
        await client.connect(within=3.0)
        await client.get(path)
    except ShurenError:
        return False
    else:
        return True
    finally:
        await client.close()


def test_programs_that_hold_secrets_leave_no_core_files(planted: Planted) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("nobody here may leave a core file (ulimit -Hc)")
    master = asyncio.run(planted.balancer.haproxy_pid())
    programs = [one.pid for one in planted.world.both] + [planted.balancer.pid, master, planted.name_server.pid]
    for pid in programs:
        limits = Path(f"/proc/{pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert line.split()[4] == "0", f"{pid}: {line}"


def test_marked_values_are_in_nothing_that_is_written_or_said(planted: Planted, tmp_path: Path) -> None:
    user, sandbox = planted.user, planted.sandbox
    references = _references(f"second-{user.namespace}")
    # what goes wrong must not say more: a version that fails, one that Marathon refuses, one that waits, a value that somebody else changed
    user.apply("web", broken("2", **references, rollout={"deadlineSeconds": 10, "onFailure": "Rollback"}))
    user.until_reason("web", "RolledBack")
    user.apply("refused", web("1", **references, role="nobody"))
    user.apply("waiting", web("1", **references, cpus=10_000))
    user.run("drifted", web("1", **references, instances=1, management={"drift": "Warn"}))
    user.until(lambda: bool(user.reason("refused")) and bool(user.reason("waiting")))
    found = user.engine.app(user.app_id("web"))
    assert found is not None
    assert found["env"]["PASSWORD"] == VARIABLE, "it did come where it is used"
    drifted = user.engine.app(user.app_id("drifted"))
    assert drifted is not None
    elsewhere = {"env": {**drifted["env"], "PASSWORD": "another", "COPY": VARIABLE}}
    user.engine.ask("PATCH", f"/v2/apps/{user.app_id('drifted')}", elsewhere)
    user.until(lambda: user.condition("drifted", "InSync").get("status") == "False", about="drifted")

    manifest, kept = tmp_path / "web.yaml", tmp_path / "backup.json"
    manifest.write_text(json.dumps(user.manifest("web", web("3", **references))))
    said = {
        **{f"kubectl get {kind}": user.kubectl("get", kind, "-A", "-o", "yaml", "--show-managed-fields") for kind in KINDS.split(",")},
        **{f"log of {one.name}": one.log.read_text(errors="replace") for one in planted.world.both},
        **{f"metrics of {one.name}": _metrics(one.metrics) for one in planted.world.both},
        "metrics of the load balancer": _metrics(planted.balancer_metrics),
        "metrics of the name server": _metrics(planted.name_server_metrics),
        **asyncio.run(_nodes(planted.hosts, planted.root)),
        **{f"shuren {' '.join(command)}": _shuren(sandbox, user.namespace, *command) for command in COMMANDS},
        "plan": _shuren(sandbox, user.namespace, "plan", "-f", str(manifest)),
        "plan as JSON": _shuren(sandbox, user.namespace, "plan", "-f", str(manifest), "-o", "json"),
        "shuren backup": _shuren(sandbox, "", "backup", str(kept)),
        "the backup": kept.read_text(),
        "log of the name server": (planted.directory / "dns.log").read_text(errors="replace"),
        **_files(planted.directory / "dns"),
        **_files(planted.balancer.directory),
    }
    keys = {where: text for where, text in said.items() if planted.key_mark in text}
    assert keys, "the load balancer has the certificate's key"
    for where in keys:
        assert "/current/" not in where or not where.endswith(".cfg"), where
        assert Path(where).stat().st_mode & 0o077 == 0, where
    assert len([where for where in said if where.startswith(planted.root)]) > 3, "the nodes could be read"
    assert any(where.endswith("haproxy.cfg") for where in said)
    assert "/env/PASSWORD" in said["shuren diff"]
    assert "web" in said["plan"]
    for where, text in said.items():
        for mark in (VARIABLE, FILE, MARATHON, ZOOKEEPER):
            assert mark not in text, f"{mark} in {where}"
            assert base64.b64encode(mark.encode()).decode()[:-4] not in text, f"{mark} (base64) in {where}"
        assert "Traceback" not in text, where


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


async def _nodes(hosts: str, root: str) -> dict[str, str]:
    """Everything in ZooKeeper below a root, by path, as who has the password reads it."""
    found: dict[str, str] = {}
    client = ZooKeeperClient(hosts, digest=Digest(username="shuren", password=ZOOKEEPER, sasl=True))
    await client.connect()
    try:
        waiting = [root]
        while waiting:
            path = waiting.pop()
            node = await client.get(path)
            found[path] = "" if node is None else node.data.decode(errors="replace")
            waiting += [f"{path}/{name}" for name in await client.children(path) or ()]
    finally:
        await client.close()
    return found


def _files(directory: Path) -> dict[str, str]:
    """Every file that a program keeps."""
    return {str(file): file.read_text(errors="replace") for file in directory.rglob("*") if file.is_file()}


def _shuren(sandbox: Sandbox, namespace: str, *arguments: str) -> str:
    """All that a command prints."""
    where = ("--kubeconfig", str(sandbox.endpoints.kubeconfig), *(("-n", namespace) if namespace else ()))
    done = CliRunner().invoke(app, [*arguments, *where])
    assert done.exit_code in {0, 3, 4}, f"{arguments}: {done.output}"
    return done.output
