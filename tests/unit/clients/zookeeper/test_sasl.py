"""The arithmetic of DIGEST-MD5, on the example of RFC 2831 (section 4, SMTP) as far as ZooKeeper's fixed address lets."""

from __future__ import annotations

import hashlib

import pytest

from shuren.clients.zookeeper import sasl
from shuren.clients.zookeeper.sasl import Exchange, Refused

CHALLENGE = b'realm="zk-sasl-md5",nonce="OA6MG9tEQGm2hh",qop="auth",charset=utf-8,algorithm=md5-sess'


def test_the_answer_is_computed_as_the_rfc_says() -> None:
    exchange = Exchange(username="chris", password="secret", cnonce="OA6MHXh6VqTrRk")
    said = sasl.fields(exchange.answer(CHALLENGE))
    assert (said["username"], said["realm"], said["digest-uri"]) == ("chris", "zk-sasl-md5", "zookeeper/zk-sasl-md5")
    secret = hashlib.md5(b"chris:zk-sasl-md5:secret", usedforsecurity=False).digest()
    first = hashlib.md5(secret + b":OA6MG9tEQGm2hh:OA6MHXh6VqTrRk", usedforsecurity=False).hexdigest()
    second = hashlib.md5(b"AUTHENTICATE:zookeeper/zk-sasl-md5", usedforsecurity=False).hexdigest()
    whole = f"{first}:OA6MG9tEQGm2hh:00000001:OA6MHXh6VqTrRk:auth:{second}".encode()
    assert said["response"] == hashlib.md5(whole, usedforsecurity=False).hexdigest()


def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    exchange = Exchange(username="chris", password="secret")
    with pytest.raises(Refused, match="does not prove"):
        exchange.check(CHALLENGE, b"rspauth=ea40f60335c427b5527b84dbabcdfffd")


@pytest.mark.parametrize("challenge", [b"", b'nonce="a",algorithm=md5', b'nonce="a",algorithm=md5-sess,qop="auth-conf"'])
def test_what_cannot_be_answered_is_refused(challenge: bytes) -> None:
    with pytest.raises(Refused):
        Exchange(username="a", password="b").answer(challenge)


def test_each_login_is_unlike_any_other_and_shows_no_password() -> None:
    one, other = (Exchange(username="a", password="b-marker") for _ in range(2))
    assert one.answer(CHALLENGE) != other.answer(CHALLENGE)
    assert "marker" not in repr(one)
    assert sasl.fields(rb'a="x\"y\\",a=second, B=c') == {"a": 'x"y\\', "b": "c"}
