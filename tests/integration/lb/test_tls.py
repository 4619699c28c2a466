"""TLS of a route by a real HAProxy: ended, passed through, spoken to endpoints, renewed at run time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haproxy_front import QUICK, Front, carrying
from haproxy_room import Json, endpoint, http, route
from shuren.devenv.pki import Authority
from shuren.domain.haproxy.materials import Material


def _pem(authority: Authority, name: str) -> bytes:
    pair = authority.server(name, common_name=name)
    return pair.certificate.read_bytes() + pair.key.read_bytes()


def _trusting(authority: Authority, directory: Path = Path()) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca.certificate))
    context.check_hostname = False
    context.set_alpn_protocols(["http/1.1"])
    return context


async def test_https_by_name_renewed_without_a_reload_and_client_certificates(
    tmp_path: Path, port: int, backends: Callable[..., Any]
) -> None:
    authority = Authority(tmp_path / "pki")

    def https(host: str, secret: str, **tls: Any) -> Json:
        return {
            "name": "s",
            "protocol": "HTTPS",
            "port": port,
            "hosts": [host],
            "tls": {"certificates": [{"secretRef": {"name": secret}}], **tls},
        }

    routes = [
        route("one", https("one.example", "one-tls"), http={"hsts": {"includeSubdomains": True}}),
        route("two", https("two.example", "two-tls", clientCertificates={"caSecretRef": {"name": "ca"}}), age=2),
    ]
    contents = {"one-tls": _pem(authority, "one"), "two-tls": _pem(authority, "two"), "ca": authority.ca.certificate.read_bytes()}
    async with carrying(tmp_path, *routes, port=port, contents=contents) as front:
        backend = await backends("a")
        for name in ("one", "two"):
            await front.set(name, endpoint("a", address="127.0.0.1", port=backend.port))
        client = front.client("one.example", tls=_trusting(authority))
        status, headers, content = await client.request("/echo")
        assert (status, client.peer()) == (200, "one")
        assert b"x-forwarded-proto: https" in content.lower()
        assert headers["strict-transport-security"] == "max-age=15768000; includeSubDomains"
        client.close()
        # a client without a certificate is not let in where one is required
        refused = front.client("two.example", tls=_trusting(authority))
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await refused.request()
        refused.close()
        shown = _trusting(authority)
        pair = authority.client("joe", user="joe")
        shown.load_cert_chain(pair.certificate, pair.key)
        known = front.client("two.example", tls=shown)
        assert (await known.request())[0] == 200
        assert known.peer() == "two"
        known.close()
        # renewed under way
        pid = (await front.master.processes()).workers
        material = Material(kind="certificate", namespace="shop", name="one-tls")
        await front.api.set_certificate(f"{tmp_path}/certs/{material.file}", _pem(authority, "renewed").decode())
        again = front.client("one.example", tls=_trusting(authority))
        assert (await again.request())[0] == 200
        assert again.peer() == "renewed"
        again.close()
        assert (await front.master.processes()).workers == pid


async def test_tls_passes_through_by_name(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    authority = Authority(tmp_path / "pki")

    def passed(*hosts: str) -> Json:
        return {"name": "t", "protocol": "TLS", "port": port, "tls": {"mode": "Passthrough"}, **({"hosts": list(hosts)} if hosts else {})}

    routes = [route("one", passed("one.example", "*.many.example")), route("rest", passed(), age=2)]
    async with carrying(tmp_path, *(r for r in routes), port=port) as front:
        for name in ("one", "rest"):
            pair = authority.server(name, common_name=name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            backend = await backends(name, tls=context)
            await front.set(name, endpoint(name, address="127.0.0.1", port=backend.port))
        for host, owner in (("one.example", "one"), ("a.many.example", "one"), ("other.example", "rest")):
            client = front.client(host, tls=_trusting(authority))
            assert (await client.request())[2].split()[0].decode() == owner
            assert client.peer() == owner
            client.close()


async def test_tls_ended_for_a_tcp_service(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    authority = Authority(tmp_path / "pki")
    ended: Json = {"name": "t", "protocol": "TLS", "port": port, "hosts": ["db.example"], "tls": {"certificates": [{"file": "db.pem"}]}}
    async with carrying(tmp_path, route("db", ended), port=port, contents={"db.pem": _pem(authority, "db")}) as front:
        backend = await backends("a")
        await front.set("db", endpoint("a", address="127.0.0.1", port=backend.port))
        client = front.client("db.example", tls=_trusting(authority))
        assert (await client.request())[2] == b"a / 0"
        client.close()


async def test_tls_to_endpoints(tmp_path: Path, port: int, backends: Callable[..., Any]) -> None:
    authority, stranger = Authority(tmp_path / "pki"), Authority(tmp_path / "other")
    upstream = {"tls": {"verify": "Required", "caSecretRef": {"name": "ca"}}}
    trusted = route("web", http(port=port), upstream=upstream, healthCheck=QUICK)
    async with carrying(tmp_path, trusted, port=port, contents={"ca": authority.ca.certificate.read_bytes()}) as front:
        for name, issuer in (("good", authority), ("bad", stranger)):
            pair = issuer.server(name, common_name=name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            backend = await backends(name, tls=context)
            await front.set("web", endpoint(name, address="127.0.0.1", port=backend.port))
            if name == "good":
                await front.up("shop.web:http", "good")
                assert (await front.get())[0] == 200
            else:
                await until_status(front, 503)


async def until_status(front: Front, wanted: int) -> None:
    status = 0
    for _ in range(400):
        status = (await front.get())[0]
        if status == wanted:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(status)
