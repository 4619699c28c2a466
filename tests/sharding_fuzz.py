"""Works the accelerator over with good and hostile input; run by a test in a process whose sanitizers end it at the first wrong step.

python tests/sharding_fuzz.py DIRECTORY-OF-THE-MODULE SEED
"""

from __future__ import annotations

import gc
import importlib.util
import random
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Never


def load(directory: Path) -> ModuleType:
    """The module of a directory."""
    (path,) = directory.glob("_native*.so")
    spec = importlib.util.spec_from_file_location("_native", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _nobody(slot: int) -> Never:
    raise KeyError(slot)


def _keys(chance: random.Random) -> list[Any]:
    alphabet = "ab{}数\x00\ud800"
    texts = ["".join(chance.choices(alphabet, k=chance.randrange(12))) for _ in range(60)]
    return [*texts, *(chance.randbytes(length) for length in range(80)), 7, None, bytearray(b"x"), ["a"], b"{", "{}", "}{", "{a}"]


def _arguments(chance: random.Random) -> dict[str, Any]:
    """Arguments that sometimes fit together."""
    count, kind = chance.choice([0, 1, 3, 70]), chance.randrange(-1, 7)
    size = chance.choice([0, 1, 2, 3, 64, 1000, 16_384]) if kind != 1 else chance.choice([16_384, 64])
    top = chance.choice([count, count, count, 70_000]) or 1
    table = array("H", [chance.choice([chance.randrange(top) % 65_536, 65_535]) if chance.random() < 0.01 else 0 for _ in range(size)])
    points = array("Q", [chance.getrandbits(64) for _ in range(size)])
    if chance.random() < 0.8:
        points = array("Q", sorted(points))
    return {
        "kind": kind,
        "members": tuple(chance.choice([object(), object(), None]) for _ in range(count)),
        "nobody": chance.choice([_nobody, _nobody, None]),
        "size": chance.choice([size, size, size, size + 1, 1 << 30]),
        "table": chance.choice([table, table, table, table[:1], None]),
        "points": chance.choice([points, points, points, points[:1], None]),
        "seeds": chance.choice([array("Q", [chance.getrandbits(64) for _ in range(count)])] * 3 + [array("Q", [1]), None]),
        "weights": chance.choice([None, array("d", [1.0] * count), array("d", [chance.choice([0.5, 1e300, float("nan"), 0.0])] * count)]),
    }


def _refused(call: Callable[..., object], *arguments: tuple[object, ...]) -> None:
    for bad in arguments:
        try:
            call(*bad)
        except (TypeError, OverflowError):
            continue
        raise AssertionError(bad)


def _functions(module: ModuleType, chance: random.Random) -> None:
    for length in range(200):
        module.xxh64(chance.randbytes(length), chance.getrandbits(64))
    _refused(module.xxh64, (), (b"a", -1), (b"a", 1 << 64), ("a",), (b"a", "b"), (b"a", 1, 2))
    for length in (0, 1, 2, 3, 8_191, 8_192, 8_193, 20_000):
        data = chance.randbytes(length)
        numbers = {int.from_bytes(data[at : at + 2], sys.byteorder) for at in range(0, length - 1, 2)}
        # from an odd address, too
        for view in (data, memoryview(b"x" + data)[1:]):
            for number in (*chance.sample(sorted(numbers), min(len(numbers), 5)), 0, 1, 65_535, 65_536, -1):
                assert module.holds16(view, number) is (number in numbers)
    _refused(module.holds16, (), (b"a",), ("a", 1), (b"a", 1 << 40), (b"a", "b"))


def work(module: ModuleType, seed: int, rounds: int = 300) -> int:
    """How many look-ups were made of hostile arguments. Only refusals that are documented may come out."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable fuzz
    made = 0
    for _ in range(rounds):
        try:
            lookup = module.Lookup(**_arguments(chance))
        except (ValueError, TypeError):
            continue
        made += 1
        keys = _keys(chance)
        for key in keys:
            for ask in (lookup.route, lookup.slot, lambda k, lookup=lookup: lookup.route_many([k] * 70), lookup.route_many):
                try:
                    ask(key)
                except (TypeError, UnicodeEncodeError, KeyError):
                    continue
    _functions(module, chance)
    gc.collect()
    return made


if __name__ == "__main__":
    sys.stdout.write(f"{work(load(Path(sys.argv[1])), int(sys.argv[2]))}\n")
