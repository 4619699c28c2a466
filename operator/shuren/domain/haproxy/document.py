"""HAProxy's configuration as a value: sections and files of lines, each line with the service that asked for it.

What HAProxy refuses it names by file and line; the owner of that line is the one to be left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shuren.domain.haproxy.converge import BackendPlan, server_words
from shuren.domain.haproxy.servers import Admin, assign_ids
from shuren.domain.service.values import ServiceName

CONFIG_FILE = "haproxy.cfg"
SPARE = "any:"
"""How names of backends begin that hold servers of another backend once more: `backends.spare_of`."""


class Line(NamedTuple):
    """One line; `owner` None: of the load balancer itself."""

    text: str
    owner: ServiceName | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """`frontend x`, `backend y`, … with its lines. Servers of a backend are not among them: they change without a reload."""

    header: str
    lines: tuple[Line, ...]
    owner: ServiceName | None = None


class MapEntry(NamedTuple):
    """One entry of a map file."""

    key: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """All of it but servers.

    `maps` (file name → entries) can be changed at run time; `sections`, `files` (certificate lists) and `options` (backend → words that
    each of its servers carries) by a reload only.
    """

    sections: tuple[Section, ...]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)
    maps: Mapping[str, tuple[MapEntry, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A document as files by name, with the owner of each line (counted from 1)."""

    files: Mapping[str, str]
    owners: Mapping[str, Sequence[ServiceName | None]]

    def owner(self, file: str, line: int) -> ServiceName | None:
        """Who asked for a line; None when nobody did or there is no such line."""
        owners = self.owners.get(file, ())
        return owners[line - 1] if 0 < line <= len(owners) else None

    def owners_of(self, word: str) -> frozenset[ServiceName | None]:
        """Who asked for a line that holds this word."""
        return frozenset(
            owner
            for name, owners in self.owners.items()
            for text, owner in zip(self.files[name].splitlines(), owners, strict=True)
            if word in text.split()
        )


def write(document: Document, plans: Mapping[str, BackendPlan], ids: Mapping[str, Mapping[str, int]] | None = None) -> Written:
    """The files, with the servers of each backend in their places. `ids` are the ids that servers have in HAProxy now, by backend."""
    lines: list[Line] = []
    for section in document.sections:
        lines.append(Line(section.header, section.owner))
        lines += [Line(f"  {line.text}", line.owner) for line in section.lines]
        plan = plans.get(section.header.removeprefix("backend ")) if section.header.startswith("backend ") else None
        if plan is not None:
            lines += [Line(f"  {text}", section.owner) for text in server_lines(plan, (ids or {}).get(plan.name, {}))]
        lines.append(Line(""))
    texts = {CONFIG_FILE: lines, **{name: list(content) for name, content in document.files.items()}}
    files = {name: "".join(f"{line.text}\n" for line in content) for name, content in texts.items()}
    files |= {name: "".join(f"{entry.key} {entry.value}\n" for entry in entries) for name, entries in document.maps.items()}
    return Written(files=files, owners={name: [line.owner for line in content] for name, content in texts.items()})


def server_lines(plan: BackendPlan, ids: Mapping[str, int]) -> list[str]:
    """`server …` lines as HAProxy shall start with them.

    The configuration knows no word for drain: weight 0 lets what is there finish as well, and the runtime API puts drain right.
    """
    every = {**ids, **assign_ids((s.name for s in plan.servers), ids)}
    lines = []
    for server in plan.servers:
        weight = 0 if server.admin is Admin.DRAIN else server.weight
        words = ["server", server.name, *server_words(server, every[server.name], weight), *plan.options]
        lines.append(" ".join(words + (["disabled"] if server.admin is Admin.MAINT else [])))
    return lines


_PLACE = re.compile(r"\[([^\[\]]*?):(\d+)\]")
_CERTIFICATE = re.compile(r"'([^']+\.pem)'")


def blamed(output: str, written: Written) -> frozenset[ServiceName]:
    """Services that HAProxy complains of (ALERT lines of `haproxy -c`): by file and line, or by the certificate that it names."""
    found: set[ServiceName | None] = set()
    for line in output.splitlines():
        if "[ALERT]" not in line:
            continue
        found |= {written.owner(place[1].rsplit("/", 1)[-1], int(place[2])) for place in _PLACE.finditer(line)}
        for named in _CERTIFICATE.finditer(line):
            found |= written.owners_of(named[1])
    return frozenset(owner for owner in found if owner is not None)


def fingerprint(document: Document) -> str:
    """Of everything that only a reload changes: an agent that comes back knows by it whether HAProxy runs what it would write itself."""
    digest = hashlib.sha256()
    parts = [section.header + "\n" + "\n".join(_texts(section.lines)) for section in document.sections]
    parts += [name + "\n" + "\n".join(_texts(lines)) for name, lines in sorted(document.files.items())]
    parts += [name + "\n" + " ".join(words) for name, words in sorted(document.options.items())]
    parts += sorted(document.maps)
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What it takes to get from one document to the next. No `reasons`: no reload. `maps` can be put in place at run time."""

    reasons: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()

    @property
    def reload(self) -> bool:
        """Whether HAProxy must read its configuration anew."""
        return bool(self.reasons)


def compare(old: Document | None, new: Document) -> Change:
    """Why a reload is needed, in words for people; or that it is not."""
    if old is None:
        return Change(reasons=("first configuration",))
    before, after = ({s.header: s for s in d.sections} for d in (old, new))
    reasons = [f"new {header}" for header in after if header not in before]
    reasons += [f"{header} is gone" for header in before if header not in after]
    reasons += [f"{header} changed" for header in after if header in before and _texts(after[header].lines) != _texts(before[header].lines)]
    reasons += [f"servers of {name} get other options" for name, words in new.options.items() if old.options.get(name, words) != words]
    reasons += [f"certificates of {name} changed" for name in sorted(new.files.keys() | old.files.keys()) if _differs(name, old, new)]
    reasons += [f"new {name}" for name in new.maps if name not in old.maps]
    # what befalls a backend befalls its spare as well: said once, unless the spare alone is another
    reasons = [reason for reason in reasons if f" {SPARE}" not in reason] or reasons
    return Change(reasons=tuple(reasons), maps=tuple(n for n, entries in new.maps.items() if n in old.maps and entries != old.maps[n]))


def _differs(name: str, old: Document, new: Document) -> bool:
    return _texts(old.files.get(name, ())) != _texts(new.files.get(name, ()))


def _texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]
