"""A certificate authority for one sandbox: server certificate, client certificates, and the key that signs ServiceAccount tokens.

Everything is made anew at each `up` and thrown away with the state directory; nothing here is meant to guard more than a loopback port.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shuren.devenv.keypairs import KeyPair

_LIFETIME = dt.timedelta(days=90)
_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """A CA that writes what it issues into one directory, keys readable by their owner only."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("shuren-sandbox", ())
        self.ca = self._write("ca", self._sign(self._name, self._key.public_key(), authority=True), self._key)

    def server(self, name: str, *, common_name: str, addresses: Sequence[str] = ("127.0.0.1",)) -> KeyPair:
        """A server certificate for the API server's usual names, localhost and these addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(known) for known in _SERVER_NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        return self._write(name, self._sign(_name(common_name, ()), key.public_key(), names=names), key)

    def client(self, name: str, *, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate: the common name is the Kubernetes user, each organisation a group."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, self._sign(_name(user, groups), key.public_key()), key)

    def signing_key(self, name: str) -> KeyPair:
        """An RSA pair for ServiceAccount tokens: `.certificate` is the bare public key."""
        key = rsa.generate_private_key(65537, 2048)
        public = self._directory / f"{name}.pub"
        public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        return KeyPair(certificate=public, key=self._write_key(name, key))

    def _sign(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, *, authority: bool = False, names: Sequence[x509.GeneralName] = ()
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))  # clocks of containers may lag
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if not authority:
            usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate, key: PrivateKey) -> KeyPair:
        path = self._directory / f"{name}.crt"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return KeyPair(certificate=path, key=self._write_key(name, key))

    def _write_key(self, name: str, key: PrivateKey) -> Path:
        path = self._directory / f"{name}.key"
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
        return path


def _name(common_name: str, organisations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    return x509.Name(attributes + [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organisations])
