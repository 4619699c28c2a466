"""Where things lie: the cache that all sandboxes of a user share, the state directory of one sandbox, and the product's own manifests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from shuren.devenv.errors import DevenvError

_MARKER = "shuren-sandbox"
_OWN_ENTRIES = ("state.json", "control.sock", "pki", "kube", "etcd", "zookeeper", "engine", "lb", "logs")


def cache_dir() -> Path:
    """`$SHUREN_CACHE`, else `$XDG_CACHE_HOME/shuren`, else `~/.cache/shuren`; created when missing."""
    named = os.environ.get("SHUREN_CACHE")
    base = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shuren"
    base = base.expanduser().absolute()
    base.mkdir(parents=True, exist_ok=True)
    return base


def default_state_dir() -> Path:
    """`$SHUREN_STATE_DIR`, else `.sandbox` in the working directory."""
    return Path(os.environ.get("SHUREN_STATE_DIR") or ".sandbox")


@dataclass(frozen=True, kw_only=True)
class StateDir:
    """The files of one sandbox. Every path is absolute, because the control plane refuses relative ones."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> StateDir:
        """The layout under `path`; nothing is created yet."""
        return cls(root=path.expanduser().absolute())

    @property
    def state(self) -> Path:
        """What the supervisor knows, as JSON; replaced as a whole at each change."""
        return self.root / "state.json"

    @property
    def config(self) -> Path:
        """The options of `up`, for a supervisor that runs in the background."""
        return self.root / "config.json"

    @property
    def supervisor_log(self) -> Path:
        """Progress and failures of a supervisor in the background."""
        return self.root / "supervisor.log"

    @property
    def lock(self) -> Path:
        """Held (flock) by the supervisor as long as it lives: the one sign of life that no reused pid can fake."""
        return self.root / _MARKER

    @property
    def socket(self) -> Path:
        """Where the supervisor takes orders."""
        return self.root / "control.sock"

    @property
    def logs(self) -> Path:
        """One file per part, plus `audit.log`."""
        return self.root / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object a line."""
        return self.logs / "audit.log"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def kube(self) -> Path:
        """Kubeconfigs and the API server's policy files."""
        return self.root / "kube"

    def claim(self) -> None:
        """Make the directory ours. Refuses one that holds somebody else's files: a fresh `up` deletes what an earlier one left."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.lock.exists():
            foreign = sorted(entry.name for entry in self.root.iterdir())
            if foreign:
                raise DevenvError(
                    f"--state-dir {self.root} is not empty and was not made by `shuren sandbox` "
                    f"(found {', '.join(foreign[:5])}); name another directory"
                )
            self.lock.touch(mode=0o600)

    def own_entries(self) -> list[Path]:
        """What a fresh `up` removes. The lock stays, and so do a background supervisor's options and log, just written by its starter."""
        return [self.root / name for name in _OWN_ENTRIES]


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """The product's CRDs, RBAC and samples, as they lie in the repository or beside an installed package."""

    root: Path

    @property
    def crds(self) -> Path:
        """Directory of `*.yaml` custom resource definitions."""
        return self.root / "crds"

    @property
    def base(self) -> Path:
        """Kustomization with namespace, ServiceAccount and RBAC."""
        return self.root / "manifests" / "base"

    @property
    def samples(self) -> Path:
        """Sample resources."""
        return self.root / "manifests" / "samples"

    def crd_files(self) -> list[Path]:
        """The CRD files in a stable order; empty when there are none."""
        return sorted(path for path in self.crds.glob("*.yaml") if path.name != "kustomization.yaml")

    def base_files(self) -> list[Path]:
        """What the kustomization of `base` names beside the CRDs: namespace, rights, policies. The Deployment stays out, because the
        sandbox runs the operator itself, outside the cluster.
        """
        kustomization = self.base / "kustomization.yaml"
        if not kustomization.exists():
            return []
        names = yaml.safe_load(kustomization.read_text())["resources"]
        return [self.base / name for name in names if name.endswith(".yaml") and name != "deployment.yaml"]


def find_manifests() -> Manifests:
    """From `$SHUREN_MANIFESTS` (a directory with `crds/` and `manifests/`), else the repository this package runs from."""
    named = os.environ.get("SHUREN_MANIFESTS")
    candidates = [Path(named)] if named else [Path(__file__).absolute().parents[3], Path(__file__).absolute().parent / "data"]
    for root in candidates:
        if (root / "crds").is_dir():
            return Manifests(root=root)
    raise DevenvError(
        f"no directory `crds/` under {' or '.join(map(str, candidates))}: set SHUREN_MANIFESTS to a checkout of the repository"
    )
