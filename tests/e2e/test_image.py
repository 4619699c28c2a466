"""The image by itself: run as restricted Pod Security has it, with a root file system that nobody writes and without a network."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

import shuren
from container_image import NAME
from image_requirements import main as requirements

Docker = Callable[..., subprocess.CompletedProcess[str]]
RESTRICTED = ("--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def shell(docker: Docker, script: str) -> str:
    done = docker("run", *RESTRICTED, "--entrypoint=sh", NAME, "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_lists_of_packages_are_those_of_constraints() -> None:
    assert requirements(["--check"]) == 0


def test_it_says_its_version(docker: Docker) -> None:
    done = docker("run", *RESTRICTED, NAME, "version")
    assert done.stdout.strip() == f"shuren {shuren.__version__}", done.stderr


def test_it_is_the_operator_unless_told_otherwise(docker: Docker) -> None:
    done = docker("run", *RESTRICTED, NAME)
    assert done.returncode == 1
    assert "not in a pod and KUBECONFIG is not set" in done.stderr


@pytest.mark.parametrize("command", ["lb", "dns", "operator", "sandbox"])
def test_every_room_of_the_product_starts_in_it(docker: Docker, command: str) -> None:
    done = docker("run", *RESTRICTED, NAME, command, "--help")
    assert done.returncode == 0, done.stderr


def test_the_engine_of_the_sandbox_starts_in_it(docker: Docker) -> None:
    assert "--runner" in shell(docker, "python3 -m shuren.sandbox --help")


def test_nobody_is_root_and_nobody_becomes_root(docker: Docker) -> None:
    assert shell(docker, "id -u") == "65532"
    assert shell(docker, "find / -xdev -type f -perm /6000 2>/dev/null || true") == ""
    assert shell(docker, "touch /x /opt/shuren/x 2>/dev/null && echo written || echo refused") == "refused"


def test_it_has_haproxy_and_no_compiler_and_no_pip(docker: Docker) -> None:
    assert "HAProxy version 2." in shell(docker, "haproxy -v")
    there = "for one in gcc cc c++ make pip pip3 git curl wget; do command -v $one; done; true"
    assert shell(docker, there) == ""
    assert "No module named pip" in docker("run", *RESTRICTED, "--entrypoint=python3", NAME, "-m", "pip").stderr


def test_labels_tell_what_it_is(docker: Docker) -> None:
    config = json.loads(docker("image", "inspect", NAME).stdout)[0]["Config"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert (labels["title"], labels["version"], labels["licenses"]) == ("shuren", shuren.__version__, "Apache-2.0")
    assert labels["revision"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["shuren"]
