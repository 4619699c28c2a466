"""Every part of a sandbox as a value: its command line, its environment, how it tells that it is ready.

The flags and their reasons are facts of Kubernetes 1.37, etcd 3.7 and ZooKeeper 3.8; a loopback-only control plane needs
`--endpoint-reconciler-type=none`, because a loopback address is refused in Endpoints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shuren.devenv.binaries import Binaries
from shuren.devenv.keypairs import KeyPair
from shuren.devenv.options import MAX_AGENTS, Options
from shuren.devenv.places import StateDir
from shuren.devenv.probes import HttpProbe, Probe, ZooKeeperProbe

OPERATOR_NAMESPACE = "shuren-system"
OPERATOR_ACCOUNT = "shuren-operator"
LB_ACCOUNT = "shuren-lb"
"""ServiceAccount of the load balancers, without any right: who wants TLS from a Secret lets it `get` that one (docs/decisions/0011)."""
ZOOKEEPER_ROOT = "/shuren/sandbox"
CLUSTER = "sandbox"
LB_GROUP = "sandbox"
LB_PORTS = "1024-65535"

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # The control plane's talk with itself is nine tenths of all requests and shows nothing about the product's rights.
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager", "system:anonymous"]},
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process. `stop_seconds` is how long it may take to end after SIGTERM before it is killed."""

    name: str
    index: int
    argv: Sequence[str]
    log: Path
    ports: Mapping[str, int]
    probe: Probe
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ready_seconds: float = 60.0
    stop_seconds: float = 15.0

    @property
    def key(self) -> str:
        """How commands name it: `etcd=1`, `operator=2`."""
        return f"{self.name}={self.index}"


@dataclass(frozen=True, kw_only=True)
class KubePorts:
    """Ports of the control plane."""

    etcd_client: int
    etcd_peer: int
    apiserver: int
    manager: int


@dataclass(frozen=True, kw_only=True)
class KubeSecrets:
    """Certificates the control plane is started with; `kubelets` is what the API server shows to the kubelet of a node that joins."""

    ca: KeyPair
    apiserver: KeyPair
    accounts: KeyPair
    kubelets: KeyPair
    manager_kubeconfig: Path


def control_plane(place: StateDir, binaries: Binaries, ports: KubePorts, secrets: KubeSecrets) -> tuple[Part, Part, Part]:
    """etcd, kube-apiserver and kube-controller-manager, in the order in which they start."""
    client, peer = f"http://127.0.0.1:{ports.etcd_client}", f"http://127.0.0.1:{ports.etcd_peer}"
    etcd = Part(
        name="etcd",
        index=1,
        argv=(
            str(binaries.etcd),
            f"--data-dir={place.root / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # nothing here must outlive the machine
            "--log-level=warn",
        ),
        log=place.logs / "etcd.log",
        ports={"client": ports.etcd_client, "peer": ports.etcd_peer},
        probe=HttpProbe(url=f"{client}/health"),
    )
    policy = place.kube / "audit-policy.json"
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text(json.dumps(_AUDIT_POLICY))
    url = f"https://127.0.0.1:{ports.apiserver}"
    apiserver = Part(
        name="apiserver",
        index=1,
        argv=(
            str(binaries.apiserver),
            f"--etcd-servers={client}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",  # without a default route there is nothing to guess it from
            f"--secure-port={ports.apiserver}",
            f"--tls-cert-file={secrets.apiserver.certificate}",
            f"--tls-private-key-file={secrets.apiserver.key}",
            f"--client-ca-file={secrets.ca.certificate}",
            f"--kubelet-client-certificate={secrets.kubelets.certificate}",
            f"--kubelet-client-key={secrets.kubelets.key}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={secrets.accounts.certificate}",
            f"--service-account-signing-key-file={secrets.accounts.key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={place.audit_log}",
            "--audit-log-maxsize=500",
        ),
        log=place.logs / "apiserver.log",
        ports={"https": ports.apiserver},
        probe=HttpProbe(url=f"{url}/readyz", ca=secrets.ca.certificate),
        ready_seconds=120.0,
        stop_seconds=25.0,  # it drains watches first; if etcd died before it, shutdown alone takes 17 s
    )
    manager = Part(
        name="controller-manager",
        index=1,
        argv=(
            str(binaries.controller_manager),
            f"--kubeconfig={secrets.manager_kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.manager}",
            f"--cert-dir={place.root / 'pki' / 'manager'}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={secrets.accounts.key}",
            f"--root-ca-file={secrets.ca.certificate}",
            f"--cluster-signing-cert-file={secrets.ca.certificate}",
            f"--cluster-signing-key-file={secrets.ca.key}",
            "--kube-api-qps=200",  # the default 20 makes deleting a namespace of a few hundred objects take long
            "--kube-api-burst=400",
        ),
        log=place.logs / "controller-manager.log",
        ports={"https": ports.manager},
        probe=HttpProbe(url=f"https://127.0.0.1:{ports.manager}/healthz", insecure=True),
    )
    return etcd, apiserver, manager


@dataclass(frozen=True, kw_only=True)
class ZooKeeperPorts:
    """Of one server; `peer` and `election` are used in an ensemble only."""

    client: int
    peer: int
    election: int


def zookeepers(place: StateDir, java: Path, jar: Path, ports: Sequence[ZooKeeperPorts]) -> list[Part]:
    """One standalone server, or an ensemble."""
    parts = []
    members = [f"server.{n}=127.0.0.1:{one.peer}:{one.election}" for n, one in enumerate(ports, 1)] if len(ports) > 1 else []
    for index, one in enumerate(ports, 1):
        home = place.root / "zookeeper" / str(index)
        (home / "data").mkdir(parents=True, exist_ok=True)
        (home / "data" / "myid").write_text(f"{index}\n")
        config = home / "zoo.cfg"
        lines = [
            "tickTime=200",  # sessions of a few seconds, so that tests of lost sessions need not wait long
            "initLimit=50",
            "syncLimit=25",
            "minSessionTimeout=400",
            "maxSessionTimeout=60000",
            "dataDir=./data",  # Java reads this file as Latin-1, and file names by the locale: relative ones are right in any directory
            f"clientPort={one.client}",
            "clientPortAddress=127.0.0.1",
            "4lw.commands.whitelist=*",
            "admin.enableServer=false",
            "forceSync=no",
            "maxClientCnxns=0",
            *members,
        ]
        config.write_text("\n".join(lines) + "\n")
        classpath = f"{jar}:{jar.parent / 'slf4j-simple.jar'}"  # without a binding SLF4J is silent
        parts.append(
            Part(
                name="zookeeper",
                index=index,
                argv=(
                    str(java),
                    "-Xmx256m",
                    "-XX:TieredStopAtLevel=1",
                    "-XX:+UseSerialGC",
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    f"-Djute.maxbuffer={4 * 1024 * 1024}",
                    "-cp",
                    classpath,
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    f"./{config.name}",
                ),
                cwd=home,
                log=place.logs / f"zookeeper-{index}.log",
                ports={"client": one.client},
                probe=ZooKeeperProbe(port=one.client),
            )
        )
    return parts


@dataclass(frozen=True, kw_only=True)
class EnginePorts:
    """Of one engine process."""

    marathon: int
    mesos: int


def engines(place: StateDir, options: Options, ports: Sequence[EnginePorts], agents_file: Path) -> list[Part]:
    """The Marathon-compatible engine; a second one on the same state is the standby."""
    parts = []
    for index, one in enumerate(ports, 1):
        peers = [f"--ha-peer=http://127.0.0.1:{other.marathon}" for other in ports if other is not one]
        parts.append(
            Part(
                name="engine",
                index=index,
                argv=(
                    sys.executable,
                    "-m",
                    "shuren.sandbox",
                    f"--state-dir={place.root / 'engine'}",
                    f"--listen=127.0.0.1:{one.marathon}",
                    f"--mesos-listen=127.0.0.1:{one.mesos}",
                    f"--agents-file={agents_file}",
                    f"--runner={options.runner}",
                    *peers,
                    *options.engine_arguments,
                ),
                log=place.logs / f"engine-{index}.log",
                ports={"marathon": one.marathon, "mesos": one.mesos},
                probe=HttpProbe(url=f"http://127.0.0.1:{one.marathon}/ping"),
            )
        )
    return parts


def operators(place: StateDir, kubeconfig: Path, ports: Sequence[int]) -> list[Part]:
    """Replicas of the operator, each under the ServiceAccount that `manifests/` describes."""
    return [
        Part(
            name="operator",
            index=index,
            argv=(sys.executable, "-m", "shuren.cli", "operator"),
            log=place.logs / f"operator-{index}.log",
            ports={"metrics": port},
            probe=HttpProbe(url=f"http://127.0.0.1:{port}/readyz"),
            env={
                "KUBECONFIG": str(kubeconfig),
                "SHUREN_NAMESPACE": OPERATOR_NAMESPACE,
                "SHUREN_METRICS_PORT": str(port),
                "SHUREN_IDENTITY": f"operator-{index}",
                "SHUREN_LOG_FORMAT": "console",
            },
            stop_seconds=30.0,
        )
        for index, port in enumerate(ports, 1)
    ]


def load_balancers(place: StateDir, zookeeper_hosts: str, network: str, kubeconfig: Path, ports: Sequence[int]) -> list[Part]:
    """`shuren lb`, each with a HAProxy of its own on an address of its own in the sandbox' network: they share no port with anybody."""
    return [
        Part(
            name="lb",
            index=index,
            argv=(sys.executable, "-m", "shuren.cli", "lb", f"--ports={LB_PORTS}", "--counters-seconds=1", "--certificates-seconds=2"),
            log=place.logs / f"lb-{index}.log",
            ports={"metrics": port},
            probe=HttpProbe(url=f"http://127.0.0.1:{port}/readyz"),
            env={
                "SHUREN_ZOOKEEPER": zookeeper_hosts,
                "SHUREN_ROOT": ZOOKEEPER_ROOT,
                "SHUREN_LB_GROUP": LB_GROUP,
                "SHUREN_LB_ID": f"lb-{index}",
                "SHUREN_LB_STATE_DIR": str(place.root / "lb" / str(index)),
                "SHUREN_LB_BIND_ADDRESS": lb_address(network, index),
                "SHUREN_LB_METRICS_PORT": str(port),
                # whatever cluster the user's shell is connected with is none of ours
                "KUBECONFIG": str(kubeconfig),
                "KUBERNETES_SERVICE_HOST": "",
            },
        )
        for index, port in enumerate(ports, 1)
    ]


def load_balancer_account() -> dict[str, object]:
    """The ServiceAccount whose token load balancers show."""
    metadata = {"name": LB_ACCOUNT, "namespace": OPERATOR_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}


def lb_address(network: str, index: int) -> str:
    """Where the load balancer of that number listens: above the agents' addresses."""
    return f"{network}.{MAX_AGENTS + index}"


def write_agents(path: Path, network: str, count: int) -> Path:
    """The engine's agents: one address each in this sandbox' own loopback network, so that sandboxes do not share the ports 31000-32000."""
    agents = [
        {
            "hostname": f"{network}.{number}",
            "cpus": 4,
            "mem": 8192,
            "disk": 20480,
            "gpus": 0,
            "ports": "31000-32000",
            "attributes": {"rack": f"rack-{(number - 1) % 3 + 1}"},
        }
        for number in range(1, count + 1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(agents, indent=1))
    return path


def mesos_cluster(marathon_urls: Sequence[str], masters: Sequence[str], zookeeper_hosts: Sequence[str]) -> dict[str, object]:
    """The resource that connects the operator with this sandbox."""
    return {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "MesosCluster",
        "metadata": {"name": CLUSTER},
        "spec": {
            "marathon": {"urls": list(marathon_urls)},
            "mesos": {"masters": list(masters)},
            "zookeeper": {"hosts": list(zookeeper_hosts), "root": ZOOKEEPER_ROOT},
        },
    }
