"""Label selectors of `GET /v2/apps?label=...`: `a`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, joined by commas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from .errors import refused

Selector = Callable[[Mapping[str, str]], bool]
_TERM = re.compile(r"\s*((?:\\.|[-A-Za-z0-9_.])+)")
_EQUALITY = re.compile(r"\s*(==|!=)")
_SET = re.compile(r"\s*(in|notin)")


def _term(text: str, at: int) -> tuple[str, int] | None:
    found = _TERM.match(text, at)
    return None if found is None else (re.sub(r"\\(.)", r"\1", found[1]), found.end())


def _literal(text: str, at: int, literal: str) -> int | None:
    found = re.compile(r"\s*" + re.escape(literal)).match(text, at)
    return None if found is None else found.end()


def _members(text: str, at: int) -> tuple[list[str], int] | None:
    start = _literal(text, at, "(")
    if start is None:
        return None
    members: list[str] = []
    position = start
    while (term := _term(text, position)) is not None:
        members.append(term[0])
        position = term[1]
        comma = _literal(text, position, ",")
        if comma is None:
            break
        position = comma
    end = _literal(text, position, ")")
    return None if end is None else (members, end)


def _keyed(key: str, accept: Callable[[str], bool]) -> Selector:
    # also `!=` and `notin` want the label to be there
    return lambda labels: key in labels and accept(labels[key])


def _selector(text: str, at: int) -> tuple[Selector, int] | None:
    term = _term(text, at)
    if term is None:
        return None
    key, position = term
    operator = _SET.match(text, position)
    if operator is not None:
        members = _members(text, operator.end())
        if members is not None:
            chosen, wanted = members[0], operator[1] == "in"
            return _keyed(key, lambda value: (value in chosen) == wanted), members[1]
    operator = _EQUALITY.match(text, position)
    if operator is not None:
        value = _term(text, operator.end())
        if value is not None:
            other, equal = value[0], operator[1] == "=="
            return _keyed(key, lambda given: (given == other) == equal), value[1]
    return _keyed(key, lambda _: True), position


def parse(text: str) -> Selector:
    """The selector; an empty text matches all. Raises a 422 in Marathon's words when it cannot be read to the end."""
    selectors: list[Selector] = []
    position = 0
    while (found := _selector(text, position)) is not None:
        selectors.append(found[0])
        position = found[1]
        comma = _literal(text, position, ",")
        if comma is None or _selector(text, comma) is None:
            break
        position = comma
    if text[position:].strip():
        raise refused(422, f"Can not parse label selector {text}. Reason: end of input expected")
    return lambda labels: all(selector(labels) for selector in selectors)
