"""kubectl as the sandbox uses it, here a script of a few lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from shuren.devenv.cluster import Cluster
from shuren.devenv.errors import DevenvError
from shuren.devenv.places import StateDir


def _cluster(tmp_path: Path, script: str) -> Cluster:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\nshift 2  # --kubeconfig and --cache-dir\n{script}\n")
    kubectl.chmod(0o755)
    return Cluster(place=StateDir(root=tmp_path), kubectl=kubectl, kubeconfig=tmp_path / "admin")


async def test_what_is_ready_is_waited_for_and_no_more(tmp_path: Path) -> None:
    cluster = _cluster(tmp_path, f'echo "$@" >> {tmp_path}/calls')

    await cluster.wait_ready("mesoscluster/sandbox", seconds=5, log=tmp_path / "log")

    assert (tmp_path / "calls").read_text() == "wait mesoscluster/sandbox --for=condition=Ready --timeout=5s\n"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("InvalidSpec: spec.zookeeper.root: must start with /", "InvalidSpec: spec.zookeeper.root: must start with /"),
        ("", "it has no status, so no operator has looked at it"),
    ],
)
async def test_what_does_not_get_ready_says_why_and_shows_the_log(tmp_path: Path, status: str, said: str) -> None:
    (tmp_path / "log").write_text("first line\nthe last words\n")
    cluster = _cluster(tmp_path, f"[ $1 = get ] && {{ echo '{status}'; exit 0; }}\necho timed out >&2\nexit 1")

    with pytest.raises(DevenvError) as failed:
        await cluster.wait_ready("mesoscluster/sandbox", seconds=5, log=tmp_path / "log")

    assert failed.value.message == f"mesoscluster/sandbox was not Ready after 5 s: {said}"
    assert "the last words" in failed.value.tail
