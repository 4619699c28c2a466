"""An application that imports the sharding library gets the standard library and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import shuren.sharding
import shuren.sharding.core

_ROOT = Path(shuren.sharding.__file__).parent
_OWN_MODULES = {"backend_xxhash.py": "xxhash", "zookeeper.py": "kazoo"}
"""Where an optional package may be imported."""


def _modules_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(_ROOT.parents[1])!r})\n{statement}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={},
    )
    return {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}


def test_the_core_loads_no_third_party_module_and_none_of_the_product() -> None:
    loaded = _modules_after("import shuren.sharding.core")
    assert {name for name in loaded if name.partition(".")[0] not in {"__main__", "shuren"}} == set()
    assert {name for name in loaded if name.startswith("shuren.") and not name.startswith("shuren.sharding")} == set()


def test_the_core_routes_with_the_standard_library_alone() -> None:
    """-S leaves out site-packages, so there is no xxhash to find."""
    loaded = _modules_after(
        "from shuren.sharding.core import Member, Rendezvous, slot_of\n"
        "assert Rendezvous([Member(id='a')]).route('k').id == 'a'\n"
        "assert slot_of('user:7', 1024) == slot_of(b'user:7', 1024)"
    )
    assert "xxhash" not in loaded


def test_without_kazoo_it_says_what_to_install() -> None:
    _modules_after(
        "import shuren.sharding\n"
        "try:\n    shuren.sharding.ZooKeeperStore\n"
        "except ImportError as error:\n    assert 'ZooKeeperStore needs kazoo: pip install' in str(error), error\n"
        "else:\n    raise AssertionError('kazoo is in the standard library')"
    )


def test_every_import_is_of_the_library_or_the_standard_library() -> None:
    foreign = []
    for path in sorted(_ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names or name == "shuren.sharding" or name.startswith("shuren.sharding."):
                    continue
                if _OWN_MODULES.get(path.name) != top:
                    foreign.append(f"{path.relative_to(_ROOT)}: {name}")
    assert foreign == []


def test_client_and_member_need_no_third_party_module() -> None:
    loaded = _modules_after("import shuren.sharding\nassert shuren.sharding.ShardMapClient and shuren.sharding.AsyncShardMember")
    assert "shuren.sharding.member" in loaded
    assert {name for name in loaded if not name.startswith(("shuren", "__main__"))} == set()


def test_the_package_loads_what_is_asked_for_and_no_more() -> None:
    assert _modules_after("import shuren.sharding.core") & {"shuren.sharding.client", "shuren.sharding.member"} == set()


def test_every_public_name_is_there() -> None:
    for name in shuren.sharding.__all__:
        assert getattr(shuren.sharding, name).__name__ == name
    for name in shuren.sharding.core.__all__:
        assert getattr(shuren.sharding.core, name) is not None
    assert set(shuren.sharding._PLACES) == set(shuren.sharding.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = shuren.sharding.Nothing
