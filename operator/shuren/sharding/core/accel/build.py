"""Compiles the accelerator: `python -m shuren.sharding.core.accel.build [--into DIRECTORY]`.

Called by `make setup` and when a wheel is built. Without a C compiler, or when compiling fails, the library goes on in Python: a sentence
says so and the exit status is 0, unless SHUREN_ACCEL=1 demands it. SHUREN_ACCEL=0 leaves it out.
One file serves CPython 3.11 and later (abi3); free-threaded interpreters have no stable ABI and get one for their version.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ("native.c", "xxh64.h")
_OPTIMISED = ("-O3", "-fno-plt")
_STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-fPIC", "-shared", "-fvisibility=hidden")
_SECONDS = 300.0


class BuildError(Exception):
    """There is no compiler, or it refused; the message holds its own words."""


def compiler() -> str | None:
    """The C compiler to use: CC, else what Python was built with, else `cc`; None when none of them is installed."""
    for command in (os.environ.get("CC"), (sysconfig.get_config_var("CC") or "").split(" ")[0], "cc", "gcc", "clang"):
        found = shutil.which(command) if command else None
        if found is not None:
            return found
    return None


def abi3() -> bool:
    """Whether this interpreter has the stable ABI."""
    return not sysconfig.get_config_var("Py_GIL_DISABLED")


def file_name() -> str:
    """What the compiled module is called."""
    return "_native.abi3.so" if abi3() else f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"


def build(into: Path, *, flags: Sequence[str] = _OPTIMISED) -> Path:
    """Compile into a directory and give the file. BuildError when it cannot be done."""
    cc = compiler()
    if cc is None:
        raise BuildError("there is no C compiler (cc); with Debian: apt-get install gcc")
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        raise BuildError(f"{headers} holds no Python.h; with Debian: apt-get install python3-dev")
    target = into / file_name()
    partial = target.with_suffix(f".{os.getpid()}.part")
    limited = ["-DPy_LIMITED_API=0x030B0000"] if abi3() else []
    command = [cc, *_STRICT, *flags, *limited, f"-I{headers}", str(HERE / "native.c"), "-o", str(partial), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{cc} could not be run: {error}") from error
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        raise BuildError(f"{cc} refused:\n{done.stderr[-4000:]}")
    partial.replace(target)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m shuren.sharding.core.accel.build", description="Compile the sharding accelerator.")
    parser.add_argument("--into", type=Path, default=HERE, help="directory (default: beside the sources, where Python finds it)")
    into = parser.parse_args(arguments).into
    if os.environ.get("SHUREN_ACCEL") == "0":
        sys.stderr.write("sharding: SHUREN_ACCEL=0, no accelerator\n")
        return 0
    try:
        built = build(into)
    except BuildError as error:
        sys.stderr.write(f"sharding: no accelerator, the library goes on in Python: {error}\n")
        return 1 if os.environ.get("SHUREN_ACCEL") == "1" else 0
    sys.stdout.write(f"sharding: accelerator {built.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
