"""kubeconfig files. Written as JSON, which every reader of kubeconfigs takes as the YAML it is."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shuren.devenv.keypairs import KeyPair


@dataclass(frozen=True, kw_only=True)
class Token:
    """A bearer token as credential."""

    value: str


Credential = KeyPair | Token
ClusterEntry = dict[str, Any]
"""The `cluster` node of a kubeconfig: server and how to trust it."""


def write_kubeconfig(path: Path, *, cluster: ClusterEntry, user: str, credential: Credential, namespace: str = "default") -> Path:
    """Write a kubeconfig of one context named `sandbox`, readable by its owner only; data is embedded, so that the file can be moved."""
    match credential:
        case Token(value=value):
            auth: dict[str, Any] = {"token": value}
        case KeyPair(certificate=certificate, key=key):
            auth = {"client-certificate-data": embedded(certificate), "client-key-data": embedded(key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sandbox",
        "clusters": [{"name": "sandbox", "cluster": cluster}],
        "users": [{"name": user, "user": auth}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": user, "namespace": namespace}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(config, file, indent=1)
    return path


def embedded(path: Path) -> str:
    """A file's content in the form of the `…-data` fields."""
    return base64.b64encode(path.read_bytes()).decode()
