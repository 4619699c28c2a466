"""Our slots and fastring (Rust) in turns in one process of a Python that is new enough for fastring (3.13).

    python3.13 tests/bench/fastring_peer.py DIRECTORY     prints JSON

`measured` finds such a Python and runs this file with it. It then imports nothing but the standard library, the sharding library, and
fastring from the directory, where `make bench` has put it.
"""

from __future__ import annotations

import importlib
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "operator"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.turns import one_by_one, rates
from shuren.sharding.core import Backend, Member, Slots, available, make_table

FOLDER = "python3.13"
"""Of the directory of peers: what is for another Python than theirs."""
COUNTS = (10, 100, 1_000)
_SHARDS, _KEYS = 65_536, 20_000
_SECONDS = 300.0


def _candidates() -> Iterator[str]:
    """This Python, those on the path, and where pyenv and uv keep theirs."""
    yield sys.executable
    for name in ("python3.13", "python3.14"):
        found = shutil.which(name)
        if found is not None:
            yield found
    for where, pattern in ((".pyenv/versions", "3.1[34].*/bin/python"), (".local/share/uv/python", "cpython-3.1[34].*/bin/python3")):
        yield from map(str, sorted((Path.home() / where).glob(pattern)))


def interpreter() -> str | None:
    """A Python that fastring runs with; None when this machine has none."""
    for candidate in _candidates():
        try:
            asked = subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info[:2] >= (3, 13))"],
                capture_output=True,
                text=True,
                timeout=30.0,
                check=False,
            )
        except OSError:
            continue
        if asked.stdout.strip() == "True":
            return candidate
    return None


def why_not(place: Path | None) -> str:
    """Why fastring cannot be asked; empty when it can."""
    if interpreter() is None:
        return "needs Python 3.13 or later, which this machine has not"
    if place is None or not (place / FOLDER / "fastring").is_dir():
        return "make bench PEERS=1 brings it"
    return ""


def measured(place: Path) -> dict[str, Any]:
    """What this program prints when it is run by the right Python. Raises when it fails."""
    python = interpreter()
    if python is None:
        raise RuntimeError(why_not(place))
    # -S and -E: nothing that happens to be installed there
    command = [python, "-E", "-S", __file__, str(place / FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"fastring under {python}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _rows(count: int, fastring: Any) -> dict[str, tuple[float, float]]:
    chance = random.Random(count)  # noqa: S311 - repeatable keys
    keys = [f"user:{chance.randrange(10**10)}" for _ in range(_KEYS)]
    members = [Member(id=f"node-{n}", number=n, address=f"10.0.0.{n % 250}:{31_000 + n}") for n in range(count)]
    numbers = list(range(count)) * (_SHARDS // count + 1)
    owners = numbers[:_SHARDS]
    chance.shuffle(owners)
    table = make_table(shards=_SHARDS, replicas=1, members=members, owners=owners)
    ring = fastring.HashRing()
    for member in members:
        ring.add_node(member.id)
    works = {"fastring": one_by_one(ring.get_node, keys), "fastring, batch": lambda: ring.get_node_batch(keys)}
    for backend in available():
        router = Slots(table, backend=backend)
        works[backend.value] = one_by_one(router.route, keys)
        works[f"{backend.value}, batch"] = lambda router=router: router.route_many(keys)  # type: ignore[misc]
    return rates(works, len(keys))


def main() -> int:
    """See the module."""
    sys.path.append(sys.argv[1])
    fastring = importlib.import_module("fastring")
    document = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "native": Backend.NATIVE in available(),
        "rates": {str(count): _rows(count, fastring) for count in COUNTS},
    }
    sys.stdout.write(json.dumps(document) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
