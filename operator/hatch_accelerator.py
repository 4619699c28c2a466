"""Build hook of the wheel: compiles the sharding library's C accelerator into it where a C compiler is.

Beside the package, not in it: only building needs hatchling. SHUREN_ACCEL=0 leaves the accelerator out, SHUREN_ACCEL=1 demands it.
"""

from __future__ import annotations

import importlib.util
import os
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PLACE = Path("shuren/sharding/core/accel")


def _build_module(source_root: Path) -> ModuleType:
    """`build.py` by its path: the package that it belongs to is not installed yet."""
    spec = importlib.util.spec_from_file_location("accelerator_build", source_root / _PLACE / "build.py")
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{source_root / _PLACE}/build.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class AcceleratorHook(BuildHookInterface[Any]):
    """See the module."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile: beside the sources for an editable install, else into the wheel, which then is for this platform."""
        if os.environ.get("SHUREN_ACCEL") == "0":
            return
        source_root = Path(self.root, "operator")
        build = _build_module(source_root)
        editable = version == "editable"
        into = source_root / _PLACE if editable else Path(tempfile.mkdtemp(prefix="shuren-accel-"))
        try:
            built = build.build(into)
        except build.BuildError as error:
            if os.environ.get("SHUREN_ACCEL") == "1":
                raise
            self.app.display_warning(f"no accelerator: {error}")
            return
        if editable:
            return
        build_data["force_include"][str(built)] = str(_PLACE / built.name)
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        if build.abi3():
            build_data["tag"] = f"cp311-abi3-{platform}"
        else:
            build_data["infer_tag"] = True
