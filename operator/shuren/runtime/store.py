"""What the watches have brought: the last known object of each key, slimmed, with indexes and a watermark of our own writes.

One process-wide store, written by event sources and list-and-diff, read by controllers. It knows Kubernetes metadata and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from shuren.domain.identity import ObjectKey

Object = dict[str, Any]
IndexFunction = Callable[[Object], Iterable[str]]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


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


class Store:
    """See the module. Indexes are declared before objects arrive."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[ObjectKey, Object]] = {}
        self._functions: dict[tuple[str, str], IndexFunction] = {}
        self._indexes: dict[tuple[str, str], dict[str, set[ObjectKey]]] = {}
        self._written: dict[ObjectKey, tuple[str, int]] = {}

    # ------------------------------------------------------------------------------------------------ indexes

    def index(self, kind: str, name: str, function: IndexFunction) -> None:
        """Keep, for objects of `kind`, which keys have each string that `function` yields."""
        self._functions[(kind, name)] = function
        table = self._indexes[(kind, name)] = {}
        for key, item in self._objects.get(kind, {}).items():
            for value in function(item):
                table.setdefault(value, set()).add(key)

    def lookup(self, kind: str, name: str, value: str) -> frozenset[ObjectKey]:
        """Keys whose index `name` holds `value`."""
        return frozenset(self._indexes[(kind, name)].get(value, ()))

    def _unindex(self, key: ObjectKey, item: Object) -> None:
        for (kind, name), function in self._functions.items():
            if kind != key.kind:
                continue
            table = self._indexes[(kind, name)]
            for value in function(item):
                keys = table.get(value)
                if keys is not None:
                    keys.discard(key)
                    if not keys:
                        del table[value]

    def _index(self, key: ObjectKey, item: Object) -> None:
        for (kind, name), function in self._functions.items():
            if kind == key.kind:
                table = self._indexes[(kind, name)]
                for value in function(item):
                    table.setdefault(value, set()).add(key)

    # ------------------------------------------------------------------------------------------------ objects

    def put(self, key: ObjectKey, item: Object) -> bool:
        """Take in what a watch or list says. False when it is older than, or the same as, what is known (replays and races)."""
        table = self._objects.setdefault(key.kind, {})
        known = table.get(key)
        if known is not None and known["metadata"].get("uid") == item["metadata"].get("uid"):
            old, new = version_of(known), version_of(item)
            if new and old and new <= old:
                return False
        if known is not None:
            self._unindex(key, known)
        table[key] = slim(item)
        self._index(key, item)
        return True

    def remove(self, key: ObjectKey) -> Object | None:
        """Forget an object that was deleted; returns its last state."""
        self._written.pop(key, None)
        known = self._objects.get(key.kind, {}).pop(key, None)
        if known is not None:
            self._unindex(key, known)
        return known

    def get(self, key: ObjectKey) -> Object | None:
        """The last known state; None when it does not exist as far as known. Not to be changed by the caller."""
        return self._objects.get(key.kind, {}).get(key)

    def keys(self, kind: str) -> tuple[ObjectKey, ...]:
        """All known keys of a kind."""
        return tuple(self._objects.get(kind, ()))

    def items(self, kind: str) -> Iterator[tuple[ObjectKey, Object]]:
        """All known objects of a kind."""
        return iter(tuple(self._objects.get(kind, {}).items()))

    def count(self, kind: str) -> int:
        """How many objects of a kind are known."""
        return len(self._objects.get(kind, ()))

    # ------------------------------------------------------------------------------------------------ read your writes

    def wrote(self, key: ObjectKey, answer: Mapping[str, Any]) -> None:
        """Remember the resourceVersion that our own write returned; until the watch brings it, `behind` is True."""
        version = version_of(answer)
        if version:
            self._written[key] = (str(answer.get("metadata", {}).get("uid", "")), version)

    def answered(self, key: ObjectKey, answer: Object) -> None:
        """Take in what the API server answered to our own write of an object that the store has.

        An object that was deleted meanwhile stays deleted: the watch may be faster than the answer. The write that takes the last finalizer
        away is answered with the version from before it.
        """
        known = self.get(key)
        if known is None or known["metadata"].get("uid") != answer["metadata"].get("uid"):
            return
        if version_of(answer) >= version_of(known):
            self._unindex(key, known)
            self._objects[key.kind][key] = slim(answer)
            self._index(key, answer)
        self.wrote(key, answer)

    def latest(self, key: ObjectKey) -> tuple[str, str] | None:
        """Uid and resourceVersion of the newest state heard of, by a watch or in the answer to a write; None when there is none."""
        known = self.get(key)
        if known is None:
            return None
        uid, version = str(known["metadata"].get("uid", "")), version_of(known)
        mark = self._written.get(key)
        if mark is not None and mark[0] == uid and mark[1] > version:
            version = mark[1]
        return (uid, str(version)) if version else None

    def behind(self, key: ObjectKey) -> bool:
        """Whether the store still shows a state from before our own last write to this object."""
        mark = self._written.get(key)
        if mark is None:
            return False
        known = self.get(key)
        if known is None or known["metadata"].get("uid") != mark[0] or version_of(known) >= mark[1]:
            del self._written[key]
            return False
        return True
