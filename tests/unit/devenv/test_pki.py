from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shuren.devenv.keypairs import KeyPair
from shuren.devenv.kubeconfig import Token, embedded, write_kubeconfig
from shuren.devenv.pki import Authority


def certificate(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def test_what_is_issued_is_signed_by_the_authority(authority: Authority) -> None:
    ca = certificate(authority.ca)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    for pair in (authority.server("s", common_name="kube-apiserver"), authority.client("c", user="admin")):
        issued = certificate(pair)
        issued.verify_directly_issued_by(ca)
        assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_server_is_known_by_its_names_and_addresses(authority: Authority) -> None:
    issued = certificate(authority.server("s", common_name="kube-apiserver", addresses=("127.0.0.1", "10.96.0.1")))
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.96.0.1"]
    usage = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_client_is_a_user_in_groups(authority: Authority) -> None:
    issued = certificate(authority.client("c", user="admin", groups=["system:masters", "devs"]))
    assert [a.value for a in issued.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["admin"]
    assert [a.value for a in issued.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:masters", "devs"]
    usage = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_their_owners_alone_and_fit_their_certificates(authority: Authority) -> None:
    pair = authority.client("c", user="admin")
    assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600
    key = load_pem_private_key(pair.key.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == certificate(pair).public_key()


def test_the_signing_pair_for_accounts_fits(authority: Authority) -> None:
    pair = authority.signing_key("accounts")
    private = load_pem_private_key(pair.key.read_bytes(), password=None)
    assert private.public_key() == load_pem_public_key(pair.certificate.read_bytes())


def test_a_kubeconfig_with_a_certificate_embeds_it_and_is_private(authority: Authority, tmp_path: Path) -> None:
    pair = authority.client("c", user="admin")
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority-data": embedded(authority.ca.certificate)}
    path = write_kubeconfig(tmp_path / "kube" / "k", cluster=cluster, user="admin", credential=pair)
    config = json.loads(path.read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert base64.b64decode(config["users"][0]["user"]["client-key-data"]) == pair.key.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    context = config["contexts"][0]
    assert config["current-context"] == context["name"]
    assert context["context"] == {"cluster": "sandbox", "user": "admin", "namespace": "default"}


def test_a_kubeconfig_with_a_token_holds_nothing_else(tmp_path: Path) -> None:
    token = Token(value="t0")
    path = write_kubeconfig(tmp_path / "k", cluster={"server": "https://x"}, user="op", credential=token, namespace="shuren-system")
    config = json.loads(path.read_text())
    assert config["users"] == [{"name": "op", "user": {"token": "t0"}}]
    assert config["contexts"][0]["context"]["namespace"] == "shuren-system"
