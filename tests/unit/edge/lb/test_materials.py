"""Certificates, authorities and users on their way to HAProxy."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.devenv.pki import Authority
from shuren.domain.errors import Invalid, Unreachable
from shuren.domain.haproxy.materials import Material
from shuren.edge.lb.disk import StateDirectory
from shuren.edge.lb.materials import DirectorySource, MaterialStore, NoSecrets, SecretSource, judge
from shuren.ports.kubernetes import SECRETS

TLS = Material(kind="certificate", namespace="shop", name="web-tls")
FILE = Material(kind="certificate", namespace="", name="web.pem")


def _pair(directory: Path, name: str = "web") -> tuple[bytes, bytes]:
    made = Authority(directory).server(name, common_name=name)
    return made.certificate.read_bytes(), made.key.read_bytes()


async def _secret(kubernetes: FakeKubernetes, **data: bytes) -> None:
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "web-tls", "namespace": "shop"},
        "data": {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()},
    }
    await kubernetes.create(SECRETS, "shop", body)


@pytest.fixture
def disk(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path / "state")
    made.prepare()
    return made


async def test_a_secret_becomes_one_file_for_its_owner_alone(tmp_path: Path, disk: StateDirectory) -> None:
    certificate, key = _pair(tmp_path / "pki")
    kubernetes = FakeKubernetes()
    await _secret(kubernetes, tls_crt=certificate, tls_key=key)
    store = MaterialStore(disk=disk, files=NoSecrets(), secrets=SecretSource(kubernetes))
    assert store.unknown([TLS]) == {TLS}
    assert await store.refresh([TLS]) == {TLS}
    assert await store.refresh([TLS]) == frozenset()
    path = disk.certs / TLS.file
    assert path.read_bytes() == certificate.strip() + b"\n" + key.strip() + b"\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.materials.why_not(TLS) == ""
    later = MaterialStore(disk=disk, files=NoSecrets(), secrets=NoSecrets())
    later.restore([TLS])
    await later.refresh([TLS])
    assert later.content(TLS) == path.read_text()
    await later.refresh([])
    assert not path.exists()


async def test_what_is_missing_is_told(disk: StateDirectory) -> None:
    kubernetes = FakeKubernetes()
    store = MaterialStore(disk=disk, files=DirectorySource(None), secrets=SecretSource(kubernetes))
    assert await store.refresh([TLS, FILE]) == {TLS, FILE}
    assert store.materials.why_not(TLS) == "certificate in Secret shop/web-tls: there is no such Secret"
    assert "no certificate directory" in store.materials.why_not(FILE)
    await _secret(kubernetes, tls_crt=b"x")
    await store.refresh([TLS])
    assert "it has no key tls.key" in store.materials.why_not(TLS)


async def test_a_bad_renewal_is_told_and_an_api_server_that_is_away_is_not(tmp_path: Path, disk: StateDirectory) -> None:
    certificate, key = _pair(tmp_path / "pki")
    _, other = _pair(tmp_path / "other")
    source = Spoken(certificate + key)
    store = MaterialStore(disk=disk, files=NoSecrets(), secrets=source)
    await store.refresh([TLS])
    source.says = Unreachable("the API server does not answer")
    assert await store.refresh([TLS]) == frozenset()
    source.says = certificate + other
    assert await store.refresh([TLS]) == {TLS}
    assert store.materials.why_not(TLS) == ""
    assert store.materials.refused(TLS).endswith("its key does not belong to its certificate; the one from before stays in use")
    assert store.content(TLS).encode() == certificate + key
    assert not store.complete
    source.says = certificate + key
    assert await store.refresh([TLS]) == {TLS}
    assert store.materials.refused(TLS) == ""


class Spoken:
    """A source that says what the test wants."""

    def __init__(self, says: bytes | Exception) -> None:
        self.says = says

    async def fetch(self, material: Material) -> bytes:
        assert material == TLS
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


async def test_files_of_the_host(tmp_path: Path, disk: StateDirectory) -> None:
    certificate, key = _pair(tmp_path / "pki")
    (tmp_path / "web.pem").write_bytes(certificate + key)
    store = MaterialStore(disk=disk, files=DirectorySource(tmp_path), secrets=NoSecrets())
    assert await store.refresh([FILE]) == {FILE}
    assert "there is no such file" in str(await _refused(store, Material(kind="certificate", namespace="", name="no.pem")))


async def _refused(store: MaterialStore, material: Material) -> str:
    await store.refresh([material])
    return store.materials.why_not(material)


def test_a_key_that_does_not_fit_and_what_is_no_certificate(tmp_path: Path) -> None:
    certificate, _ = _pair(tmp_path / "one")
    _, other = _pair(tmp_path / "two")
    with pytest.raises(Invalid, match="key does not belong"):
        judge(TLS, certificate + other, tmp_path)
    with pytest.raises(Invalid, match="cannot be read"):
        judge(TLS, b"nonsense", tmp_path)
    with pytest.raises(Invalid, match="certificates to trust cannot be read"):
        judge(Material(kind="authority", namespace="shop", name="ca"), b"nonsense", tmp_path)
    with pytest.raises(Invalid, match="name:hash"):
        judge(Material(kind="users", namespace="shop", name="u"), b"joe:hush", tmp_path)
    assert not list(tmp_path.glob(".judge*"))
