"""How programs beside traffic show who they are to ZooKeeper."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from shuren.cli.zookeeper import identity
from shuren.clients.zookeeper.client import Digest
from tls_room import Certificates


def test_nothing_set_is_nobody_without_tls() -> None:
    found = identity({})
    assert (found.digest, found.tls) == (None, None)


def test_user_and_password_are_the_scheme_digest() -> None:
    assert identity({"SHUREN_ZOOKEEPER_USERNAME": "lb", "SHUREN_ZOOKEEPER_PASSWORD": "x"}).digest == Digest(username="lb", password="x")


def test_the_scheme_sasl_is_asked_for_by_its_name() -> None:
    given = {"SHUREN_ZOOKEEPER_USERNAME": "lb", "SHUREN_ZOOKEEPER_PASSWORD": "x"}
    assert identity({**given, "SHUREN_ZOOKEEPER_SCHEME": "sasl"}).digest == Digest(username="lb", password="x", sasl=True)
    assert identity({**given, "SHUREN_ZOOKEEPER_SCHEME": "digest"}) == identity(given)


def test_files_or_the_word_alone_mean_tls(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(Certificates(tmp_path / "pki").ca)
    assert identity({"SHUREN_ZOOKEEPER_TLS": "true"}).tls is not None
    assert identity({"SHUREN_ZOOKEEPER_TLS": "false", "SHUREN_ZOOKEEPER_CA": str(authority)}).tls is None
    tls = identity({"SHUREN_ZOOKEEPER_CA": str(authority), "SHUREN_ZOOKEEPER_SERVER_NAME": "zk"}).tls
    assert tls is not None
    assert tls.server_name == "zk"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PASSWORD": "x"}, "SHUREN_ZOOKEEPER_PASSWORD is set without SHUREN_ZOOKEEPER_USERNAME"),
        ({"SCHEME": "kerberos"}, "SHUREN_ZOOKEEPER_SCHEME must be digest or sasl, not 'kerberos'"),
        ({"SCHEME": "sasl"}, "SHUREN_ZOOKEEPER_SCHEME is sasl without SHUREN_ZOOKEEPER_USERNAME"),
        ({"KEY": "k.pem"}, "SHUREN_ZOOKEEPER_KEY is set without SHUREN_ZOOKEEPER_CERTIFICATE"),
        ({"TLS": "yes"}, "SHUREN_ZOOKEEPER_TLS must be true or false, not 'yes'"),
        ({"CA": "gone.pem"}, "SHUREN_ZOOKEEPER_CA: there is no file gone.pem"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        identity({f"SHUREN_ZOOKEEPER_{name}": value for name, value in environ.items()})
    assert refused.value.message == message


def test_a_file_that_is_no_certificate_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("nothing of the kind")
    with pytest.raises(typer.BadParameter, match="SHUREN_ZOOKEEPER_CA"):
        identity({"SHUREN_ZOOKEEPER_CA": str(broken)})
