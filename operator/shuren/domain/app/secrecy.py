"""Secret values are shown nowhere, whoever quotes them: Marathon in a refusal, Mesos about a failed task, a patch that copied one.

What is hidden is known by its place in the definition (`difference` hides by path) and, here, by itself.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from shuren.domain.json import JsonValue
from shuren.domain.marathon.diff import REDACTED, Difference

_SHORT = 4
"""Characters below which a value is hidden only where it stands alone: else every word with that letter would be hidden."""
_LINE = 12
"""Characters of a line that is worth hiding by itself."""


@dataclass(frozen=True)
class Veil:
    """Hides `values`, also as JSON, in base64, line by line, and cut off at the end of a text."""

    values: frozenset[str] = field(default=frozenset(), repr=False)

    @cached_property
    def _forms(self) -> tuple[str, ...]:
        """All forms of all values, the longest first."""
        found: set[str] = set()
        for value in self.values:
            plain = {value, *(line.strip() for line in value.splitlines() if len(line.strip()) >= _LINE)}
            found |= plain | {json.dumps(text, ensure_ascii=ascii_)[1:-1] for text in plain for ascii_ in (True, False)}
            if len(value) >= _SHORT:
                found.add(base64.b64encode(value.encode()).decode())
        return tuple(sorted(found - {""}, key=lambda form: (-len(form), form)))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(re.escape(form) if len(form) >= _SHORT else rf"(?<!\w){re.escape(form)}(?!\w)" for form in self._forms))

    def over(self, text: str) -> str:
        """The text without the values."""
        if not self._forms or not text:
            return text
        hidden = self._pattern.sub(REDACTED, text)
        cut = max((_overlap(hidden, form) for form in self._forms), default=0)
        return hidden[: len(hidden) - cut] + REDACTED if cut else hidden

    def over_changes(self, gap: Difference) -> Difference:
        """The difference with what holds a secret value shown as such."""
        if not self._forms:
            return gap
        return Difference(
            changes=tuple(replace(c, before=self._over_value(c.before), after=self._over_value(c.after)) for c in gap.changes),
        )

    def _over_value(self, value: JsonValue) -> JsonValue:
        return REDACTED if any(self.over(text) != text for text in _texts(value)) else value


def _overlap(text: str, form: str) -> int:
    """Characters at the end of `text` that are the beginning of `form`; 0 when they are few enough to be chance."""
    longest = min(len(text), len(form) - 1)
    return next((size for size in range(longest, _SHORT - 1, -1) if text.endswith(form[:size])), 0)


def _texts(value: JsonValue) -> Iterable[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for key, item in value.items():
                yield key
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
        case None | bool():
            return
        case _:
            yield str(value)


def values_in_environment(definition: Mapping[str, JsonValue], *, only: Iterable[str] | None = None) -> frozenset[str]:
    """The values of environment variables that Marathon holds: of those at the pointers in `only`, or of all."""
    environment = definition.get("env")
    if not isinstance(environment, Mapping):
        return frozenset()
    wanted = None if only is None else {pointer.removeprefix("/env/").replace("~1", "/").replace("~0", "~") for pointer in only}
    return frozenset(v for name, v in environment.items() if isinstance(v, str) and v and (wanted is None or name in wanted))
