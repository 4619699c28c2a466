"""Logging in to ZooKeeper by SASL, mechanism DIGEST-MD5 (RFC 2831), as its own clients do with a `Client` section of JAAS.

kazoo leaves the mechanism to a package that has had no release since 2019 and comes as source only; what ZooKeeper needs of it is a page.
It also gives up for good when a login fails, though a server that goes down in the middle of one looks the same: here it is tried again
like any other connection, and the handler keeps the reason.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionDropped
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import SASL

from shuren.clients.zookeeper.tls import Handler

_HOST = "zk-sasl-md5"
"""ZooKeeper's servers and clients have this name wired in (its `SecurityUtils`)."""
_URI = f"zookeeper/{_HOST}"
_FIELD = re.compile(r'\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)')


class Refused(Exception):
    """The server does not prove that it knows the password, or its challenge is none that can be answered."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One login. `cnonce` is our part of what makes it unlike any other."""

    username: str
    password: str = field(repr=False)
    cnonce: str = field(default_factory=lambda: secrets.token_hex(16))

    def answer(self, challenge: bytes) -> bytes:
        """What to send to the server's challenge. Refused when it asks for another quality than authentication."""
        said = fields(challenge)
        if "nonce" not in said or said.get("algorithm") != "md5-sess" or "auth" not in said.get("qop", "auth").split(","):
            raise Refused(f"a challenge that is no DIGEST-MD5 for authentication: {sorted(said)}")
        realm, nonce = said.get("realm", ""), said["nonce"]
        proof = self._proof("AUTHENTICATE", realm=realm, nonce=nonce)
        quoted = {"username": self.username, "realm": realm, "nonce": nonce, "cnonce": self.cnonce, "digest-uri": _URI}
        plain = {"charset": "utf-8", "nc": "00000001", "qop": "auth", "response": proof}
        parts = [f'{key}="{_escaped(value)}"' for key, value in quoted.items()] + [f"{key}={value}" for key, value in plain.items()]
        return ",".join(parts).encode()

    def check(self, challenge: bytes, last: bytes) -> None:
        """Refused unless the server's last word proves that it knows the password as well."""
        said = fields(challenge)
        if fields(last).get("rspauth") != self._proof("", realm=said.get("realm", ""), nonce=said.get("nonce", "")):
            raise Refused("the server does not prove that it knows the password")

    def _proof(self, method: str, *, realm: str, nonce: str) -> str:
        """`response-value` of RFC 2831, 2.1.2.1; 2.1.3 leaves the method empty."""
        secret = _md5(b":".join(_bytes(text) for text in (self.username, realm, self.password)))
        first = _md5(b":".join((secret, nonce.encode(), self.cnonce.encode()))).hex()
        second = _md5(f"{method}:{_URI}".encode()).hex()
        return _md5(f"{first}:{nonce}:00000001:{self.cnonce}:auth:{second}".encode()).hex()


def fields(message: bytes) -> dict[str, str]:
    """`key=value,key="value"`; of one that comes twice the first counts."""
    found: dict[str, str] = {}
    for key, quoted, plain in _FIELD.findall(message.decode(errors="replace")):
        found.setdefault(key.lower(), re.sub(r"\\(.)", r"\1", quoted) or plain)
    return found


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _bytes(text: str) -> bytes:
    """ISO 8859-1 where that can write it, else UTF-8 (RFC 2831, 2.1.2.1)."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


class Connection(ConnectionHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's connection with a login of ours. `username` and `password` may change; they count from the next connection on."""

    def __init__(self, client: KazooClient, handler: Handler, *, username: str, password: str) -> None:
        super().__init__(client, client._conn_retry.copy(), logger=client.logger, sasl_options={"mechanism": "DIGEST-MD5"})  # noqa: SLF001 - as kazoo makes its own
        self._told = handler
        self.username = username
        self.password = password

    def _authenticate_with_sasl(self, host: str, timeout: float) -> None:
        exchange = Exchange(username=self.username, password=self.password)
        try:
            challenge = self._say(b"", timeout, xid=1)
            exchange.check(challenge, self._say(exchange.answer(challenge), timeout, xid=2))
        except (Refused, ConnectionDropped) as error:
            # a server that refuses says nothing: it hangs up
            why = str(error) if isinstance(error, Refused) else "it ended the connection"
            self._told.failure = f"{host}: login of {self.username} by SASL failed: {why}"
            raise ConnectionDropped(self._told.failure) from error

    def _say(self, token: bytes, timeout: float, *, xid: int) -> bytes:
        """One token there and one back."""
        self._submit(SASL(token), timeout, xid)
        header, buffer, offset = self._read_header(timeout)
        if header.err or header.xid != xid:
            raise Refused(f"the server refuses it (error {header.err})")
        answer: tuple[Any, int] = SASL.deserialize(buffer, offset)
        return bytes(answer[0] or b"")
