"""A cluster that kind makes in Docker, for who has both; deleted at the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import container_image
import oci_images
from shuren.devenv.progress import Report, run_reporting

NAME = "shuren-e2e"


_ZOOKEEPER = """FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends default-jre-headless zookeeper && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["java"]
"""


def missing() -> str:
    """Why there can be none here; empty when there can."""
    absent = [name for name in ("docker", "kind") if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)} missing on the PATH: TARGET=kind needs Docker and kind"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker Engine answers: start one, or use TARGET=node"
    return ""


def build(report: Report) -> None:
    """The images, with Docker: the product's from the Dockerfile as everybody builds it."""
    run_reporting(["docker", "build", f"--tag={container_image.NAME}", str(container_image.ROOT)], what="image", report=report)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "Dockerfile").write_text(_ZOOKEEPER)
        run_reporting(["docker", "build", f"--tag={oci_images.ZOOKEEPER}", scratch], what="image of ZooKeeper", report=report)


def configuration() -> dict[str, Any]:
    """How a container of the product's image is started, and its labels."""
    said = subprocess.run(["docker", "image", "inspect", container_image.NAME], check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(said)[0]["Config"]
    return found


@contextmanager
def cluster(scratch: Path, report: Report) -> Iterator[Path]:
    """Up with these images in it; gives its kubeconfig."""
    kubeconfig = scratch / "kind.kubeconfig"
    try:
        argv = ["kind", "create", "cluster", f"--name={NAME}", f"--kubeconfig={kubeconfig}", "--wait=180s"]
        run_reporting(argv, what="kind", report=report)
        argv = ["kind", "load", "docker-image", container_image.NAME, oci_images.ZOOKEEPER, f"--name={NAME}"]
        run_reporting(argv, what="images into kind", report=report)
        yield kubeconfig
    finally:
        subprocess.run(["kind", "delete", "cluster", f"--name={NAME}"], check=False)
