"""The image by itself, in a pod as restricted Pod Security has it, with a root file system that nobody writes."""

from __future__ import annotations

import pytest

import shuren
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
