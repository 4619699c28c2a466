"""From a spec and the values that it refers to, to the complete Marathon definition.

Values of Secrets and ConfigMaps become environment variables; files travel as variables too and are written by the shell before `cmd`
starts. What is secret is remembered as JSON pointers, so that no difference, plan or status ever shows it.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from shuren.domain.app.revisions import keyed_digest
from shuren.domain.app.snapshot import Problem
from shuren.domain.errors import Invalid
from shuren.domain.json import Document
from shuren.domain.marathon.patches import patched

FILE_VARIABLE = "SHUREN_FILE_"


class SourceKind(Enum):
    """Where a value comes from."""

    SECRET = "Secret"  # noqa: S105 - the name of a kind
    CONFIG_MAP = "ConfigMap"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One key of a Secret or ConfigMap in the resource's namespace."""

    kind: SourceKind
    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """`envRefs[]`: a variable whose value comes from a source."""

    name: str
    source: Source


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """`filesFrom[]`: a file below the sandbox whose content comes from a source. `mode` is octal text."""

    path: str
    mode: str
    source: Source


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parts of a spec that make the definition. `definition` is the Marathon part as it was pasted."""

    app_id: str
    definition: Document
    variables: tuple[Variable, ...] = ()
    files: tuple[File, ...] = ()
    patches: tuple[Mapping[str, Any], ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everything that must be read before it can be rendered."""
        return tuple(v.source for v in self.variables) + tuple(f.source for f in self.files)


Values = Mapping[Source, bytes | None]
"""What each source holds; None when the object or the key is missing."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The definition (it holds secret values: never shown), where these are, which they are, and keyed digests of what was referred to."""

    definition: dict[str, Any] = field(repr=False)
    secret_paths: tuple[str, ...]
    digests: Mapping[str, str]
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


def missing(recipe: Recipe, values: Values) -> Problem | None:
    """Which reference cannot be resolved yet; None when all that are needed can."""
    absent = sorted(
        {f"{s.kind.value} {s.name}, key {s.key}" for s in recipe.sources if values.get(s) is None and not s.optional},
    )
    if not absent:
        return None
    kind = "SecretMissing" if absent[-1].startswith(SourceKind.SECRET.value) else "ConfigMapMissing"
    return Problem(reason=kind, message=f"waiting for {'; '.join(absent)} in the namespace of this resource")


def render(recipe: Recipe, values: Values, *, digest_key: str) -> Rendered:
    """The complete definition. Call it only when nothing is `missing`.

    Raises Invalid with the field path for a variable that is not text, files without a `cmd`, and patches that do not apply.
    """
    definition: dict[str, Any] = {**recipe.definition, "id": recipe.app_id}
    environment: dict[str, Any] = dict(recipe.definition.get("env") or {})  # type: ignore[arg-type]  # a mapping, by the schema
    secret: list[str] = []
    for variable in recipe.variables:
        value = values.get(variable.source)
        if value is not None:
            environment[variable.name] = _text(value, variable)
            secret.append(f"/env/{_escape(variable.name)}")
    present = [(f, content) for f in recipe.files if (content := values.get(f.source)) is not None]
    for index, (_, content) in enumerate(present):
        environment[f"{FILE_VARIABLE}{index}"] = base64.b64encode(content).decode()
        secret.append(f"/env/{FILE_VARIABLE}{index}")
    if present:
        definition["cmd"] = _with_files(definition.get("cmd"), [f for f, _ in present])
    if environment or "env" in definition:
        definition["env"] = environment
    digests = {
        f"{s.kind.value}/{s.name}/{s.key}": keyed_digest(value, key=digest_key)
        for s in recipe.sources
        if (value := values.get(s)) is not None
    }
    return Rendered(
        definition=patched(definition, recipe.patches),
        secret_paths=tuple(secret),
        digests=digests,
        secrets=_secrets(recipe.sources, values),
    )


def _secrets(sources: Sequence[Source], values: Values) -> frozenset[str]:
    """The values of Secrets as they may be quoted: as text, or else as the base64 that a file travels in."""
    found: set[str] = set()
    for source in sources:
        value = values.get(source)
        if value and source.kind is SourceKind.SECRET:
            try:
                found.add(value.decode())
            except UnicodeDecodeError:
                found.add(base64.b64encode(value).decode())
    return frozenset(found)


def _text(value: bytes, variable: Variable) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        source = variable.source
        raise Invalid(
            f"spec.envRefs[{variable.name}]: {source.kind.value} {source.name}, key {source.key} is not text; use spec.filesFrom for it"
        ) from error
    if "\0" in text:
        raise Invalid(f"spec.envRefs[{variable.name}]: the value holds a zero byte, which no environment can; use spec.filesFrom for it")
    return text


def _with_files(command: object, files: Sequence[File]) -> str:
    """`cmd` after the lines that write the files. The variables are unset, so that children do not inherit the contents."""
    if not isinstance(command, str) or not command:
        raise Invalid("spec.filesFrom needs spec.cmd: the shell writes the files before the command starts")
    lines = ["umask 077"]  # joined by &&: `set -e` would be ignored on the left of ||
    for index, file in enumerate(files):
        path = shlex.quote(file.path)
        if "/" in file.path:
            lines.append(f"mkdir -p -- {shlex.quote(file.path.rpartition('/')[0])}")
        lines.append(f'rm -f -- {path} && printf %s "${FILE_VARIABLE}{index}" | base64 -d > {path} && chmod {_mode(file.mode)} -- {path}')
    names = " ".join(f"{FILE_VARIABLE}{index}" for index in range(len(files)))
    return "\n".join([f"({' && '.join(lines)}) || exit 1; unset {names}", command])


def _mode(text: str) -> str:
    return text if re.fullmatch(r"0?[0-7]{3}", text) else "0400"


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
