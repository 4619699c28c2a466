"""What the end-to-end tests rest on: the bill of materials of the image's base, and the look for what a run left behind."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import alone
from image_sbom import Package, of_base

STATUS = """Package: adduser
Status: install ok installed
Architecture: all
Section: admin
Version: 3.134
Description: add and remove users
 Several lines.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: bash
Status: install ok installed
Architecture: amd64
Section: shells
Version: 5.2.15-2+b7
"""


def test_a_base_tells_the_packages_that_are_installed(tmp_path: Path) -> None:
    base = tmp_path / "base.tar"
    with tarfile.open(base, "w") as tar:
        file = tarfile.TarInfo("./var/lib/dpkg/status")
        file.size = len(STATUS)
        tar.addfile(file, io.BytesIO(STATUS.encode()))
    assert of_base(base) == [
        Package(name="adduser", version="3.134", architecture="all", section="admin"),
        Package(name="bash", version="5.2.15-2+b7", architecture="amd64", section="shells"),
    ]


def test_a_process_that_outlives_its_run_is_found(tmp_path: Path) -> None:
    assert alone.left_behind(tmp_path / "e2e") == []
    with subprocess.Popen(["sleep", "60"], env={**os.environ, alone.PLACE: str(tmp_path / "e2e")}) as process:
        try:
            assert alone.left_behind(tmp_path / "e2e") == [f"process {process.pid}"]
        finally:
            process.kill()
    assert alone.left_behind(tmp_path / "e2e") == []


def test_an_unknown_target_is_refused() -> None:
    assert alone.main(["minikube"]) == 2
