"""Adds Debian's packages of the image's base to a bill of materials of its Python packages: `image_sbom.py BASE.tar SUITE BOM.json`.

Runs in the virtual environment of cyclonedx-bom, whose library writes the document. The base is the one that `make image` makes; who
builds on another one lists its packages with what made that.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path


@dataclass(frozen=True, kw_only=True, order=True)
class Package:
    """An installed package, as dpkg knows it."""

    name: str
    version: str
    architecture: str
    section: str


def installed(status: str) -> Iterator[Package]:
    """Packages of a dpkg status file (deb-control(5): paragraphs of fields) that are installed."""
    for paragraph in status.split("\n\n"):
        fields = Parser().parsestr(paragraph)
        if fields.get("Status", "").endswith(" installed"):
            name, version, architecture, section = (str(fields.get(key, "")) for key in ("Package", "Version", "Architecture", "Section"))
            yield Package(name=name, version=version, architecture=architecture, section=section)


def of_base(base: Path) -> list[Package]:
    """Packages of a root file system in a tar."""
    with tarfile.open(base) as tar:
        file = tar.extractfile("./var/lib/dpkg/status")
        assert file is not None
        return sorted(installed(io.TextIOWrapper(file, encoding="utf-8").read()))


def add(document: Path, packages: list[Package], suite: str) -> None:
    """Write the document anew with these packages in it."""
    from cyclonedx.model.bom import Bom  # noqa: PLC0415 - not among our own dependencies
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    bom = Bom.from_json(json.loads(document.read_text()))
    for one in packages:
        qualifiers = {"arch": one.architecture, "distro": suite}
        url = PackageURL("deb", "debian", one.name, one.version, qualifiers)
        bom.components.add(
            Component(
                name=one.name, version=one.version, type=ComponentType.LIBRARY, purl=url, bom_ref=f"debian-{one.name}-{one.architecture}"
            )
        )
    made = json.loads(JsonV1Dot6(bom).output_as_string())
    # the same image gives the same document
    made.pop("serialNumber", None)
    made.get("metadata", {}).pop("timestamp", None)
    document.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n")


def main(arguments: list[str]) -> int:
    """Run the command; give its exit status."""
    base, suite, document = arguments
    packages = of_base(Path(base))
    add(Path(document), packages, suite)
    sys.stdout.write(f"sbom: {len(packages)} Debian packages of {suite}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
