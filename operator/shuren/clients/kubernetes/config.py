"""Where the API server is and how to prove who we are: a kubeconfig file, or the files a pod finds."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shuren.domain.errors import Invalid

_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_UNUSABLE_LOGINS = {"exec", "auth-provider", "username", "as"}
_UNUSABLE_ROUTES = {"proxy-url", "tls-server-name"}


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach one API server. `token` is asked before each request, since pods' tokens are rotated in their file."""

    server: str
    context: ssl.SSLContext
    token: Callable[[], str]
    namespace: str = "default"
    server_name: str | None = None
    """Expected in the server's certificate instead of the URL's host."""
    proxy: str | None = None
    """URL of an HTTP proxy on the way there."""


def _no_token() -> str:
    return ""


def from_pod(directory: Path = _POD, *, environ: Mapping[str, str]) -> Access:
    """The ServiceAccount of the pod we run in. Invalid when this is no pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    token_file = directory / "token"
    if not host or not token_file.exists():
        raise Invalid("not in a pod and KUBECONFIG is not set: set KUBECONFIG to a kubeconfig file")
    try:
        context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    except (ssl.SSLError, OSError) as error:
        raise Invalid(f"{directory / 'ca.crt'}: the cluster's certificate authority cannot be read: {error}") from error
    namespace_file = directory / "namespace"
    namespace = namespace_file.read_text().strip() if namespace_file.exists() else "default"
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        context=context,
        token=lambda: token_file.read_text().strip(),
        namespace=namespace,
    )


def from_kubeconfig(path: Path, *, context_name: str = "") -> Access:
    """The current (or named) context of a kubeconfig. Invalid, with the key at fault, when it cannot be used."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise Invalid(f"kubeconfig {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise Invalid(f"kubeconfig {path}: not YAML: {error}") from error
    if not isinstance(document, dict):
        raise Invalid(f"kubeconfig {path}: not a mapping")
    chosen = context_name or document.get("current-context", "")
    context = _named(document, "contexts", chosen, path).get("context") or {}
    cluster = _named(document, "clusters", context.get("cluster", ""), path).get("cluster") or {}
    user = _named(document, "users", context.get("user", ""), path).get("user") or {}
    if unusable := sorted(_UNUSABLE_LOGINS & set(user)):
        raise Invalid(
            f"kubeconfig {path}: user {context.get('user')!r} logs in by {unusable[0]}, which the operator cannot; it needs a token "
            "or a client certificate. Create a token with `kubectl create token` for its ServiceAccount."
        )
    if unusable := sorted(_UNUSABLE_ROUTES & set(cluster)):
        raise Invalid(f"kubeconfig {path}: cluster {context.get('cluster')!r} sets {unusable[0]}, which the operator cannot follow")
    if not cluster.get("server"):
        raise Invalid(f"kubeconfig {path}: cluster {context.get('cluster')!r} has no server")
    try:
        tls = _tls(cluster, user, base=path.parent)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise Invalid(
            f"kubeconfig {path}: a certificate or key of cluster {context.get('cluster')!r} or user {context.get('user')!r} "
            f"cannot be used: {error}"
        ) from error
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        context=tls,
        token=_token(user, base=path.parent),
        namespace=context.get("namespace") or "default",
    )


def _named(document: Mapping[str, Any], section: str, name: str, path: Path) -> Mapping[str, Any]:
    for item in document.get(section) or []:
        if item.get("name") == name:
            return dict(item)
    raise Invalid(f"kubeconfig {path}: no entry named {name!r} under {section}")


def _token(user: Mapping[str, Any], *, base: Path) -> Callable[[], str]:
    if file := user.get("tokenFile"):
        where = base / file
        return lambda: where.read_text().strip()
    if token := user.get("token"):
        fixed = str(token)
        return lambda: fixed
    return _no_token


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], *, base: Path) -> ssl.SSLContext:
    data = cluster.get("certificate-authority-data")
    file = cluster.get("certificate-authority")
    if data:
        trusted = base64.b64decode(data).decode()
        if not trusted.strip():
            raise ValueError("certificate-authority-data is empty")  # the system's authorities would be trusted instead
        context = ssl.create_default_context(cadata=trusted)
    else:
        context = ssl.create_default_context(cafile=str(base / file) if file else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if user.get("client-certificate-data") and user.get("client-key-data"):
        # the ssl module takes certificates from files only; the file is gone again before this function returns
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
            pem.flush()
            context.load_cert_chain(pem.name)
    elif user.get("client-certificate") and user.get("client-key"):
        context.load_cert_chain(str(base / user["client-certificate"]), str(base / user["client-key"]))
    return context


def from_environment(environ: Mapping[str, str]) -> Access:
    """`KUBECONFIG` (one file) when set, else the pod's ServiceAccount."""
    named = environ.get("KUBECONFIG", "")
    if os.pathsep in named:
        raise Invalid(f"KUBECONFIG names several files ({named}); the operator takes one")
    return from_kubeconfig(Path(named)) if named else from_pod(environ=environ)
