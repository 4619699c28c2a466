"""Packages that we depend on: `python tests/dependencies.py licences [--check]` and `… advisories REPORT`.

`licences` writes `docs/licences.md` from what the installed packages of `constraints.txt` say of themselves; with --check nothing is
written, and a stale list or a licence that nobody has allowed exits with 1. `advisories` judges a report of pip-audit (JSON).
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "docs" / "licences.md"

ALLOWED = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"}
"""All may be used by an Apache-2.0 program that does not change them; MPL-2.0 asks for the source of changed files only."""

_SAID = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""What packages wrote before there were SPDX expressions (PEP 639)."""

_HEAD = """# Licences of dependencies

Written by `make generate` from what the packages say of themselves; `make check` fails when one says something that is not allowed. Shuren
itself is Apache-2.0 and carries none of them: they are installed beside it. A user of `shuren.sharding` alone gets none at all.

| package | version | licence |
|---|---|---|
"""


def pinned() -> dict[str, str]:
    """Name → version of `constraints.txt`."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return dict(found)


def licence(metadata: Mapping[str, Any]) -> str:
    """As an SPDX expression; what is neither that nor known is returned as it was said."""
    classifiers = [line.rpartition("::")[2].strip() for line in metadata.get_all("Classifier") or () if line.startswith("License")]  # type: ignore[attr-defined]
    said = metadata.get("License-Expression") or metadata.get("License") or next(iter(classifiers), "")
    return _SAID.get(said, said)


def not_allowed(expression: str) -> list[str]:
    """Licences of an expression that are not allowed; with OR, one allowed suffices."""
    parts = re.split(r"\s+(?:AND)\s+", expression)
    return [part for part in parts if not any(one.strip("() ") in ALLOWED for one in re.split(r"\s+OR\s+", part))]


def licences() -> tuple[str, list[str]]:
    """The page, and what is wrong. Packages that this platform does not install are listed without a licence."""
    rows, wrong = [], []
    for name, version in sorted(pinned().items()):
        try:
            said = licence(importlib.metadata.metadata(name))  # type: ignore[arg-type]
        except importlib.metadata.PackageNotFoundError:
            rows.append(f"| {name} | {version} | (other platforms only) |")
            continue
        rows.append(f"| {name} | {version} | {said} |")
        wrong += [f"{name} {version}: {one or 'says no licence'}" for one in not_allowed(said)]
    return _HEAD + "\n".join(rows) + "\n", wrong


def advisories(report: Mapping[str, Any]) -> tuple[str, bool]:
    """What to say about pip-audit's report, and whether all is well. When no package could be looked up, that is said."""
    looked, found = 0, []
    for package in report["dependencies"]:
        looked += "skip_reason" not in package
        for advisory in package.get("vulns", ()):
            fixed = ", ".join(advisory.get("fix_versions", ())) or "no version yet"
            found.append(f"{package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}")
    if found:
        return "\n".join(found), False
    if not looked:
        return "no advisory could be looked up from here: nothing was audited", True
    return f"{looked} of {len(report['dependencies'])} packages looked up, no advisory", True


def main(arguments: list[str]) -> int:
    """Exit code."""
    if arguments[:1] == ["advisories"]:
        text, well = advisories(json.loads(Path(arguments[1]).read_text()))
        print(text)  # noqa: T201
        return 0 if well else 1
    page, wrong = licences()
    for line in wrong:
        print(f"not allowed: {line} (allowed: {', '.join(sorted(ALLOWED))})", file=sys.stderr)  # noqa: T201
    if "--check" not in arguments:
        PLACE.write_text(page)
    elif not PLACE.exists() or PLACE.read_text() != page:
        print(f"{PLACE.relative_to(ROOT)} is stale: run `make generate`", file=sys.stderr)  # noqa: T201
        return 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
