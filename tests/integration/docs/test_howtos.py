"""Every command block of the how-tos, and every sample: as a reader types them, one after the other in one sandbox with a load balancer.

A block after a line with a file's name and a colon is that file; `sh` is run by a shell that stops at the first failure; `text` is what the
run before it printed, line by line and in order, with `…` for what differs from time to time. The sandbox is the one that "Expose an
app" brings up to follow along.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gitops_definitions import definitions
from left_as_found import left_as_found
from shard_members import registered
from shuren.devenv.background import Sandbox
from shuren.devenv.parts import ZOOKEEPER_ROOT
from shuren.devenv.progress import to_stderr

pytestmark = pytest.mark.usefixtures("unmeasured_programs")

ROOT = Path(__file__).parents[3]
HOWTOS = ROOT / "docs" / "howto"
SAMPLES = ROOT / "manifests" / "samples"
PAGES = sorted(HOWTOS.glob("*.md"))
FIRST = HOWTOS / "expose-an-app.md"
_BLOCK = re.compile(r"(?:^`(?P<file>[\w./-]+)`:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    file: str


def blocks(page: Path) -> list[Block]:
    """In order; the first page's first has been run when its others are."""
    found = [Block(language=one["language"], text=one["text"], file=one["file"] or "") for one in _BLOCK.finditer(page.read_text())]
    return found[1:] if page == FIRST else found


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands who has set up a clone."""
    folder = tmp_path_factory.mktemp("howtos")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def place(clone: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox.at(clone / ".sandbox" / "mine")
    first = _BLOCK.search(FIRST.read_text())
    assert first is not None
    try:
        _run(f"{first['text']}\nenv -0 > variables", clone, dict(os.environ))
        _gitops_tools(sandbox)
        yield sandbox
    finally:
        sandbox.down(to_stderr)


@pytest.fixture(scope="module")
def environment(clone: Path, place: Sandbox) -> dict[str, str]:
    """A reader's shell after the first page's first block."""
    assert place
    lines = (clone / "variables").read_text().rstrip("\0").split("\0")
    return dict(line.split("=", 1) for line in lines)


def _gitops_tools(sandbox: Sandbox) -> None:
    """What an installation of Argo CD and one of Flux bring that a reader of their pages touches: definitions, namespaces, settings."""
    sandbox.kubectl("apply", "--server-side", "-f", str(definitions()))
    sandbox.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
    for namespace in ("argocd", "flux-system"):
        sandbox.kubectl("create", "namespace", namespace)
    sandbox.kubectl("-n", "argocd", "create", "configmap", "argocd-cm")


def test_there_are_pages_and_each_runs_something() -> None:
    assert len(PAGES) > 2
    for page in PAGES:
        assert any(block.language == "sh" for block in blocks(page)), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(place: Sandbox, environment: dict[str, str], tmp_path: Path, page: Path) -> None:
    # a reader stands in a clone that is set up
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with left_as_found(place):
        _follow(page, tmp_path, environment)


def _follow(page: Path, folder: Path, environment: dict[str, str]) -> None:
    printed = ""
    for block in blocks(page):
        if block.file:
            (folder / block.file).parent.mkdir(exist_ok=True)
            (folder / block.file).write_text(block.text)
        elif block.language == "sh":
            printed = _run(block.text, folder, environment)
        elif block.language == "text":
            assert _shows(printed, block.text), f"printed:\n{printed}\nexpected:\n{block.text}"


def _run(text: str, folder: Path, environment: dict[str, str]) -> str:
    """What it prints, once it has ended well."""
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


def _shows(printed: str, expected: str) -> bool:
    """Whether the expected lines are there, in this order."""
    lines = iter(printed.splitlines())
    wanted = [".*".join(re.escape(part) for part in re.sub(r" +", " ", line).split("…")) for line in expected.splitlines()]
    return all(any(re.fullmatch(pattern, re.sub(r" +", " ", line).strip()) for line in lines) for pattern in wanted)


_FAILS_HALF_WAY = """
`app.yaml`:

```yaml
apiVersion: paas.shurenyun.com/v1alpha1
kind: PaasApp
metadata: {name: half-way}
spec: {clusterRef: {name: sandbox}, cmd: exec sleep 86400, cpus: 0.1, mem: 32}
```

```sh
kubectl create configmap half-way
kubectl label mesoscluster sandbox half-way=true
kubectl apply -f app.yaml
kubectl wait paasapp/half-way --for=condition=Ready --timeout=90s
curl --fail --silent -X PUT "$MARATHON_URL/v2/apps//by-hand" -H 'Content-Type: application/json' -d '{
  "id": "/by-hand", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 32
}' > /dev/null
kubectl get configmap/half-way paasapp/half-way -o name
kubectl get mesoscluster -l half-way -o name
curl --fail --silent "$MARATHON_URL/v2/apps//by-hand" > /dev/null
echo "all there"
false
```
"""


def test_a_page_that_fails_leaves_nothing_to_the_next(place: Sandbox, environment: dict[str, str], tmp_path: Path) -> None:
    """Neither what it made until then, nor an app that it sent to Marathon itself, nor what it changed of the cluster."""
    page = tmp_path / "page.md"
    page.write_text(_FAILS_HALF_WAY)
    with pytest.raises(AssertionError, match=r"paasapp\S+/half-way\s+mesoscluster\S+/sandbox\s+all there"), left_as_found(place):
        _follow(page, tmp_path, environment)
    assert place.kubectl("get", "configmap/half-way", "paasapp/half-way", "--ignore-not-found", "-o", "name") == ""
    assert place.kubectl("get", "mesoscluster", "-l", "half-way", "-o", "name") == ""
    with urllib.request.urlopen(f"{place.endpoints.marathon_url}/v2/apps", timeout=30) as answer:  # noqa: S310 - our own http URL
        assert {"/by-hand", "/default/half-way"}.isdisjoint(app["id"] for app in json.load(answer)["apps"])


def test_a_page_that_forgets_something_is_told(place: Sandbox) -> None:
    with pytest.raises(AssertionError, match="configmap/forgotten in default"), left_as_found(place):
        place.kubectl("create", "configmap", "forgotten", "-n", "default")


# ---------------------------------------------------------------------------------------------------- samples


def test_every_sample_gets_ready(place: Sandbox, tmp_path: Path) -> None:
    """As it stands, but for what a sandbox has otherwise: where the MesosCluster's parts are, and the load balancers' group."""
    with left_as_found(place):
        _get_ready_and_go(place, tmp_path)


def _get_ready_and_go(place: Sandbox, folder: Path) -> None:
    kubectl, endpoints = place.kubectl, place.endpoints
    reader = ("--clusterrole=shuren-secrets-reader", "--serviceaccount=shuren-system:shuren-operator")
    kubectl("create", "rolebinding", "samples", *reader)
    roots = {"spec": {"tenancy": {"recordRoots": ["/discovery"]}}}
    kubectl("patch", "mesoscluster", "sandbox", "--type=merge", "-p", json.dumps(roots))
    literals = {"python": sys.executable, "zookeeper": endpoints.zookeeper_hosts}
    program = f"--from-file=cart.py={SAMPLES / 'demo' / 'store.py'}"
    kubectl("create", "configmap", "cart", program, *(f"--from-literal={name}={value}" for name, value in literals.items()))
    bodies = [body for path in sorted(SAMPLES.glob("*.yaml")) for body in yaml.safe_load_all(path.read_text())]
    waited: list[str] = []
    with registered(endpoints.zookeeper_hosts, f"{ZOOKEEPER_ROOT}/shards/default.sessions", "cache-1", "cache-2", "cache-3"):
        for body in bodies:
            if body["kind"] == "MesosCluster":
                body["spec"] |= {"marathon": {"urls": endpoints.marathon_urls}, "mesos": {"masters": [endpoints.mesos_url]}}
                body["spec"]["zookeeper"] = {"hosts": endpoints.zookeeper_hosts.split(","), "root": body["spec"]["zookeeper"]["root"]}
            if "loadBalancer" in body.get("spec", {}):
                body["spec"]["loadBalancer"]["group"] = "sandbox"
            if body["apiVersion"].startswith("paas."):
                waited.append(f"{body['kind'].lower()}/{body['metadata']['name']}")
        file = folder / "samples.yaml"
        file.write_text(yaml.safe_dump_all(bodies))
        kubectl("apply", "-f", str(file))
        kubectl("wait", *waited, "--for=condition=Ready", "--timeout=180s")
        kubectl("delete", "-f", str(file), "--timeout=180s")
    kubectl("delete", "configmap/cart", "rolebinding/samples")
