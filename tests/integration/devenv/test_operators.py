"""Operators as parts of a sandbox: they run under the granted rights, and one goes while the other stays."""

from __future__ import annotations

from real_parts import NewSandbox
from shuren.devenv.background import OPERATOR_USER
from shuren.devenv.probes import HttpProbe, ready
from shuren.devenv.state import PartStatus


async def test_two_operators_one_killed_and_back(new_sandbox: NewSandbox) -> None:
    sandbox = new_sandbox(engines=1, operators=2)
    cluster = sandbox.get("mesoscluster", "sandbox")
    assert [one["status"] for one in cluster["status"]["conditions"] if one["type"] == "Ready"] == ["True"]
    assert cluster["spec"]["zookeeper"]["hosts"] == sandbox.endpoints.zookeeper_hosts.split(",")
    sandbox.kill("operator=1")
    assert sandbox.part("operator=1").status is PartStatus.KILLED
    second = sandbox.part("operator=2")
    assert second.status is PartStatus.RUNNING
    assert await ready(HttpProbe(url=f"http://127.0.0.1:{second.ports['metrics']}/healthz")) is None
    sandbox.start("operator=1")
    assert sandbox.part("operator=1").status is PartStatus.RUNNING
    refused = [
        (event["verb"], event["requestURI"]) for event in sandbox.audit(user=OPERATOR_USER) if event["responseStatus"]["code"] == 403
    ]
    assert refused == []
