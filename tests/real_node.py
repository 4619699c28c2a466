"""A real node: containerd, kubelet, kube-proxy and a scheduler, joined to the control plane of a sandbox.

Runs inside namespaces of its own (tests/alone.py makes them), where 127.0.0.1 is the sandbox' API server and the node's address is on a
link that leads nowhere. Needs root. The bridge plug-in gives pods addresses; it does not enforce NetworkPolicies.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import oci_images
from shuren.devenv import gobuild
from shuren.devenv.background import Sandbox
from shuren.devenv.binaries import built
from shuren.devenv.errors import log_tail
from shuren.devenv.keypairs import KeyPair
from shuren.devenv.kubeconfig import write_kubeconfig
from shuren.devenv.places import cache_dir
from shuren.devenv.progress import Report
from waiting import eventually

NAME = "localhost"
"""The API server reaches a kubelet by its node's host name first, and this one listens on loopback."""
ADDRESS = "10.250.0.1"
PODS = "10.244.0.0/24"
PLUGINS = Path("/usr/lib/cni")
PATIENCE = 180.0
_PROGRAMS = ("containerd", "runc", "ctr", "buildah", "mmdebstrap", "ip", "nft", "conntrack", "haproxy", "unshare", "java", "ldd")
_HIERARCHIES = Path("/sys/fs/cgroup")


def missing() -> str:
    """Why there can be no node here; empty when there can."""
    if os.geteuid() != 0:
        return "a real node needs root"
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if absent or not (PLUGINS / "bridge").exists():
        return f"{', '.join(absent) or 'containernetworking-plugins'} is missing (as root: make e2e brings it)"
    tried = subprocess.run(
        [*oci_images.ALONE, "ip", "link", "add", "node0", "type", "veth", "peer", "name", "node0p"], capture_output=True, check=False
    )
    if tried.returncode != 0:
        return f"no namespaces with a network of their own: {tried.stderr.decode(errors='replace').strip()}"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "the kernel has no overlay file system"
    return ""


def programs(report: Report) -> Path:
    """The directory with kubelet and kube-proxy, built when they are missing, as is the scheduler."""
    built(cache_dir(), report)
    return gobuild.build_node(cache_dir(), report)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node that is Ready."""

    place: Path

    def load(self, archive: Path) -> None:
        """Make an image known to the node."""
        subprocess.run(_ctr(self.place, "images", "import", str(archive)), check=True, capture_output=True)


@contextmanager
def node(sandbox: Sandbox, place: Path, images: Sequence[Path], cgroup: str, report: Report) -> Iterator[Node]:
    """Brings it up in a namespace that has its `network`, takes it down; logs are in `place`/logs.

    `cgroup` is the name of a control group in every hierarchy.
    """
    (place / "logs").mkdir(parents=True, exist_ok=True)
    control = built(cache_dir(), report)
    own = programs(report)
    with ExitStack() as running:
        _start(running, place, "haproxy", ["haproxy", "-db", "-f", str(_front(place, sandbox))])
        _start(running, place, "containerd", ["containerd", "-c", str(_containerd(place))])
        _until(place, "containerd", lambda: subprocess.run(_ctr(place, "version"), capture_output=True, check=False).returncode == 0)
        made = Node(place=place)
        for archive in images:
            made.load(archive)
        scheduler = _join(sandbox, place, "scheduler", "system:kube-scheduler", "kubernetes.io/kube-apiserver-client")
        _start(
            running,
            place,
            "scheduler",
            [f"{control}/kube-scheduler", f"--kubeconfig={scheduler}", "--bind-address=127.0.0.1", "--leader-elect=false"],
        )
        kubelet = _join(
            sandbox, place, "kubelet", f"system:node:{NAME}", "kubernetes.io/kube-apiserver-client-kubelet", group="system:nodes"
        )
        arguments = [f"--kubeconfig={kubelet}", f"--hostname-override={NAME}", f"--node-ip={ADDRESS}", f"--root-dir={place / 'kubelet'}"]
        arguments += [f"--config={_kubelet(place, sandbox, cgroup)}", f"--cert-dir={place / 'kubelet-pki'}"]
        _start(running, place, "kubelet", [f"{own}/kubelet", *arguments])
        proxy = _join(sandbox, place, "proxy", "system:kube-proxy", "kubernetes.io/kube-apiserver-client")
        _start(running, place, "kube-proxy", [f"{own}/kube-proxy", f"--config={_proxy(place, proxy)}"])
        sandbox.apply(_api_server_endpoints())
        _until(place, "kubelet", lambda: '"Ready"' in _node_ready(sandbox))
        report("  node ready")
        yield made


def _node_ready(sandbox: Sandbox) -> str:
    path = '{.status.conditions[?(@.status=="True")].type}'
    said = sandbox.kubectl("get", "node", NAME, "--ignore-not-found", "-o", f"jsonpath={path}")
    return json.dumps(said.split())


# ---------------------------------------------------------------------------------------------------- network


def network() -> None:
    """An address that is not loopback, which kubelet and Endpoints ask for, and a default route, without a way out."""
    commands = [
        "ip link set lo up",
        "ip link add node0 type veth peer name node0p",
        "ip link set node0p up",
        f"ip addr add {ADDRESS}/24 dev node0",
        "ip link set node0 up",
        "ip route add default dev node0",
    ]
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _front(place: Path, sandbox: Sandbox) -> Path:
    """The API server, which listens on loopback, for pods."""
    server = urlsplit(json.loads(Path(sandbox.endpoints.kubeconfig).read_text())["clusters"][0]["cluster"]["server"])
    return _write(
        place / "haproxy.cfg",
        f"""defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen api
  bind {ADDRESS}:6443
  server local {server.hostname}:{server.port}
""",
    )


def _api_server_endpoints() -> dict[str, object]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
    }


# ---------------------------------------------------------------------------------------------------- how each is told


def _containerd(place: Path) -> Path:
    bridge = {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(place / "cni-data"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    _write(place / "cni" / "10-pods.conflist", json.dumps(bridge))
    return _write(
        place / "containerd.toml",
        # where root lacks CAP_SYS_RESOURCE nobody's OOM score can be lowered
        f"""version = 2
root = "{place}/containerd"
state = "{place}/run"
[grpc]
  address = "{place}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{oci_images.PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{place}/cni"
""",
    )


def _kubelet(place: Path, sandbox: Sandbox, cgroup: str) -> Path:
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "healthzBindAddress": "127.0.0.1",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{place}/containerd.sock",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(sandbox.place.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "clusterDNS": ["10.96.0.10"],
        "resolvConf": "",
        "rotateCertificates": False,
        "serverTLSBootstrap": False,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(place / "pod-logs"),
        "volumePluginDir": str(place / "volume-plugins"),
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s",
    }
    return _write(place / "kubelet.json", json.dumps(config))


def _proxy(place: Path, kubeconfig: Path) -> Path:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "bindAddress": "127.0.0.1",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        # the limits of connection tracking belong to the whole machine
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    return _write(place / "kube-proxy.json", json.dumps(config))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ---------------------------------------------------------------------------------------------------- joining


def _join(sandbox: Sandbox, place: Path, name: str, user: str, signer: str, *, group: str = "") -> Path:
    """A kubeconfig whose certificate the cluster signed, as a node gets one that joins."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    subject += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).sign(key, hashes.SHA256())
    encoded = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": encoded, "signerName": signer, "usages": ["digital signature", "client auth"]}
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    sandbox.apply({**kind, "metadata": {"name": name}, "spec": spec})
    sandbox.kubectl("certificate", "approve", name)
    # no condition tells it
    sandbox.kubectl("wait", f"csr/{name}", "--for=jsonpath={.status.certificate}", f"--timeout={PATIENCE:.0f}s")
    pair = KeyPair(certificate=place / f"{name}.crt", key=place / f"{name}.key")
    pair.certificate.write_bytes(base64.b64decode(sandbox.get("csr", name)["status"]["certificate"]))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pair.key.touch(mode=0o600)
    pair.key.write_bytes(private)
    cluster = json.loads(Path(sandbox.endpoints.kubeconfig).read_text())["clusters"][0]["cluster"]
    return write_kubeconfig(place / f"{name}.kubeconfig", cluster=cluster, user=name, credential=pair)


# ---------------------------------------------------------------------------------------------------- processes


def _ctr(place: Path, *arguments: str) -> list[str]:
    return ["ctr", "--address", str(place / "containerd.sock"), "--namespace", "k8s.io", *arguments]


def _start(running: ExitStack, place: Path, name: str, argv: Sequence[str]) -> None:
    log = running.enter_context((place / "logs" / f"{name}.log").open("wb"))
    process = running.enter_context(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=place))
    running.callback(process.kill)


def _until(place: Path, name: str, question: object) -> None:
    assert callable(question)
    try:
        eventually(question, seconds=PATIENCE, every=0.2)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}\n{log_tail(place / 'logs' / f'{name}.log')}") from None


def hierarchies() -> list[Path]:
    """Where control groups are made: each hierarchy of version 1, or the one of version 2."""
    if (_HIERARCHIES / "cgroup.controllers").exists():
        return [_HIERARCHIES]
    return sorted(path for path in _HIERARCHIES.iterdir() if (path / "cgroup.procs").exists() and not path.is_symlink())
