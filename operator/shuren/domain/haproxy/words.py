"""Words of HAProxy's configuration language, so quoted that what a user wrote stays one word and means only itself."""

from __future__ import annotations

import re

from shuren.domain.errors import Invalid

_SAFE = re.compile(r"[A-Za-z0-9_./:@%,=+*?-]+")
_SPECIAL = re.compile(r"([\\\s\"'#$<>{}()\[\]|&;`!~^])")


def quoted(word: str) -> str:
    """One word, whatever is in it (configuration.txt §2.2). Invalid for control characters, which no quoting holds."""
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in word):  # noqa: PLR2004 - the control characters of ASCII
        raise Invalid("a word of the configuration has a control character")
    if word and _SAFE.fullmatch(word):
        return word
    return '"' + re.sub(r'([\\"$])', r"\\\1", word) + '"' if word else '""'


def literal(text: str) -> str:
    """A text where HAProxy expects a log-format string: `%` begins an expression there, and is doubled."""
    return quoted(text.replace("%", "%%"))
