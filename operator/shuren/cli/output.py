"""How commands print: tables for people (colour on a terminal only), JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

_PIPED_WIDTH = 400
"""Columns of a table that goes into a pipe or file: nothing is to be cut there."""


class Format(StrEnum):
    """`-o`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def structured(document: Any, form: Format) -> bool:
    """Print for programs, if that is asked for. False when it is not."""
    match form:
        case Format.JSON:
            print(json.dumps(document, indent=2, ensure_ascii=False, default=str))
        case Format.YAML:
            import yaml  # noqa: PLC0415 - only who asks for it waits for it

            plain = json.loads(json.dumps(document, default=str))
            print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=140), end="")
        case _:
            return False
    return True


def console() -> Any:
    """Rich's console on standard output. Without a terminal it writes plain text and cuts nothing; NO_COLOR is followed."""
    from rich.console import Console  # noqa: PLC0415

    plain = not sys.stdout.isatty()
    return Console(width=_PIPED_WIDTH if plain else None, highlight=False, soft_wrap=plain, emoji=False)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as kubectl prints them."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(*headers, box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for row in rows:
        drawn.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    console().print(drawn)


def counted(number: int, word: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def say(text: str, style: str = "") -> None:
    """One line; `style` is rich's."""
    from rich.text import Text  # noqa: PLC0415

    console().print(Text(text, style=style))


def _style(cell: str) -> str:
    match cell:
        case "True" | "ok":
            return "green"
        case "False" | "broken":
            return "red"
        case "Unknown" | "unknown":
            return "yellow"
        case _:
            return ""
