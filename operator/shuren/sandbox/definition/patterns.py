"""Regular expressions as Java, and so Marathon, reads them: put into Python's words, or refused as Java would."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

_POSIX = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7F",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1F\x7F",
    "XDigit": "0-9a-fA-F",
    "Space": r" \t\n\x0B\f\r",
}
_ESCAPES = {r"\z": r"\Z", r"\Z": r"(?=\n?\Z)", r"\h": r"[ \t\xA0]", r"\e": r"\x1B"}
_TOKEN = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|\Z)"
    r"|\\(?P<negated>[pP])\{(?P<class>\w+)\}"
    r"|\\k<(?P<back>[a-zA-Z][a-zA-Z0-9]*)>"
    r"|\(\?<(?P<group>[a-zA-Z][a-zA-Z0-9]*)>"
    r"|(?P<python>\(\?[P#(])"
    r"|(?P<repeat>\{(?!\d+(?:,\d*)?\}))"
    r"|\\.|.",
    re.DOTALL,
)


@lru_cache(maxsize=1024)
def java_pattern(pattern: str) -> re.Pattern[str]:
    """The compiled expression. Raises `re.error` for what Java refuses (and for its rarest parts, which have no like in Python)."""
    parts = []
    inside = False  # a character class
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if token["quoted"] is not None:
            text = re.escape(token["quoted"])
        elif token["class"] is not None:
            text = _class(token["class"], negated=token["negated"] == "P", inside=inside)
        elif not inside and token["back"] is not None:
            text = f"(?P={token['back']})"
        elif not inside and token["group"] is not None:
            text = f"(?P<{token['group']}>"
        elif not inside and (token["python"] is not None or token["repeat"] is not None):
            raise re.error(f"{text} is not known to Java", pattern, token.start())
        elif not inside:
            text = _ESCAPES.get(text, text)
        if text in ("[", "]"):
            inside = text == "["
        parts.append(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of what sets may come to mean in Python
        return re.compile("".join(parts), re.ASCII)


def _class(name: str, *, negated: bool, inside: bool) -> str:
    members = _POSIX.get(name)
    if members is None or (negated and inside):
        raise re.error(f"\\p{{{name}}} is not known here")
    return members if inside else f"[{'^' if negated else ''}{members}]"


def compiles(pattern: str) -> bool:
    """Whether the text is a regular expression."""
    try:
        java_pattern(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
