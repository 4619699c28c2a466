"""Trees for people: a line for each node, drawn with the signs that `tree` uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Node:
    """One line, its style in rich's words, and what stands below it."""

    text: str
    style: str = ""
    below: list[Node] = field(default_factory=list)


def drawn(node: Node, *, head: str = "", tail: str = "") -> Iterator[tuple[str, str]]:
    """The lines of a tree with their styles."""
    yield f"{head}{node.text}", node.style
    for position, child in enumerate(node.below):
        last = position == len(node.below) - 1
        yield from drawn(child, head=f"{tail}{'└─ ' if last else '├─ '}", tail=f"{tail}{'   ' if last else '│  '}")
