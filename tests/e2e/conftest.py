"""A cluster whose pods run, made once. Skipped, with the reason, where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kind_cluster
import oci_images
import real_node
from alone import PLACE, TARGET
from e2e_world import World
from kube_rest import Rest
from real_parts import owner, running
from shuren.devenv.options import Options
from shuren.devenv.places import cache_dir
from shuren.devenv.progress import to_stderr
from shuren.devenv.wheels import ensure_kubectl_and_helm

Audit = Callable[[], list[dict[str, Any]]]


@contextmanager
def node() -> Iterator[tuple[Path, Audit]]:
    """A control plane and a node of this machine; gives kubeconfig and audit log."""
    place = Path(os.environ[PLACE])
    real_node.network()
    options = Options(state_dir=place / "sandbox", engines=0, zookeepers=0, operators=0, bare=True, owner=owner())
    images = oci_images.every(to_stderr)
    with running(options) as sandbox, real_node.node(sandbox, place / "node", images, place.name, to_stderr):
        yield Path(sandbox.endpoints.kubeconfig), sandbox.audit


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The cluster of the target with everything in it."""
    scratch, target = tmp_path_factory.mktemp("world"), os.environ.get(TARGET, "")

    @contextmanager
    def begun(kubeconfig: Path, audit: Audit | None, image: Callable[[], dict[str, Any]]) -> Iterator[World]:
        tools = ensure_kubectl_and_helm(cache_dir(), to_stderr)
        rest = Rest(kubeconfig)
        try:
            made = World(kubeconfig=kubeconfig, tools=tools, scratch=scratch, rest=rest, audit=audit, target=target, image=image)
            made.begin()
            yield made
        finally:
            rest.close()

    match target:
        case "node":
            with node() as (kubeconfig, audit):
                image = oci_images.shuren(to_stderr)
                with begun(kubeconfig, audit, lambda: oci_images.configuration(image)) as made:
                    yield made
        case "kind":
            with kind_cluster.cluster(scratch, to_stderr) as kubeconfig, begun(kubeconfig, None, kind_cluster.configuration) as made:
                yield made
        case _:
            pytest.skip("there is no cluster: make e2e makes one")
