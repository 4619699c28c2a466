"""Fields of JSON objects that came from outside: each of its type and within bounds, or Malformed with its name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from shuren.sharding.core.errors import Malformed

_SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_ITEMS = 64


def parsed(data: bytes, where: str, *, most: int) -> Fields:
    """The JSON object in `data`, of at most so many bytes."""
    if len(data) > most:
        raise Malformed(f"{where}: {len(data)} bytes, more than {most}")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{where}: not JSON: {error}") from error
    return Fields(document, where)


class Fields:
    """One object. Fields that nobody asks for are passed over."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, Mapping):
            raise Malformed(f"{where}: not an object")
        self._document = document
        self._where = where

    def wrong(self, name: str, wanted: str) -> Malformed:
        """The error to raise for a field."""
        return Malformed(f"{self._where}: {name} is not {wanted}")

    def number(self, name: str, most: int) -> int:
        """A whole number of 0 to `most`."""
        value = self._document.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self.wrong(name, f"a number of 0 to {most}")
        return value

    def count(self, name: str, most: int) -> int:
        """The same, 0 when it is not there."""
        return self.number(name, most) if name in self._document else 0

    def seconds(self, name: str) -> float:
        """A time or duration, 0 when it is not there."""
        value = self._document.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:  # noqa: PLR2004  also no nan
            raise self.wrong(name, "a number of seconds")
        return float(value)

    def text(self, name: str) -> str:
        """Text."""
        value = self._document.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "text")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.wrong(name, "text") from error
        return value

    def text_or_none(self, name: str) -> str | None:
        """Text, or None when it is not there."""
        return None if self._document.get(name) is None else self.text(name)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._document.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def sha256(self, name: str) -> str:
        """A SHA-256 in hexadecimal."""
        value = self.text(name)
        if _SHA256.fullmatch(value) is None:
            raise self.wrong(name, "a SHA-256 in hexadecimal")
        return value

    def array(self, name: str) -> list[object]:
        """A list of at most MAX_ITEMS."""
        value = self._document.get(name)
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise self.wrong(name, f"a list of at most {MAX_ITEMS}")
        return value

    def counts(self, name: str) -> dict[str, int]:
        """An object of whole numbers, empty when it is not there."""
        value = self._document.get(name, {})
        if not isinstance(value, Mapping) or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in value.values()):
            raise self.wrong(name, "an object of numbers")
        return dict(value)

    def inner(self, name: str) -> Fields:
        """An object within."""
        return Fields(self._document.get(name), f"{self._where}: {name}")

    def optional(self, name: str) -> Fields | None:
        """The same, None when it is not there."""
        return None if self._document.get(name) is None else self.inner(name)
