"""The C code: nothing that it is given makes it misbehave, and it is there when a compiler is."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import weakref
from array import array
from pathlib import Path
from types import ModuleType
from typing import Any, Never

import pytest

from sharding_fuzz import work
from shuren.sharding.core import Backend, Unusable, available
from shuren.sharding.core import backend as backends
from shuren.sharding.core.accel import build

_FUZZ = Path(__file__).parents[2] / "sharding_fuzz.py"


def _nobody(slot: int) -> Never:
    raise KeyError(slot)


def _lookup(native: ModuleType, **changes: Any) -> Any:
    arguments = {"kind": 0, "members": ("a", "b"), "nobody": _nobody, "size": 2, "table": array("H", [0, 1])}
    return native.Lookup(**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"kind": 6}, ValueError, "unknown kind"),
        ({"kind": -1}, ValueError, "unknown kind"),
        ({"size": 0}, ValueError, "table of 0 entries"),
        ({"size": 3}, ValueError, "table of 3 entries"),
        ({"size": 4}, ValueError, "table holds 4 bytes, not 4 entries"),
        ({"size": 1 << 25}, ValueError, "too large"),
        ({"table": None}, ValueError, "table holds 0 bytes"),
        ({"table": array("H", [0, 2])}, ValueError, r"table\[1\] is 2, but there are 2 members"),
        ({"kind": 1}, ValueError, "table of 2 entries does not fit"),
        ({"kind": 3}, ValueError, "points holds 0 bytes"),
        ({"kind": 3, "points": array("Q", [2, 1])}, ValueError, "ascending"),
        ({"kind": 4, "members": ()}, ValueError, "no member"),
        ({"kind": 5, "seeds": array("Q", [1])}, ValueError, "seeds holds 8 bytes"),
        ({"kind": 5, "seeds": array("Q", [1, 2]), "weights": array("d", [1, 0])}, ValueError, r"weights\[1\]"),
        ({"members": ["a"]}, TypeError, "tuple"),
        ({"members": ("a",) * 65_536}, ValueError, "at most 65535"),
    ],
)
def test_what_does_not_fit_together_is_refused(native: ModuleType, changes: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        _lookup(native, **changes)


def test_members_live_as_long_as_the_lookup_and_no_longer(native: ModuleType) -> None:
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    lookup = _lookup(native, members=(thing, thing))
    before = sys.getrefcount(thing)
    found = [lookup.route("a") for _ in range(100)] + lookup.route_many(["a"] * 100)
    assert sys.getrefcount(thing) == before + 200
    del found, thing
    gc.collect()
    assert gone() is not None
    del lookup
    gc.collect()
    assert gone() is None


def test_a_cycle_through_the_lookup_is_collected(native: ModuleType) -> None:
    class Owner:
        def nobody(self, slot: int) -> Never:
            raise KeyError(slot)

    owner = Owner()
    owner.lookup = _lookup(native, nobody=owner.nobody)  # type: ignore[attr-defined]
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_a_handler_that_does_not_raise_gives_its_answer(native: ModuleType) -> None:
    assert _lookup(native, members=(None, None), nobody=lambda slot: ("nobody", slot)).route("a")[0] == "nobody"


def test_hostile_input_is_refused(native: ModuleType) -> None:
    assert work(native, seed=1, rounds=40) > 0


def test_under_address_and_undefined_behaviour_sanitizers(tmp_path: Path) -> None:
    cc = build.compiler()
    if cc is None:
        pytest.skip("there is no C compiler")
    libraries = [_library(cc, f"lib{name}.so") for name in ("asan", "ubsan")]
    if None in libraries:
        pytest.skip(f"{cc} brings no sanitizers (libasan, libubsan)")
    build.build(tmp_path, flags=("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"))
    environment = os.environ | {
        "LD_PRELOAD": " ".join(str(path) for path in libraries),
        # CPython keeps memory until it ends, which is no leak of ours; its own allocator would hide accesses out of bounds
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "COVERAGE_PROCESS_START": "",
    }
    done = subprocess.run(
        [sys.executable, str(_FUZZ), str(tmp_path), "2"], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 0


def _library(cc: str, name: str) -> str | None:
    found = subprocess.run([cc, f"-print-file-name={name}"], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    return found if Path(found).is_absolute() and Path(found).exists() else None


# ---------------------------------------------------------------------------------------------------------------------------- building


def _run_build(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, build.__file__, "--into", str(tmp_path)],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_compiler_the_library_goes_on(tmp_path: Path) -> None:
    done = _run_build(tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    assert "no accelerator, the library goes on in Python: there is no C compiler" in done.stderr
    assert _run_build(tmp_path, SHUREN_ACCEL="1").returncode == 1


def test_a_compiler_that_refuses_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n")
    broken.chmod(0o755)
    done = _run_build(tmp_path, CC=str(broken))
    assert done.returncode == 0
    assert "no space left" in done.stderr
    assert list(tmp_path.iterdir()) == [broken]


def test_it_can_be_left_out(tmp_path: Path) -> None:
    done = _run_build(tmp_path, SHUREN_ACCEL="0", PATH=os.environ["PATH"])
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])


def test_one_built_from_other_sources_is_not_used(accelerator: str | None, tmp_path: Path) -> None:
    """A stale file beside newer sources: another interface number."""
    if accelerator is not None:
        pytest.skip(accelerator)
    sources = tmp_path / "accel"
    shutil.copytree(build.HERE, sources, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    code = (sources / "native.c").read_text()
    (sources / "native.c").write_text(code.replace("#define INTERFACE ", "#define INTERFACE 9"))
    subprocess.run([sys.executable, str(sources / "build.py")], check=True, capture_output=True, timeout=120)
    probe = (
        "from shuren.sharding.core import accel, available\n"
        f"accel.__path__.insert(0, {str(sources)!r})\n"
        "print([b.value for b in available()])"
    )
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True, timeout=60)
    assert "native" not in done.stdout


def test_a_backend_that_is_not_installed_is_refused_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xxhash", None)
    backends._module.cache_clear()
    sys.modules.pop("shuren.sharding.core.backend_xxhash", None)
    try:
        assert Backend.XXHASH not in available()
        with pytest.raises(Unusable, match=r"xxhash is not installed; there are .*python"):
            backends.chosen(Backend.XXHASH)
    finally:
        backends._module.cache_clear()
