"""Who we are and where the API server is, from a kubeconfig by the official client: every way to log in that kubectl knows."""

from __future__ import annotations

import importlib
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shuren.clients.kubernetes.config import Access, from_pod
from shuren.domain.errors import Invalid


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Access, and the name of the context that it is by; empty in a pod."""

    access: Access
    context: str


def choose(*, kubeconfig: str = "", context: str = "", environ: Mapping[str, str] = os.environ) -> Chosen:
    """The named or current context of `kubeconfig`, of KUBECONFIG, or of ~/.kube/config; else the pod we run in.

    Invalid when none can be used.
    """
    named = kubeconfig or environ.get("KUBECONFIG", "")
    if not named and not Path("~/.kube/config").expanduser().exists() and environ.get("KUBERNETES_SERVICE_HOST"):
        return Chosen(access=from_pod(environ=environ), context="")
    # a second to load: only commands that talk to a cluster pay it
    client: Any = importlib.import_module("kubernetes.client")
    config: Any = importlib.import_module("kubernetes.config")
    where = named or "~/.kube/config"
    settings = client.Configuration()
    try:
        contexts, current = config.list_kube_config_contexts(named or None)
        config.load_kube_config(named or None, context=context or None, client_configuration=settings, persist_config=False)
    except config.ConfigException as error:
        hint = "name one with --kubeconfig or KUBECONFIG" if "No configuration found" in str(error) else "kubectl config view shows it"
        raise Invalid(f"kubeconfig {where} cannot be used: {_sentence(error)}; {hint}") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Invalid(f"kubeconfig {where} cannot be read: {error}; kubectl config view shows what is wrong with it") from error
    chosen = next((c for c in contexts if c["name"] == context), None) if context else current
    details = (chosen or {}).get("context") or {}
    try:
        access = Access(
            server=str(settings.host).rstrip("/"),
            context=_tls(settings),
            token=_token(settings),
            namespace=str(details.get("namespace") or "default"),
            server_name=settings.tls_server_name or None,
            proxy=settings.proxy or None,
        )
    except (ssl.SSLError, OSError, ValueError) as error:
        raise Invalid(f"kubeconfig {where}: a certificate or key of context {context or (chosen or {}).get('name')!r}: {error}") from error
    return Chosen(access=access, context=str((chosen or {}).get("name") or ""))


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _tls(settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert or None)
    if not settings.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file or None)
    return context


def _token(settings: Any) -> Callable[[], str]:
    """Asked before each request: the official client renews what has expired."""

    def token() -> str:
        if settings.refresh_api_key_hook is not None:
            settings.refresh_api_key_hook(settings)
        return str(settings.api_key.get("BearerToken") or "").removeprefix("Bearer ")

    return token
