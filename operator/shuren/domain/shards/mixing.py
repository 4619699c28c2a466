"""What stands for chance where everything must be repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

_MASK = (1 << 64) - 1
_TOO_FEW = 2


def scatter(number: int, salt: int = 0) -> int:
    """A fixed, well mixed 64-bit value of a number (SplitMix64's finaliser)."""
    mixed = (number * 0x9E3779B97F4A7C15 + (salt + 1) * 0xD1B54A32D192ED03) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def strided(items: Sequence[int]) -> list[int]:
    """All items once, in steps of about the golden section of their number: what stands together gets far apart."""
    count = len(items)
    if count <= _TOO_FEW:
        return list(items)
    step = coprime(int(count * 0.6180339887498949) + scatter(items[0]) % 7, count)
    return [items[at % count] for at in range(0, step * count, step)]


def coprime(number: int, to: int) -> int:
    """The first number from `number` on that has no divisor in common with `to`."""
    while gcd(number, to) != 1:
        number += 1
    return number
