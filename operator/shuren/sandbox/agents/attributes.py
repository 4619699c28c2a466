"""Attributes of agents as Mesos reads them from text: a number is a scalar, `[1-3,5-6]` are ranges, all else is text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any

Json = dict[str, Any]
Value = float | str | tuple[tuple[int, int], ...]
_SCALAR = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_RANGE = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*", re.ASCII)
_PLAIN_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_THOUSANDTH = Decimal("0.001")


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute: its text as it was given, and what that means."""

    text: str
    value: Value

    @classmethod
    @lru_cache(maxsize=4096)
    def parse(cls, text: str) -> Attribute:
        """Reads the text of an attribute. What are no proper ranges counts as text. ValueError for a set, at which a real agent ends."""
        stripped = text.strip()
        if _SCALAR.fullmatch(stripped):
            return cls(text=text, value=float(stripped))
        if stripped.startswith("[") and stripped.endswith("]"):
            found = [_RANGE.fullmatch(part) for part in stripped[1:-1].split(",")]
            if all(found):
                return cls(text=text, value=tuple(sorted((int(m[1]), int(m[2])) for m in found if m is not None)))
        if stripped.startswith("{") and stripped.endswith("}"):
            raise ValueError(f"{text!r} is a set, which an attribute of Mesos cannot be")
        return cls(text=text, value=text)

    def shown(self) -> str:
        """The value as Marathon's constraints compare it: numbers to the third digit, parts in order."""
        match self.value:
            case float():
                return number(self.value)
            case tuple():
                return f"[{','.join(f'{low}-{high}' for low, high in self.value)}]"
            case _:
                return self.value

    def old(self) -> float | str:
        """As in Mesos' `/state` and `/slaves`."""
        return self.value if isinstance(self.value, float) else self.text

    def typed(self, name: str) -> Json:
        """As in Mesos' v1 API."""
        match self.value:
            case float():
                return {"name": name, "type": "SCALAR", "scalar": {"value": self.value}}
            case tuple():
                return {"name": name, "type": "RANGES", "ranges": {"range": [{"begin": low, "end": high} for low, high in self.value]}}
            case _:
                return {"name": name, "type": "TEXT", "text": {"value": self.value}}

    def offered(self, name: str) -> Json:
        """As in the offers of Marathon's queue."""
        match self.value:
            case float():
                return {"name": name, "scalar": self.value}
            case tuple():
                return {"name": name, "ranges": [{"begin": low, "end": high} for low, high in self.value]}
            case _:
                return {"name": name, "text": self.value}


def number(value: float) -> str:
    """A number as Marathon prints it in constraints: at most three digits after the point, halves to the even one (Java's `0.###`)."""
    rounded = Decimal(repr(value)).quantize(_THOUSANDTH, rounding=ROUND_HALF_EVEN)
    text = f"{rounded:f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def wanted(value: str) -> str:
    """The value of an `IS` constraint in the form in which attributes are shown."""
    return number(float(value)) if _PLAIN_NUMBER.fullmatch(value) else value
