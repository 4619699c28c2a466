"""Runs the end-to-end tests where they can leave nothing behind: `python tests/alone.py node|kind [pytest's arguments]`.

`node`: in namespaces of their own for processes, mounts and network, which end with everything in them, and with /etc, /opt, /run and /var
overlaid; control groups and settings of the kernel, which have none, are put back; at the end it is looked for what is left. `kind`: on a
cluster that kind makes in Docker and that is deleted at the end.
Where the target is not possible this says why, and the exit status is 0.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kind_cluster
import oci_images
import real_node
from shuren.devenv.errors import DevenvError
from shuren.devenv.progress import to_stderr

ROOT = Path(__file__).resolve().parents[1]
PLACE = "SHUREN_E2E_PLACE"
TARGET = "SHUREN_E2E_TARGET"
_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What kubelet sets for the whole machine."""
_PLACES = (
    *("/etc/cni", "/opt/containerd", "/run/containerd", "/run/containers", "/run/netns", "/var/cache/containers", "/var/lib/cni"),
    *("/var/lib/containers", "/var/lib/containerd", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods"),
)
"""Where container tools leave something, unless they are kept from it."""


def main(arguments: list[str]) -> int:
    """Run the suite against a target; gives pytest's exit status, or 1 when something was left behind."""
    target, *options = arguments or ["node"]
    if target not in {"node", "kind"}:
        to_stderr(f"TARGET={target}: node or kind")
        return 2
    if why := real_node.missing() if target == "node" else kind_cluster.missing():
        to_stderr(f"e2e: left out: {why}")
        return 0
    try:
        if target == "kind":
            kind_cluster.build(to_stderr)
        else:
            real_node.programs(to_stderr)
            oci_images.every(to_stderr)
    except DevenvError as error:
        to_stderr(str(error))
        return 1
    argv = [sys.executable, "-m", "pytest", "--numprocesses=0", *(options or [str(ROOT / "tests" / "e2e")])]
    if target == "kind":
        return subprocess.run(argv, env={**os.environ, TARGET: target}, check=False).returncode
    return _alone(argv)


def _alone(argv: list[str]) -> int:
    # paths of sockets are short
    place = Path(tempfile.mkdtemp(prefix="shuren-e2e-", dir="/tmp"))
    groups = [hierarchy / place.name for hierarchy in real_node.hierarchies()]
    settings = {path: path.read_text() for path in (Path("/proc/sys") / name for name in _SETTINGS) if path.exists()}
    before = _outside()
    try:
        for group in groups:
            group.mkdir()
        env = {**os.environ, TARGET: "node", PLACE: str(place)}
        script = f'{oci_images.untouched(place)}exec "$@"'
        command = [*oci_images.ALONE, "bash", "-c", script, "e2e", *argv, f"--basetemp={place / 'pytest'}"]
        status = subprocess.run(command, env=env, check=False).returncode
    finally:
        for path, value in settings.items():
            path.write_text(value)
        for group in groups:
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
    if status != 0:
        kept = ROOT / "build" / "e2e-logs"
        shutil.rmtree(kept, ignore_errors=True)
        for name in ("sandbox/logs", "node/logs", "node/pod-logs"):
            if (place / name).exists():
                shutil.copytree(place / name, kept / name, symlinks=True)
        to_stderr(f"e2e: logs are in {kept.relative_to(ROOT)}")
    left = left_behind(place) + [f"file {path}" for path in sorted(_outside() - before)]
    shutil.rmtree(place, ignore_errors=True)
    if left:
        to_stderr("e2e: left behind:\n" + "\n".join(f"  {one}" for one in left))
    return status or int(bool(left))


def _outside() -> set[Path]:
    """Which of these places there are, and what lies in them."""
    return {entry for place in map(Path, _PLACES) if place.is_dir() for entry in (place, *place.iterdir())}


def left_behind(place: Path) -> list[str]:
    """What there still is of a run with this scratch directory: mounts, processes, links of its network, control groups."""
    found = [f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if str(place) in line]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(place).encode() in told:
                found.append(f"process {entry.name}")
    links = Path("/sys/class/net")
    found += [f"link {name}" for name in ("node0", "pods0") if (links / name).exists()]
    found += [f"control group {hierarchy / place.name}" for hierarchy in real_node.hierarchies() if (hierarchy / place.name).exists()]
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
