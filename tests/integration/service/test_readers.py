"""Records and Marathon as programs read them that nobody here wrote: Prometheus' service discovery, and Curator's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kazoo.client import KazooClient

from engine_process import free_port
from service_bodies import app, put, service
from shuren.devenv.background import Sandbox
from shuren.devenv.places import cache_dir
from waiting import eventually

PROMETHEUS = shutil.which("prometheus")
CURATOR = cache_dir() / "curator-5.9.0"
READER = Path(__file__).parents[2] / "readers" / "CuratorReader.java"

needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus here: `make readers` brings it, as root")
needs_curator = pytest.mark.skipif(
    not CURATOR.is_dir() or shutil.which("javac") is None, reason="no Curator and JDK here: `make readers` brings them, as root"
)


class Prometheus:
    """A running one, and what it has found."""

    def __init__(self, port: int) -> None:
        self._port = port

    def targets(self, job: str) -> dict[str, dict[str, str]]:
        """What a job has found: labels before relabelling, by address. Empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/targets?state=active", timeout=10) as answer:
                found: list[dict[str, Any]] = json.loads(answer.read())["data"]["activeTargets"]
        except OSError:
            return {}
        return {t["discoveredLabels"]["__address__"]: t["discoveredLabels"] for t in found if t["scrapePool"] == job}


@contextmanager
def prometheus(directory: Path, jobs: dict[str, Any]) -> Iterator[Prometheus]:
    """Its jobs find targets as each says; they are scraped too seldom to matter."""
    port = free_port()
    config = directory / "prometheus.yml"
    scrapes = [{"job_name": name, **how} for name, how in jobs.items()]
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1h"}, "scrape_configs": scrapes}))
    command = [str(PROMETHEUS), f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def folder(operated: Sandbox, operated_namespace: str, records: str) -> str:
    """Where a service `web` with two tasks keeps its records."""
    folder = f"{records}/{operated_namespace}"
    discovery = {
        "serverset": {"path": f"{folder}/serverset"},
        "nerve": {"path": f"{folder}/nerve"},
        "curator": {"path": f"{folder}/curator/web"},
    }
    put(operated, operated_namespace, app("web"))
    put(operated, operated_namespace, service("web", discovery=discovery))
    operated.kubectl("-n", operated_namespace, "wait", "paasservice/web", "--for=condition=Ready", "--timeout=90s")
    return folder


def addresses(client: KazooClient, namespace: str) -> set[str]:
    """Of the ready endpoints, as we publish them."""
    head = json.loads(client.get(f"/shuren/sandbox/endpoints/{namespace}.web")[0])
    return {f"{e['address']}:{e['port']}" for e in head["endpoints"] if e["state"] == "ready"}


@needs_prometheus
def test_prometheus_finds_servers_in_serversets_nerve_and_marathon(
    operated: Sandbox, operated_namespace: str, zookeeper: KazooClient, folder: str, tmp_path: Path
) -> None:
    servers = operated.endpoints.zookeeper_hosts.split(",")
    jobs: dict[str, Any] = {
        "serverset": {"serverset_sd_configs": [{"servers": servers, "paths": [f"{folder}/serverset"]}]},
        "nerve": {"nerve_sd_configs": [{"servers": servers, "paths": [f"{folder}/nerve"]}]},
        "marathon": {"marathon_sd_configs": [{"servers": list(operated.endpoints.marathon_urls), "refresh_interval": "500ms"}]},
    }
    ours = f"/{operated_namespace}/web"
    with prometheus(tmp_path, jobs) as reader:

        def all_found(count: int) -> bool:
            wanted = addresses(zookeeper, operated_namespace)
            seen = [set(reader.targets("serverset")), set(reader.targets("nerve"))]
            by_marathon = {at for at, labels in reader.targets("marathon").items() if labels["__meta_marathon_app"] == ours}
            return len(wanted) == count and seen == [wanted, wanted] and by_marathon == wanted

        eventually(lambda: all_found(2), seconds=60, every=0.2)
        for labels in reader.targets("serverset").values():
            assert labels["__meta_serverset_status"] == "ALIVE"
            assert labels["__meta_serverset_path"].startswith(f"{folder}/serverset/member_")
        for at, labels in reader.targets("nerve").items():
            assert f"{labels['__meta_nerve_endpoint_host']}:{labels['__meta_nerve_endpoint_port']}" == at
        operated.kubectl("-n", operated_namespace, "scale", "paasapp/web", "--replicas=3")
        eventually(lambda: all_found(3), seconds=60, every=0.2)
        operated.kubectl("-n", operated_namespace, "scale", "paasapp/web", "--replicas=1")
        eventually(lambda: all_found(1), seconds=60, every=0.2)


@needs_curator
@pytest.mark.parametrize("enabled", [True, False])
def test_curator_finds_instances(operated: Sandbox, operated_namespace: str, zookeeper: KazooClient, folder: str, *, enabled: bool) -> None:
    if not enabled:
        plain = {"curator": {"path": f"{folder}/curator/web", "enabledField": False}}
        put(operated, operated_namespace, service("web", discovery=plain))
        names = zookeeper.get_children(f"{folder}/curator/web")
        eventually(lambda: all(b"enabled" not in zookeeper.get(f"{folder}/curator/web/{name}")[0] for name in names))
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{CURATOR}/*", str(READER), operated.endpoints.zookeeper_hosts]
    result = subprocess.run(
        [*command, f"{folder}/curator", "web"], capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
    )
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    found = {f"{address}:{port}" for how, _, address, port, *_ in lines if how == "found"}
    assert found == addresses(zookeeper, operated_namespace)
    assert {(kind, on) for *_, kind, on in lines} == {("PERMANENT", "true")}
    assert [how for how, *_ in lines].count("provided") == 1
