"""The image by itself, in a pod as restricted Pod Security has it, with a root file system that nobody writes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import container_image
import docker_daemon
import shuren
from alone import PLACE
from container_image import SUITE, base
from e2e_world import World
from image_requirements import main as requirements
from image_sbom import of_base
from shuren.devenv.progress import to_stderr


def test_the_lists_of_packages_are_those_of_constraints() -> None:
    assert requirements(["--check"]) == 0


def test_it_says_its_version(world: World) -> None:
    assert world.inside("shuren version") == f"shuren {shuren.__version__}"


@pytest.mark.parametrize("command", ["lb", "dns", "operator", "sandbox"])
def test_every_room_of_the_product_starts_in_it(world: World, command: str) -> None:
    assert f"shuren {command}" in world.inside(f"shuren {command} --help")


def test_the_engine_of_the_sandbox_starts_in_it(world: World) -> None:
    assert "--runner" in world.inside("python3 -m shuren.sandbox --help")


def test_nobody_is_root_and_nobody_becomes_root(world: World) -> None:
    assert world.inside("id -u") == "65532"
    assert world.inside("find / -xdev -type f -perm /6000 2>/dev/null || true") == ""
    assert world.inside("touch /x /opt/shuren/x 2>/dev/null && echo written || echo refused") == "refused"


def test_it_has_haproxy_and_no_compiler_and_no_pip(world: World) -> None:
    assert "HAProxy version 2." in world.inside("haproxy -v")
    assert world.inside("for one in gcc cc c++ make pip pip3 git curl wget; do command -v $one; done; true") == ""
    assert "No module named pip" in world.inside("python3 -m pip 2>&1 || true")


def test_the_bill_of_materials_names_what_dpkg_has_installed(world: World) -> None:
    there = world.inside("dpkg-query --show --showformat='${Package} ${Version}\\n'").splitlines()
    if f"VERSION_CODENAME={SUITE}" not in world.inside("cat /etc/os-release").splitlines() or world.target != "node":
        pytest.skip("the image stands on another base than that of `make image`")
    assert sorted(f"{one.name} {one.version}" for one in of_base(base(to_stderr))) == sorted(there)


def test_labels_tell_what_it_is(world: World) -> None:
    config = world.image()
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert (labels["title"], labels["version"], labels["licenses"]) == ("shuren", shuren.__version__, "Apache-2.0")
    assert labels["revision"]
    assert config["User"] == "65532:65532"
    # the operator, unless told otherwise
    assert (config["Entrypoint"], config["Cmd"]) == (["shuren"], ["operator"])


def test_docker_builds_the_same_image(world: World) -> None:
    """The one in the pods is buildah's, from the same Dockerfile."""
    if world.target != "node" or (why := container_image.missing()):
        pytest.skip("there Docker has built the image anyway" if world.target != "node" else why)
    place = Path(os.environ[PLACE])
    with docker_daemon.daemon(place / "docker", cgroup=place.name) as own:
        env = {**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_HOST": f"unix://{own.socket}"}

        def docker(*arguments: str) -> str:
            return subprocess.run(["docker", *arguments], env=env, check=True, capture_output=True, text=True).stdout

        container_image.build(env, to_stderr)
        restricted = ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
        said = docker("run", "--rm", *restricted, container_image.NAME, "version")
        made = json.loads(docker("image", "inspect", container_image.NAME))[0]["Config"]
    assert said == f"shuren {shuren.__version__}\n"
    ours = world.image()
    assert {key: made[key] for key in ("User", "Entrypoint", "Cmd", "Env")} == {
        key: ours[key] for key in ("User", "Entrypoint", "Cmd", "Env")
    }
    labels = {key: value for key, value in made["Labels"].items() if not key.endswith(".revision")}
    assert labels.items() <= ours["Labels"].items()
