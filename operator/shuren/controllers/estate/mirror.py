"""The live picture of one Marathon: apps with their tasks, deployments, what waits to be launched.

One bulk read at the start and after each interruption of the event stream; then events are hints for small reads: a few apps one by one,
many at once. Nothing here believes an event's content, and nothing believes a list that has lost apps without asking for some of them.
When Marathon does not answer, the last picture stays and is marked; nobody is told that anything was deleted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from shuren.controllers.estate.hints import hint
from shuren.controllers.estate.pace import Budget, Pace
from shuren.domain.errors import Denied, ShurenError, Unreachable
from shuren.domain.marathon.state import ActualApp, Deployment, MarathonInfo, QueueItem
from shuren.ports.clock import Clock
from shuren.ports.marathon import Marathon
from shuren.runtime.waiting import sleep_or

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_AT_ONCE = 500
"""Apps that are compared before other tasks get their turn."""

AppsChanged = Callable[[frozenset[str]], None]
"""Gets the ids of apps that look different from before (or have come or gone), or whose deployment or queue item does."""


@dataclass(kw_only=True, slots=True)
class ReadCounts:
    """How often Marathon was read, for metrics and tests."""

    bulk: int = 0
    single: int = 0
    progress: int = 0


class Mirror:
    """See the module. `apps_changed` and `state_changed` (reachability, first picture, number of deployments) are called in the event loop.

    `expected` are ids that ought to be in the first list (those claimed), so that one that is cut short at the very start is noticed
    too. `chance` gives numbers in 0..1 that spread retries. `crowded` tells whether many resources wait that nothing
    has been done for yet: what would be read now is looked at only after them.
    """

    def __init__(
        self,
        *,
        marathon: Marathon,
        clock: Clock,
        apps_changed: AppsChanged,
        state_changed: Callable[[], None],
        expected: Callable[[], Collection[str]] = frozenset,
        pace: Pace | None = None,
        chance: Callable[[], float] = lambda: 0.5,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._marathon = marathon
        self._clock = clock
        self._apps_changed = apps_changed
        self._state_changed = state_changed
        self._expected = expected
        self._pace = pace or Pace()
        self._chance = chance
        self._crowded = crowded
        self._apps: dict[str, ActualApp] = {}
        self._deployments: dict[str, Deployment] = {}
        self._deployment_of: dict[str, Deployment] = {}
        self._queue: dict[str, QueueItem] = {}
        self._read_at: dict[str, float] = {}
        self._bulk_at = float("-inf")
        self._bulk_took = 0.0
        self._progress_at = float("-inf")
        self._progress_unchanged = 0
        self._meanwhile: set[str] = set()
        """Apps that were read by themselves while the last list was."""
        self._dirty: set[str] = set()
        self._wanted_since: float | None = None
        self._some_at = float("-inf")
        """When apps were last read one by one."""
        self._look_at_everything = True
        self._look_at_progress = False
        self._attached = False
        self._stream_until = clock.monotonic() + self._pace.attach
        """Until when the first read waits for the event stream: what comes before it would have to be read again after it."""
        self._interrupted = True
        self._failures = 0
        self._not_before = float("-inf")
        self._wake = asyncio.Event()
        self._budget = Budget(rate=self._pace.singles, burst=self._pace.burst, now=clock.monotonic())
        self.reads = ReadCounts()
        self.info: MarathonInfo | None = None
        self.synced = False
        """Whether a whole picture has ever been read."""
        self.synced_at = ""
        """When everything was last read after a start or an interruption (RFC 3339), empty before."""
        self.unreachable_since: float | None = clock.monotonic()
        """Monotonic seconds since when no read has succeeded; None while Marathon answers."""
        self.error = ""
        """Why the last read failed, empty when it did not."""
        self.denied = False
        """Whether it failed because Marathon refuses our credentials."""

    # ------------------------------------------------------------------------------------------------ the picture

    def app(self, app_id: str) -> ActualApp | None:
        """The app as last read; None when Marathon has none. Only meaningful once `synced`."""
        return self._apps.get(app_id)

    @property
    def app_ids(self) -> frozenset[str]:
        """All apps."""
        return frozenset(self._apps)

    @property
    def app_count(self) -> int:
        """How many apps there are."""
        return len(self._apps)

    @property
    def task_count(self) -> int:
        """How many active tasks there are."""
        return sum(1 for app in self._apps.values() for task in app.tasks if task.state.active)

    def deployment(self, app_id: str) -> Deployment | None:
        """The running deployment that touches the app, if any."""
        return self._deployment_of.get(app_id)

    @property
    def deployment_count(self) -> int:
        """How many deployments run."""
        return len(self._deployments)

    def queue_item(self, app_id: str) -> QueueItem | None:
        """What waits to be launched for the app. `delay_seconds` counts from `progress_read_at`."""
        return self._queue.get(app_id)

    @property
    def progress_read_at(self) -> float:
        """Monotonic seconds at which deployments and queue were last read."""
        return self._progress_at

    def as_of(self, app_id: str) -> float:
        """Monotonic seconds: whatever happened to the app before is in the picture. -inf before the first read."""
        return max(self._bulk_at, self._read_at.get(app_id, float("-inf")))

    @property
    def stale(self) -> bool:
        """Whether the picture may be old: nothing read yet, no event stream, or Marathon does not answer."""
        return not self.synced or not self._attached or self.unreachable_since is not None

    def look_at(self, app_ids: Iterable[str]) -> None:
        """Read these apps, deployments and queue soon: something was just written. Their `as_of` passes this moment."""
        self._want(apps=app_ids, progress=True)

    def look_at_everything(self) -> None:
        """Read everything soon."""
        self._want(everything=True)

    def _want(self, *, apps: Iterable[str] = (), progress: bool = False, everything: bool = False) -> None:
        self._dirty |= set(apps)
        self._look_at_progress |= progress
        self._look_at_everything |= everything
        if self._wanted:
            if self._wanted_since is None:
                self._wanted_since = self._clock.monotonic()
            self._wake.set()

    # ------------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Keep the picture until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="marathon events")
            group.create_task(self._refresh(), name="marathon reads")

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                await self._hear()
                error = "Marathon has ended it"
            except ShurenError as raised:
                error = str(raised)
            except Exception as raised:
                # a mistake of ours costs the stream, not the picture
                log.exception("an event met a mistake in the program")
                error = repr(raised)
            failures = 1 if self._attached else failures + 1
            if failures == 1:
                log.info("event stream lost: %s", error)
            self._attached = False
            self._stream_until = float("-inf")
            pause = min(self._pace.retry * 2 ** min(failures - 1, 8), self._pace.retry_slowest)
            await self._clock.sleep(pause * (0.5 + self._chance()))
            # without events the picture is kept by polling, at the same slow beat
            self._want(everything=True)

    async def _hear(self) -> None:
        """Take events as hints until the stream ends."""
        async for event in self._marathon.events():
            found = hint(event)
            if found.everything:
                self._attached = True
                self._stream_until = float("-inf")
                self._interrupted = True
            self._want(apps=found.apps, progress=found.progress, everything=found.everything)

    async def _refresh(self) -> None:
        while True:
            await self._until_due()
            try:
                await self._round()
            except ShurenError as error:
                self._failed(error)
            except Exception as error:
                # a mistake of ours counts as no answer: the last picture stays, and the next round may go better
                log.exception("reading Marathon met a mistake in the program")
                self._failed(Unreachable(f"Marathon's answer could not be understood: {error!r:.200}"))

    async def _until_due(self) -> None:
        """Sleep until something wants reading and may be read."""
        while True:
            now = self._clock.monotonic()
            due = max(self._due(), self._not_before, self._stream_until)
            if due <= now:
                return
            self._wake.clear()
            await self._sleep_or_wake(due - now if due != float("inf") else None)

    @property
    def _wanted(self) -> bool:
        return bool(self._dirty) or self._look_at_progress or self._look_at_everything

    def _due(self) -> float:
        """When the next read is due, in monotonic seconds."""
        gathered = self._gathered(self._wanted_since or 0.0)
        if self._look_at_everything or not self.synced:
            return self._bulk_allowed()
        if self._dirty:
            return gathered
        if self._look_at_progress:
            return max(gathered, self._progress_at + self._pace.progress_gap)
        return min(self._bulk_at + self._pace.resync, self._progress_at + self._progress_beat())

    def _gathered(self, since: float) -> float:
        """When what has been wanted `since` then is to be read by itself."""
        return max(since + self._pace.hear, self._some_at + self._pace.gather)

    def _bulk_allowed(self) -> float:
        if not self.synced:
            return float("-inf")
        rest = self._pace.bulk_rest_crowded if self._crowded() else self._pace.bulk_rest
        return self._bulk_at + max(self._pace.bulk_gap, rest * self._bulk_took)

    def _progress_beat(self) -> float:
        if not self._deployments and not self._queue:
            return float("inf")
        return min(self._pace.progress * 2.0 ** min(self._progress_unchanged, 8), self._pace.progress_slowest)

    async def _sleep_or_wake(self, seconds: float | None) -> None:
        if seconds is None:
            await self._wake.wait()
        else:
            await sleep_or(self._clock, seconds, self._wake)

    # ------------------------------------------------------------------------------------------------ reading

    async def _round(self) -> None:
        now = self._clock.monotonic()
        if self._look_at_everything or not self.synced or now >= self._bulk_at + self._pace.resync:
            await self._read_everything()
            return
        if self._dirty:
            wanted = frozenset(self._dirty)
            if len(wanted) <= self._few and self._budget.take(len(wanted), now):
                await self._read_some(wanted)
            else:
                # too many for reads of their own; a bulk read takes them all, when it is allowed
                self._look_at_everything = True
        now = self._clock.monotonic()
        if self._look_at_progress and now < self._progress_at + self._pace.progress_gap:
            return
        if self._look_at_progress or now >= self._progress_at + self._progress_beat():
            await self._beside(self._read_progress())

    async def _read_some(self, wanted: frozenset[str]) -> None:
        asked = self._clock.monotonic()
        self.reads.single += len(wanted)
        self._dirty -= wanted
        self._wanted_since, self._some_at = None, asked
        try:
            found = await asyncio.gather(*(self._marathon.app(app_id) for app_id in wanted))
        except BaseException:
            self._want(apps=wanted)
            raise
        self._answered()
        changed = set()
        for app_id, app in zip(wanted, found, strict=True):
            self._read_at[app_id] = asked
            if app is None:
                if self._apps.pop(app_id, None) is not None:
                    changed.add(app_id)
            elif self._apps.get(app_id) != app:
                self._apps[app_id] = app
                changed.add(app_id)
        self._tell(changed, asked_for=wanted)

    async def _read_everything(self) -> None:
        asked = self._clock.monotonic()
        dirty, self._dirty = self._dirty, set()
        interrupted, self._interrupted = self._interrupted, False
        self._look_at_everything, self._wanted_since = False, None
        try:
            if self.info is None or interrupted:
                self.info = await self._marathon.info()
            apps = await self._with_what_happens_meanwhile(self._all_apps())
        except BaseException:
            self._interrupted |= interrupted
            self._want(apps=dirty, everything=True)
            raise
        self._answered()
        took = self._clock.monotonic() - asked
        changed = set(self._apps.keys() - apps.keys())
        for number, (app_id, app) in enumerate(apps.items()):
            known = self._apps.get(app_id)
            if known != app:
                changed.add(app_id)
            elif known is not None:
                apps[app_id] = known  # what did not change keeps its object, so that nothing is held twice
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        self._apps = apps
        self._read_at = {app_id: at for app_id, at in self._read_at.items() if app_id in self._meanwhile}
        self._bulk_at, self._bulk_took = asked, took
        first = not self.synced
        self.synced = True
        if interrupted:
            self.synced_at = self._clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")
        self._tell(changed, asked_for=dirty)
        await self._read_progress()
        if first:
            self._state_changed()

    async def _with_what_happens_meanwhile(self, reading: Coroutine[Any, Any, dict[str, ActualApp]]) -> dict[str, ActualApp]:
        """The list of all apps, which takes long where there are many. What events tell of while it is read is read by itself and shown at
        once, as far as the budget for such reads goes.
        """
        if not self.synced:
            self._meanwhile.clear()
            return await reading  # nothing is shown before there is a whole picture
        apps = await self._beside(reading)
        for app_id in self._meanwhile:
            known = self._apps.get(app_id)
            if known is None:
                apps.pop(app_id, None)
            else:
                apps[app_id] = known
        return apps

    async def _beside(self, reading: Coroutine[Any, Any, _T]) -> _T:
        """Read something that may take long; what events tell of meanwhile is read by itself and shown at once."""
        self._meanwhile.clear()
        task = asyncio.create_task(reading)
        try:
            while not task.done() and await self._something_happens(task):
                wanted = frozenset(self._dirty)
                if len(wanted) > self._few or not self._budget.take(len(wanted), self._clock.monotonic()):
                    break  # the next list has them all
                try:
                    await self._read_some(wanted)
                except ShurenError as error:
                    log.info("apps could not be read beside a longer reading: %s", error)
                    break  # that will tell whether Marathon answers
                self._meanwhile |= wanted
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _something_happens(self, task: asyncio.Task[Any]) -> bool:
        """Wait until apps are due to be read by themselves; False when the task is done before."""
        while not task.done():
            now = self._clock.monotonic()
            due = self._gathered(self._wanted_since or now) if self._dirty else None
            if due is not None and due <= now:
                return True
            self._wake.clear()
            waiting = asyncio.ensure_future(self._sleep_or_wake(None if due is None else due - now))
            try:
                await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        return False

    @property
    def _few(self) -> int:
        """So many apps are read one by one."""
        return min(max(self._pace.few, len(self._apps) // 100), self._pace.many)

    async def _all_apps(self) -> dict[str, ActualApp]:
        """All apps. Unreachable when lists lack apps that Marathon, asked for some of them, still has: they are cut short or old.

        One that has come (back) while the list was on its way is in the next.
        """
        overlooked, number = "", 0
        for _ in range(_LISTS):
            self.reads.bulk += 1
            apps = {app.id: app for app in await self._marathon.apps()}
            if overlooked and overlooked not in apps:
                break
            known = self._apps.keys() - self._meanwhile
            missing = sorted((known | (frozenset() if self.synced else set(self._expected()))) - apps.keys())
            overlooked, number = await self._still_there(missing), len(missing)
            if not overlooked:
                return apps
        raise Unreachable(f"Marathon's list of apps lacks {number} apps that it still has, e.g. {overlooked}; keeping the last picture")

    async def _still_there(self, missing: Sequence[str]) -> str:
        """One of some that a list does not have, and Marathon has all the same; empty when it has none."""
        step = max(1, len(missing) // self._pace.witnesses)
        for app_id in missing[::step][: self._pace.witnesses]:
            self.reads.single += 1
            if await self._marathon.app(app_id) is not None:
                return app_id
        return ""

    async def _read_progress(self) -> None:
        asked = self._clock.monotonic()
        self._look_at_progress = False
        self.reads.progress += 1
        try:
            deployments = {d.id: d for d in await self._marathon.deployments()}
            queue = {item.app_id: item for item in await self._marathon.queue()}
        except BaseException:
            self._want(progress=True)
            raise
        self._answered()
        deployed = self._changed_deployments(deployments)
        changed = deployed | self._changed_queue(queue, asked)
        # events have told of these; where they have not, the stream is silent, and the apps look otherwise than their picture
        self._want(apps={app_id for app_id in deployed if asked - self.as_of(app_id) > self._pace.progress})
        number_changed = len(deployments) != len(self._deployments)
        self._deployments, self._queue, self._progress_at = deployments, queue, asked
        self._deployment_of = {app_id: d for d in deployments.values() for app_id in d.affected_apps}
        self._progress_unchanged = 0 if changed else self._progress_unchanged + 1
        self._tell(changed)
        if number_changed:
            self._state_changed()

    def _changed_deployments(self, found: dict[str, Deployment]) -> set[str]:
        changed: set[str] = set()
        for deployment_id in self._deployments.keys() | found.keys():
            before, after = self._deployments.get(deployment_id), found.get(deployment_id)
            if before != after:
                for d in (before, after):
                    changed |= set(d.affected_apps) if d is not None else set()
        return changed

    def _changed_queue(self, found: dict[str, QueueItem], asked: float) -> set[str]:
        passed = asked - self._progress_at
        return {
            app_id
            for app_id in self._queue.keys() | found.keys()
            if not _same_wait(self._queue.get(app_id), found.get(app_id), passed=passed)
        }

    def _tell(self, changed: set[str], *, asked_for: Iterable[str] = ()) -> None:
        """Report what changed, and what somebody waits for although it did not."""
        ids = frozenset(changed) | frozenset(asked_for)
        if ids:
            self._apps_changed(ids)

    # ------------------------------------------------------------------------------------------------ reachability

    def _answered(self) -> None:
        if self._failures and self.synced:
            log.info("Marathon answers again")
        self._failures = 0
        self.error, self.denied = "", False
        if self.unreachable_since is not None:
            self.unreachable_since = None
            self._state_changed()

    def _failed(self, error: ShurenError) -> None:
        self._failures += 1
        now = self._clock.monotonic()
        pause = min(self._pace.retry * 2 ** min(self._failures - 1, 8), self._pace.retry_slowest)
        wish = getattr(error, "retry_after", None)
        self._not_before = now + (wish if isinstance(wish, float) else pause * (0.5 + self._chance()))
        if str(error) != self.error:
            log.warning("Marathon cannot be read: %s", error)
        self.error, self.denied = str(error), isinstance(error, Denied)
        if self.unreachable_since is None:
            self.unreachable_since = now
            self._state_changed()


_LISTS = 3
"""Lists that are read one after the other before one is believed or none is."""
_SAME_MOMENT = 2.0
"""Seconds by which the end of a back-off may seem to move between two reads without being another one."""


def _same_wait(before: QueueItem | None, after: QueueItem | None, *, passed: float) -> bool:
    """Whether two readings of a queue item tell the same: counters of offers and the countdown itself do not count."""
    if before is None or after is None:
        return before is after
    if abs(before.delay_seconds - passed - after.delay_seconds) > _SAME_MOMENT and not after.overdue:
        return False
    return _reasons(before) == _reasons(after) and _told(before) == _told(after)


def _told(item: QueueItem) -> QueueItem:
    return replace(item, delay_seconds=0.0, processed_offers=0, unused_offers=0, rejections={})


def _reasons(item: QueueItem) -> frozenset[str]:
    return frozenset(reason for reason, declined in item.rejections.items() if declined)
