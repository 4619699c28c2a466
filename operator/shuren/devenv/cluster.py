"""The Kubernetes cluster of a sandbox, own or foreign, as its administrator: kubectl, and the credentials around it.

kubectl is always told its kubeconfig: what the environment names may be somebody's production.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shuren.devenv import parts
from shuren.devenv.errors import DevenvError, log_tail
from shuren.devenv.kubeconfig import ClusterEntry, Token, embedded, write_kubeconfig
from shuren.devenv.places import StateDir

_GRANTED_FOR = "720h"
"""How long a token lasts: longer than any sandbox, since nothing renews it."""


def make_secrets(place: StateDir, server: str) -> parts.KubeSecrets:
    """Issue every certificate of an own control plane and write the kubeconfigs that rest on one."""
    from shuren.devenv.pki import Authority  # noqa: PLC0415 - cryptography takes long to import, and few commands make certificates

    authority = Authority(place.pki)
    ca = authority.ca
    cluster: ClusterEntry = {"server": server, "certificate-authority-data": embedded(ca.certificate)}
    admin = authority.client("admin", user="admin", groups=["system:masters"])
    manager = authority.client("controller-manager", user="system:kube-controller-manager")
    write_kubeconfig(admin_kubeconfig(place), cluster=cluster, user="admin", credential=admin)
    return parts.KubeSecrets(
        ca=ca,
        apiserver=authority.server("apiserver", common_name="kube-apiserver", addresses=("127.0.0.1", "10.96.0.1")),
        accounts=authority.signing_key("accounts"),
        kubelets=authority.client("kubelets", user="kube-apiserver-kubelet-client", groups=["system:masters"]),
        manager_kubeconfig=write_kubeconfig(
            place.kube / "controller-manager.kubeconfig", cluster=cluster, user="controller-manager", credential=manager
        ),
    )


def admin_kubeconfig(place: StateDir) -> Path:
    """Of an own control plane."""
    return place.kube / "admin.kubeconfig"


def operator_kubeconfig(place: StateDir) -> Path:
    """With the rights that the manifests grant, and no more."""
    return place.kube / "operator.kubeconfig"


def lb_kubeconfig(place: StateDir) -> Path:
    """Of the load balancers, with no right but those that somebody gives their ServiceAccount."""
    return place.kube / "lb.kubeconfig"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """kubectl with the administrator's kubeconfig."""

    place: StateDir
    kubectl: Path
    kubeconfig: Path

    async def apply_crds(self, files: Sequence[Path]) -> None:
        """Apply and wait until they are served."""
        if files:
            await self.apply(files)
            await self.wait("customresourcedefinition", "condition=Established", "--all", seconds=30)

    async def apply(self, files: Sequence[Path]) -> None:
        """Server-side apply of these files."""
        if files:
            await self._run("apply", "--server-side", *(f"--filename={file}" for file in files))

    async def apply_object(self, resource: dict[str, object]) -> None:
        """Server-side apply of one object."""
        await self._run("apply", "--server-side", "--filename=-", stdin=json.dumps(resource))

    async def wait(self, what: str, condition: str, *options: str, seconds: int) -> None:
        """`kubectl wait`."""
        await self._run("wait", what, f"--for={condition}", f"--timeout={seconds}s", *options)

    async def wait_ready(self, what: str, *, seconds: int, log: Path) -> None:
        """Wait for the condition Ready. DevenvError with what the resource itself says, and the end of the log of whoever makes it so."""
        try:
            await self.wait(what, "condition=Ready", seconds=seconds)
        except DevenvError as error:
            ready = "--output=jsonpath={range .status.conditions[?(@.type=='Ready')]}{.reason}: {.message}{end}"
            said = (await self._run("get", what, ready)).strip() or "it has no status, so no operator has looked at it"
            raise DevenvError(f"{what} was not Ready after {seconds} s: {said}", tail=log_tail(log)) from error

    async def write_kubeconfig(self, account: str, file: Path) -> None:
        """With a token of that ServiceAccount, which is in the operator's namespace."""
        namespace = parts.OPERATOR_NAMESPACE
        token = await self._run("create", "token", account, f"--namespace={namespace}", f"--duration={_GRANTED_FOR}")
        view: dict[str, Any] = json.loads(await self._run("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
        write_kubeconfig(
            file,
            cluster=view["clusters"][0]["cluster"],
            user=account,
            credential=Token(value=token.strip()),
            namespace=namespace,
        )

    async def _run(self, verb: str, *arguments: str, stdin: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            str(self.kubectl),
            f"--kubeconfig={self.kubeconfig}",
            f"--cache-dir={self.place.kube / 'cache'}",
            verb,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        if process.returncode != 0:
            raise DevenvError(f"kubectl {verb} {' '.join(arguments)} failed: {err.decode(errors='replace').strip()}")
        return out.decode()
