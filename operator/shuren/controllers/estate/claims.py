"""Claims on app ids, mirrored from ZooKeeper and written there in groups.

256 small nodes hold all claims of a cluster. They are read in one pipelined sweep and watched; changes asked for by many passes at the same
time share a multi, in which every bucket is a compare-and-set and the fencing epoch is checked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shuren.domain import claims
from shuren.domain.claims import BUCKETS, ClaimChange
from shuren.domain.errors import Conflict, Denied, Fenced, Invalid, ShurenError, Unreachable
from shuren.domain.identity import Claim
from shuren.ports.clock import Clock
from shuren.ports.zookeeper import Create, FencedZooKeeper, Operation, SetData

log = logging.getLogger(__name__)

ROOT = "/owners"
_MOST_BYTES = 384 * 1024
"""Of one multi. ZooKeeper refuses packets above 1 MiB (jute.maxbuffer) by dropping the connection."""
_MOST_OPERATIONS = 500
_RETRY = 0.5
_RETRY_SLOWEST = 10.0


@dataclass(kw_only=True, slots=True)
class _Bucket:
    """A bucket as last read. `version` None: the node does not exist."""

    claims: dict[str, Claim] = field(default_factory=dict)
    version: int | None = None


@dataclass(kw_only=True, slots=True)
class _Asked:
    """A change that somebody waits for."""

    change: ClaimChange
    answer: asyncio.Future[None]


class Claims:
    """See the module. `changed` gets the app ids whose claim looks different from before; `state_changed` is called when claims can be
    read (again), or no longer. `taken` (None: `changed`) gets the ids that nobody held and that were claimed here: whoever claimed them has
    its answer and needs no other news.
    """

    def __init__(
        self,
        *,
        zookeeper: FencedZooKeeper,
        clock: Clock,
        changed: Callable[[frozenset[str]], None],
        state_changed: Callable[[], None] = lambda: None,
        taken: Callable[[frozenset[str]], None] | None = None,
    ) -> None:
        self._zookeeper = zookeeper
        self._clock = clock
        self._changed = changed
        self._taken = taken or changed
        self._state_changed = state_changed
        self._buckets = [_Bucket() for _ in range(BUCKETS)]
        self._of: dict[str, set[str]] = {}
        self._unread: set[int] = set(range(BUCKETS))
        """Buckets that must be read before they are trusted or written."""
        self._stale: set[int] = set(range(BUCKETS))
        self._asked: list[_Asked] = []
        self._wake = asyncio.Event()
        self._reading = asyncio.Lock()
        self._ready = False
        self.unreachable_since: float | None = clock.monotonic()
        """Monotonic seconds since when ZooKeeper could not be read; None while it can."""
        self.error = ""
        """Why the last read failed."""
        self.denied = False
        """Whether it failed because ZooKeeper refuses our credentials."""

    # ------------------------------------------------------------------------------------------------ the picture

    @property
    def synced(self) -> bool:
        """Whether every bucket has been read at least once."""
        return not self._unread

    def get(self, app_id: str) -> Claim | None:
        """Who holds the id, as last read. Only meaningful once `synced`."""
        return self._buckets[claims.bucket_of(app_id)].claims.get(app_id)

    def of(self, uid: str) -> tuple[Claim, ...]:
        """All claims of one resource, by app id: more than one while its id changes."""
        held = (self.get(app_id) for app_id in sorted(self._of.get(uid, ())))
        return tuple(claim for claim in held if claim is not None)

    @property
    def app_ids(self) -> frozenset[str]:
        """All claimed ids."""
        return frozenset(app_id for bucket in self._buckets for app_id in bucket.claims)

    @property
    def count(self) -> int:
        """How many ids are claimed."""
        return sum(len(bucket.claims) for bucket in self._buckets)

    # ------------------------------------------------------------------------------------------------ changing

    async def claim(self, claim: Claim, *, replaces: str = "") -> None:
        """Claim an id. `replaces` is the uid of a holder that no longer exists.

        NotOurs when another resource holds it. Conflict when somebody changed the bucket meanwhile, Unreachable, UnknownOutcome: look
        again, then ask again; asking twice is harmless.
        """
        await self._change(ClaimChange(claim=claim, take=True, replaces=replaces))

    async def release(self, claim: Claim) -> None:
        """Give an id up; nothing happens when another resource holds it."""
        await self._change(ClaimChange(claim=claim, take=False))

    async def _change(self, change: ClaimChange) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(change=change, answer=answer))
        self._wake.set()
        await answer

    # ------------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Keep the picture and write what is asked for, until cancelled; then nobody is left waiting."""
        unwatch = [self._zookeeper.watch(_path(number), self._waker(number), known=self._known(number)) for number in range(BUCKETS)]
        failures = 0
        try:
            while True:
                try:
                    await self.read()
                    await self._write_asked()
                    failures = 0
                except (Fenced, Conflict):
                    # answered to those who asked; the buckets in question are read again now
                    continue
                except ShurenError as error:
                    failures += 1
                    self._failed(error)
                    await self._clock.sleep(min(_RETRY * 2 ** (failures - 1), _RETRY_SLOWEST))
                if not self._asked and not self._stale:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            for stop in unwatch:
                stop()
            self._refuse(self._asked, Unreachable("the connection to this cluster is being closed"))
            self._asked = []

    def _waker(self, number: int) -> Callable[[], None]:
        def wake() -> None:
            self._stale.add(number)
            self._wake.set()

        return wake

    def _known(self, number: int) -> Callable[[], int | None]:
        """The version that is in the picture: what was written here is not read again."""
        return lambda: -1 if number in self._unread else self._buckets[number].version

    def _failed(self, error: ShurenError) -> None:
        if str(error) != self.error:
            log.warning("claims cannot be read: %s", error)
        self.error, self.denied = str(error), isinstance(error, Denied)
        if self.unreachable_since is None:
            self.unreachable_since = self._clock.monotonic()
            self._state_changed()
        # nobody is kept waiting for a server that is away: their queue tries again
        self._refuse(self._asked, Unreachable(f"claims cannot be read: {error}"))
        self._asked = []

    @staticmethod
    def _refuse(asked: Iterable[_Asked], error: ShurenError) -> None:
        for item in asked:
            if not item.answer.done():
                item.answer.set_exception(error)

    # ------------------------------------------------------------------------------------------------ reading

    async def read(self) -> None:
        """Read what may have changed; at first, everything."""
        if not self._stale:
            return
        numbers = sorted(self._stale)
        self._stale = set()
        try:
            nodes = await self._zookeeper.get_many([_path(number) for number in numbers])
        except BaseException:
            self._stale |= set(numbers)
            raise
        changed: set[str] = set()
        spoilt: ShurenError | None = None
        for number, node in zip(numbers, nodes, strict=True):
            bucket = self._buckets[number]
            version = None if node is None else node.version
            if number not in self._unread and bucket.version == version:
                continue
            try:
                held = {} if node is None else claims.decode(node.data)
            except Invalid as error:
                # its claims are not forgotten: what cannot be read is not taken for empty
                self._unread.add(number)
                self._stale.add(number)
                spoilt = Unreachable(f"{_path(number)}: {error}")
                continue
            changed |= self._replace(number, held, version)
        if changed:
            self._changed(frozenset(changed))
        if spoilt is not None:
            raise spoilt
        self.error, self.denied = "", False
        if self.unreachable_since is not None:
            self.unreachable_since = None
            self._state_changed()

    def _replace(self, number: int, held: dict[str, Claim], version: int | None) -> set[str]:
        """Take a bucket's new contents in; returns the ids that look different."""
        bucket = self._buckets[number]
        changed = {app_id for app_id in bucket.claims.keys() | held.keys() if bucket.claims.get(app_id) != held.get(app_id)}
        for app_id in changed:
            before, after = bucket.claims.get(app_id), held.get(app_id)
            if before is not None:
                ids = self._of.get(before.uid, set())
                ids.discard(app_id)
                if not ids:
                    self._of.pop(before.uid, None)
            if after is not None:
                self._of.setdefault(after.uid, set()).add(app_id)
        bucket.claims, bucket.version = held, version
        self._unread.discard(number)
        return changed

    # ------------------------------------------------------------------------------------------------ writing

    async def _write_asked(self) -> None:
        asked, self._asked = self._asked, []
        if not asked:
            return
        if not self._ready:
            try:
                await self._zookeeper.ensure_path(ROOT)
            except ShurenError as error:
                self._refuse(asked, error)
                raise
            except BaseException:
                self._asked = asked + self._asked
                raise
            self._ready = True
        groups = self._grouped(asked)
        for position, group in enumerate(groups):
            try:
                await self._write(group)
            except BaseException:
                self._asked = [item for later in groups[position + 1 :] for step in later.steps for item in step.takers] + self._asked
                raise

    def _grouped(self, asked: list[_Asked]) -> list[_Group]:
        """Buckets with what is to become of them, in multis that are neither too many operations nor too many bytes."""
        by_bucket: dict[int, list[_Asked]] = {}
        for item in asked:
            if item.answer.done():
                continue  # whoever asked was cancelled
            by_bucket.setdefault(claims.bucket_of(item.change.claim.app_id), []).append(item)
        groups: list[_Group] = []
        for number, items in by_bucket.items():
            if number in self._unread or number in self._stale:
                self._asked += items  # it has just changed, mostly by our own last write, and is read before anything else is written
                continue
            step = self._step(number, items)
            if step is None:
                continue
            if not groups or groups[-1].size + len(step.data) > _MOST_BYTES or len(groups[-1].steps) >= _MOST_OPERATIONS:
                groups.append(_Group())
            groups[-1].steps.append(step)
            groups[-1].size += len(step.data)
        return groups

    def _step(self, number: int, items: list[_Asked]) -> _Step | None:
        """The bucket after all changes that are allowed; whoever is refused, or has what it wants, gets its answer now."""
        held = self._buckets[number].claims
        takers: list[_Asked] = []
        for item in items:
            try:
                after = claims.changed(held, item.change)
            except ShurenError as error:
                self._refuse([item], error)
                continue
            if after is None:
                if not takers:
                    _grant([item])
                else:
                    takers.append(item)
                continue
            held = after
            takers.append(item)
        if not takers:
            return None
        try:
            data = claims.encode(held.values())
        except ShurenError as error:
            self._refuse(takers, error)
            return None
        return _Step(number=number, held=dict(held), data=data, takers=takers)

    async def _write(self, group: _Group) -> None:
        operations: list[Operation] = []
        for step in group.steps:
            version = self._buckets[step.number].version
            path = _path(step.number)
            operations.append(Create(path=path, data=step.data) if version is None else SetData(path=path, data=step.data, version=version))
        try:
            versions = await self._zookeeper.commit(operations)
        except ShurenError as error:
            # whether it happened or not, and whoever was faster: these buckets are read again before they are trusted
            self._stale |= {step.number for step in group.steps}
            for step in group.steps:
                self._refuse(step.takers, error)
            raise
        except BaseException:
            for step in group.steps:
                self._refuse(step.takers, Unreachable("the connection to this cluster is being closed"))
            raise
        changed: set[str] = set()
        free: set[str] = set()
        for step, version in zip(group.steps, versions, strict=True):
            held = self._buckets[step.number].claims
            free |= {item.change.claim.app_id for item in step.takers} - held.keys()
            changed |= self._replace(step.number, step.held, version)
            _grant(step.takers)
        if taken := changed & free:
            self._taken(frozenset(taken))
        if changed := changed - free:
            self._changed(frozenset(changed))


@dataclass(kw_only=True, slots=True)
class _Step:
    """One bucket's new contents, and who asked for them."""

    number: int
    held: dict[str, Claim]
    data: bytes
    takers: list[_Asked]


@dataclass(kw_only=True, slots=True)
class _Group:
    """What goes into one multi."""

    steps: list[_Step] = field(default_factory=list)
    size: int = 0


def _grant(asked: Iterable[_Asked]) -> None:
    for item in asked:
        if not item.answer.done():
            item.answer.set_result(None)


def _path(number: int) -> str:
    return f"{ROOT}/{claims.bucket_name(number)}"
