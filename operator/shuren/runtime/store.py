"""What the watches have brought: the last known object of each key, slimmed, with indexes and a watermark of our own writes.

One process-wide store, written by event sources and list-and-diff, read by controllers. It knows Kubernetes metadata and nothing else.

Objects are kept as JSON text and decoded whenever somebody asks: ten thousand of them take a quarter of the memory that way, for twenty
microseconds a time. Questions about many objects are answered by indexes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shuren.domain.identity import ObjectKey

Object = dict[str, Any]
IndexFunction = Callable[[Object], Iterable[str]]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


def slim(item: Object) -> Object:
    """The object without what nobody reads and that is often larger than the rest: managedFields and kubectl's last-applied copy."""
    metadata = item.get("metadata", {})
    metadata.pop("managedFields", None)
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        del annotations[_LAST_APPLIED]
    return item


def version_of(item: Mapping[str, Any]) -> int:
    """The resourceVersion as a number (API servers on etcd give decimal numbers that grow); 0 when it is none."""
    text = item.get("metadata", {}).get("resourceVersion", "")
    return int(text) if isinstance(text, str) and text.isdigit() else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Which object, and which state of it.

    `asked` is a digest of that part of the metadata by which somebody asks for something (generation, deletion, finalizers, labels,
    annotations): two states of an object that have it in common differ in no more than the status.
    """

    uid: str
    version: int
    generation: int = 0
    asked: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Identity:
        """The identity of an object."""
        metadata = item["metadata"]
        uid, generation = str(metadata.get("uid", "")), int(metadata.get("generation") or 0)
        lists = tuple(metadata.get("finalizers") or ())
        texts = (frozenset((metadata.get(name) or {}).items()) for name in ("labels", "annotations"))
        asked = hash((uid, generation, metadata.get("deletionTimestamp"), lists, *texts))
        return cls(uid=uid, version=version_of(item), generation=generation, asked=asked)


@dataclass(frozen=True, slots=True)
class _Held:
    """An object as it is kept."""

    identity: Identity
    text: str

    def decoded(self) -> Object:
        item: Object = _decode(self.text)[0]
        return item


@dataclass(kw_only=True, slots=True)
class _Index:
    """Keys by the strings that a function yields for their objects, and these strings by key: most changes of an object change none."""

    function: IndexFunction
    keys: dict[str, set[ObjectKey]] = field(default_factory=dict)
    values: dict[ObjectKey, tuple[str, ...]] = field(default_factory=dict)

    def put(self, key: ObjectKey, item: Object) -> None:
        after = tuple(self.function(item))
        before = self.values.get(key)
        if before == after:
            return
        if before is not None:
            self.remove(key)
        self.values[key] = after
        for value in after:
            self.keys.setdefault(value, set()).add(key)

    def remove(self, key: ObjectKey) -> None:
        for value in self.values.pop(key, ()):
            keys = self.keys.get(value)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self.keys[value]


class Store:
    """See the module. Indexes are declared before objects arrive."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[ObjectKey, _Held]] = {}
        self._indexes: dict[str, dict[str, _Index]] = {}
        self._left_out: dict[str, tuple[str, ...]] = {}
        self._written: dict[ObjectKey, Identity] = {}

    def leave_out(self, kind: str, *names: str) -> None:
        """Do not keep these top-level fields of objects of `kind`: nobody reads them here."""
        self._left_out[kind] = names

    # ------------------------------------------------------------------------------------------------ indexes

    def index(self, kind: str, name: str, function: IndexFunction) -> None:
        """Keep, for objects of `kind`, which keys have each string that `function` yields."""
        index = self._indexes.setdefault(kind, {})[name] = _Index(function=function)
        for key, held in self._objects.get(kind, {}).items():
            index.put(key, held.decoded())

    def lookup(self, kind: str, name: str, value: str) -> frozenset[ObjectKey]:
        """Keys whose index `name` holds `value`."""
        return frozenset(self._indexes[kind][name].keys.get(value, ()))

    def tally(self, kind: str, name: str) -> dict[str, int]:
        """How many keys there are for each value of the index `name`."""
        return {value: len(keys) for value, keys in self._indexes[kind][name].keys.items()}

    # ------------------------------------------------------------------------------------------------ objects

    def put(self, key: ObjectKey, item: Object) -> bool:
        """Take in what a watch or list says. False when it is older than, or the same as, what is known (replays and races)."""
        known = self.identity(key)
        if known is not None and known.uid == str(item["metadata"].get("uid", "")) and 0 < version_of(item) <= known.version:
            return False
        self._hold(key, item)
        return True

    def remove(self, key: ObjectKey) -> Object | None:
        """Forget an object that was deleted; returns its last state."""
        self._written.pop(key, None)
        known = self._objects.get(key.kind, {}).pop(key, None)
        for index in self._indexes.get(key.kind, {}).values():
            index.remove(key)
        return known.decoded() if known is not None else None

    def get(self, key: ObjectKey) -> Object | None:
        """The last known state, in a copy of the caller's own; None when it does not exist as far as known."""
        known = self._objects.get(key.kind, {}).get(key)
        return known.decoded() if known is not None else None

    def identity(self, key: ObjectKey) -> Identity | None:
        """Which object is known by this key, and in which state, without decoding it."""
        known = self._objects.get(key.kind, {}).get(key)
        return known.identity if known is not None else None

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._objects.get(key.kind, ())

    def keys(self, kind: str) -> tuple[ObjectKey, ...]:
        """All known keys of a kind."""
        return tuple(self._objects.get(kind, ()))

    def items(self, kind: str) -> Iterator[tuple[ObjectKey, Object]]:
        """All known objects of a kind. Each is decoded: for thousands of them an index is the better question."""
        return ((key, held.decoded()) for key, held in tuple(self._objects.get(kind, {}).items()))

    def count(self, kind: str) -> int:
        """How many objects of a kind are known."""
        return len(self._objects.get(kind, ()))

    # ------------------------------------------------------------------------------------------------ read your writes

    def wrote(self, key: ObjectKey, answer: Mapping[str, Any]) -> None:
        """Remember the resourceVersion that our own write returned; until the watch brings it, `behind` is True."""
        version = version_of(answer)
        if version:
            self._written[key] = Identity(uid=str(answer.get("metadata", {}).get("uid", "")), version=version)

    def answered(self, key: ObjectKey, answer: Object) -> None:
        """Take in what the API server answered to our own write of an object that the store has.

        An object that was deleted meanwhile stays deleted: the watch may be faster than the answer. The write that takes the last finalizer
        away is answered with the version from before it.
        """
        known, identity = self.identity(key), Identity.of(answer)
        if known is None or known.uid != identity.uid:
            return
        if identity.version >= known.version:
            self._hold(key, answer)
        self.wrote(key, answer)

    def _hold(self, key: ObjectKey, item: Object) -> None:
        for name in self._left_out.get(key.kind, ()):
            item.pop(name, None)
        self._objects.setdefault(key.kind, {})[key] = _Held(Identity.of(slim(item)), _encode(item))
        for index in self._indexes.get(key.kind, {}).values():
            index.put(key, item)

    def latest(self, key: ObjectKey) -> tuple[str, str] | None:
        """Uid and resourceVersion of the newest state heard of, by a watch or in the answer to a write; None when there is none."""
        known = self.identity(key)
        if known is None:
            return None
        mark = self._written.get(key)
        version = mark.version if mark is not None and mark.uid == known.uid and mark.version > known.version else known.version
        return (known.uid, str(version)) if version else None

    def behind(self, key: ObjectKey) -> bool:
        """Whether the store still shows a state from before our own last write to this object."""
        mark = self._written.get(key)
        if mark is None:
            return False
        known = self.identity(key)
        if known is None or known.uid != mark.uid or known.version >= mark.version:
            del self._written[key]
            return False
        return True
