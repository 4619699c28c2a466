"""The operator in its image, as the chart's ServiceAccount and with the chart's settings, on the real API server with an app that runs.

Containers of a Docker Engine stand in for pods: restricted as the chart restricts them, a root file system that nobody writes, the host's
network. What only a kubelet does (probes that restart, the Service network) is not shown here.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from chart_release import PATIENCE, Release
from container_image import NAME
from engine_process import free_port
from kube_rest import Rest
from real_parts import running
from shuren.devenv.options import Options
from shuren.devenv.processes import ProcessId
from tenant import Tenant, lease_holder, web
from waiting import eventually

Docker = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    place = tmp_path_factory.mktemp("release")
    options = Options(state_dir=place / "sandbox", agents=2, operators=0, bare=True, owner=ProcessId.of(os.getpid()))
    with running(options) as sandbox:
        rest = Rest(sandbox.endpoints.kubeconfig)
        made = Release(sandbox=sandbox, scratch=place, rest=rest)
        sandbox.kubectl("create", "namespace", "shuren-system")
        made.install({})
        made.connect()
        yield made
        rest.close()


@contextmanager
def container(docker: Docker, release: Release, name: str) -> Iterator[str]:
    """A replica; gives the URL of its endpoints. It is there when it answers, and gone at the end."""
    port = free_port()
    variables = [f"--env={key}={value}" for key, value in release.environment(name, port).items()]
    mounted = release.kubeconfig()
    mounted.chmod(0o644)
    restricted = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host")
    kubeconfig = (f"--volume={mounted}:/kubeconfig:ro", "--env=KUBECONFIG=/kubeconfig")
    begun = docker("run", "--detach", f"--name={name}", *restricted, *kubeconfig, *variables, NAME, *release.container()["args"])
    assert begun.returncode == 0, begun.stderr
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: answer(f"{url}/readyz") == 200, seconds=PATIENCE)
        yield url
    finally:
        docker("rm", "--force", name)


def answer(url: str) -> int:
    """The status of a GET; 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as page:  # noqa: S310 - our own
            return int(page.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_it_runs_an_app_and_a_replaced_replica_disturbs_no_task(docker: Docker, release: Release) -> None:
    user = Tenant(sandbox=release.sandbox, namespace="default", rest=release.rest)
    with container(docker, release, "first") as first:
        eventually(lambda: lease_holder(release.rest) == "first", seconds=PATIENCE)
        assert answer(f"{first}/healthz") == 200
        user.run("web", web("1"))
        before = (user.versions("web"), set(user.tasks("web")))
        with container(docker, release, "second") as second:
            # ready, and not leading: a rolled Deployment goes on from here
            assert lease_holder(release.rest) == "first"
            stopped = docker("stop", "--time=30", "first")
            assert stopped.returncode == 0, stopped.stderr
            eventually(lambda: lease_holder(release.rest) == "second", seconds=PATIENCE)
            assert json.loads(docker("inspect", "first").stdout)[0]["State"]["ExitCode"] == 0
            user.apply("web", web("1", instances=3))
            user.wait("web")
            versions, tasks = user.versions("web"), set(user.tasks("web"))
            assert before[1] < tasks
            assert len(versions) == len(before[0]) + 1
            assert answer(f"{second}/metrics") == 200
            said = [json.loads(line) for line in docker("logs", "second").stderr.splitlines() if line]
            assert said
            user.kubectl("delete", "paasapp/web", f"--timeout={PATIENCE:.0f}s")
    assert release.refused() == []
