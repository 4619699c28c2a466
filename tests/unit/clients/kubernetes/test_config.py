from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from shuren.clients.kubernetes.config import from_environment, from_kubeconfig, from_pod
from shuren.devenv.pki import Authority
from shuren.domain.errors import Invalid


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.crt, me.crt and me.key."""
    directory = tmp_path_factory.mktemp("pki")
    Authority(directory).client("me", user="me")
    return directory


def write(directory: Path, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **context: str) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **context}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_a_token_and_a_certificate_authority_inside_the_file(tmp_path: Path, pki: Path) -> None:
    cluster = {"certificate-authority-data": encoded(pki / "ca.crt")}
    access = from_kubeconfig(write(tmp_path, cluster=cluster, user={"token": "secret"}, namespace="n"))
    assert (access.server, access.token(), access.namespace) == ("https://api:6443", "secret", "n")
    assert access.context.verify_mode is ssl.CERT_REQUIRED
    assert len(access.context.get_ca_certs()) == 1


def test_a_client_certificate_inside_the_file(tmp_path: Path, pki: Path) -> None:
    user = {"client-certificate-data": encoded(pki / "me.crt"), "client-key-data": encoded(pki / "me.key")}
    access = from_kubeconfig(write(tmp_path, cluster={"certificate-authority-data": encoded(pki / "ca.crt")}, user=user))
    assert (access.token(), access.namespace) == ("", "default")


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path, pki: Path) -> None:
    for name in ("ca.crt", "me.crt", "me.key"):
        (tmp_path / name).write_bytes((pki / name).read_bytes())
    user = {"client-certificate": "me.crt", "client-key": "me.key"}
    access = from_kubeconfig(write(tmp_path, cluster={"certificate-authority": "ca.crt"}, user=user))
    assert len(access.context.get_ca_certs()) == 1


def test_a_token_file_is_read_again_each_time(tmp_path: Path) -> None:
    access = from_kubeconfig(write(tmp_path, user={"tokenFile": "token"}))
    for token in ("one", "two"):
        (tmp_path / "token").write_text(f"{token}\n")
        assert access.token() == token


def test_an_unverified_server_must_be_asked_for(tmp_path: Path) -> None:
    access = from_kubeconfig(write(tmp_path, cluster={"insecure-skip-tls-verify": True}))
    assert access.context.verify_mode is ssl.CERT_NONE


def test_a_context_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, user={"token": "t"})
    assert from_kubeconfig(path, context_name="here").token() == "t"
    with pytest.raises(Invalid, match="'elsewhere' under contexts"):
        from_kubeconfig(path, context_name="elsewhere")


@pytest.mark.parametrize(
    ("cluster", "user", "says"),
    [
        ({}, {"exec": {"command": "aws"}}, "logs in by exec.*kubectl create token"),
        ({}, {"auth-provider": {"name": "oidc"}}, "logs in by auth-provider"),
        ({}, {"username": "u", "password": "p"}, "logs in by username"),
        ({"proxy-url": "http://proxy"}, {}, "sets proxy-url"),
        ({"server": ""}, {}, "has no server"),
        ({"certificate-authority-data": "!"}, {}, "cannot be used"),
        ({"certificate-authority": "missing.crt"}, {}, "cannot be used"),
        ({}, {"client-certificate-data": "YQ==", "client-key-data": "YQ=="}, "cannot be used"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        from_kubeconfig(write(tmp_path, cluster=cluster, user=user))


@pytest.mark.parametrize(("text", "says"), [("a: [", "not YAML"), ("[]", "not a mapping"), ("{}", "no entry named '' under contexts")])
def test_a_file_that_is_none_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(Invalid, match=says):
        from_kubeconfig(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        from_kubeconfig(tmp_path / "nothing")


@pytest.mark.parametrize(("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")])
def test_a_pod_finds_its_service_account(tmp_path: Path, pki: Path, host: str, server: str) -> None:
    (tmp_path / "ca.crt").write_bytes((pki / "ca.crt").read_bytes())
    (tmp_path / "token").write_text("one")
    (tmp_path / "namespace").write_text("shuren-system\n")
    access = from_pod(tmp_path, environ={"KUBERNETES_SERVICE_HOST": host})
    assert (access.server, access.token(), access.namespace) == (server, "one", "shuren-system")
    (tmp_path / "token").write_text("rotated")
    assert access.token() == "rotated"


def test_a_pod_without_a_certificate_authority_is_said(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    with pytest.raises(Invalid, match="certificate authority"):
        from_pod(tmp_path, environ={"KUBERNETES_SERVICE_HOST": "h"})


def test_the_environment_chooses(tmp_path: Path) -> None:
    assert from_environment({"KUBECONFIG": str(write(tmp_path, user={"token": "t"}))}).token() == "t"
    with pytest.raises(Invalid, match="set KUBECONFIG"):
        from_environment({})
    with pytest.raises(Invalid, match="several files"):
        from_environment({"KUBECONFIG": "/a:/b"})
