"""Group commit: every write of an app to one Marathon goes through one committer.

One write is on its way at a time (Marathon's root updates are serial anyway); what arrives meanwhile goes next, together where
`domain.commit` allows it. So a single write is sent at once, and ten thousand become a few arrays.

Apps that share a deployment are kept independent of each other: a member that Marathon refuses is split out, members that are locked are
told so while the others go, and a shared deployment that hangs, or holds an app that somebody wants to write, is cancelled; what that
leaves half done is restarted, each app for itself.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from shuren.domain.commit import ArrayLimits, Waiting, WriteKind, blamed, half_done, halves, next_batch, unfinished, worth_waiting
from shuren.domain.errors import Fenced, Invalid, Locked, ShurenError, Throttled, UnknownOutcome, Unreachable
from shuren.domain.json import Document
from shuren.domain.marathon.state import DeploymentRef
from shuren.ports.clock import Clock
from shuren.ports.leadership import Leadership
from shuren.ports.marathon import Faulted, Marathon
from shuren.runtime.limits import TokenBucket
from shuren.runtime.waiting import sleep_or

log = logging.getLogger(__name__)

_TRIES_WHILE_LOCKED = 2
_SOON = 0.001
"""Seconds that are not worth a sleep."""
_STEP = 0.05
"""Seconds after which a batch is chosen anew while writes gather: not for each that arrives, since choosing looks at all of them."""

_Request: TypeAlias = Coroutine[Any, Any, DeploymentRef | None]


@dataclass(frozen=True, kw_only=True)
class CommitPolicy:
    """Seconds unless said otherwise. A request takes no longer than `request_deadline`, nor than the Lease has left.

    No write is sent that would start more than `deployments` running ones. Deployments older than `hang` do not count there, since they
    wait and cost nothing; but never does Marathon get more than `ceiling` in all (it takes 100). A write that could not be sent for
    `patience` is given back as Throttled. A shared deployment gives way to a write of one of its apps after `contention`, and is cancelled
    when none of its apps got done for `hang`. While there are shared deployments, the list of them is read every `poll`.
    While more writes are coming, an array is gathered for `gather`, longer when deployments are scarce (`domain.commit.worth_waiting`).
    """

    arrays: ArrayLimits = field(default_factory=ArrayLimits)
    deployments: int = 20
    ceiling: int = 90
    request_deadline: float = 10.0
    patience: float = 30.0
    contention: float = 10.0
    hang: float = 60.0
    poll: float = 1.0
    gather: float = 4.0


@dataclass(slots=True, eq=False)
class _Ticket:
    """A waiting write and who waits for it."""

    write: Waiting
    body: Document = field(repr=False)
    task_ids: tuple[str, ...]
    answer: asyncio.Future[DeploymentRef | None]
    since: float
    tries: int = 0


@dataclass(slots=True)
class _Shared:
    """A deployment of several apps that we began. `missing`: those that were not done at the last look."""

    app_ids: frozenset[str]
    since: float
    looked_at: float
    missing: frozenset[str]


@dataclass(kw_only=True, slots=True)
class Sent:
    """Counts for metrics and tests: requests, writes in them, the largest array, shared deployments that were cancelled, restarts after."""

    requests: int = 0
    writes: int = 0
    largest: int = 0
    cancelled: int = 0
    restarted: int = 0


class Committer:
    """See the module. Each request takes a token from `bucket`. `written` hears of every app whose write was sent, also of one whose answer
    was lost.

    `coming` tells how many passes are under way, or about to be, that may end in a write: those that wait here among them.

    `context` is the one that its tasks run in (None: that of whoever makes them run).

    All methods raise what `ports.marathon` says, and Fenced once this process does not lead.
    """

    def __init__(
        self,
        *,
        marathon: Marathon,
        leadership: Leadership,
        clock: Clock,
        bucket: TokenBucket,
        written: Callable[[str], None] = lambda _: None,
        policy: CommitPolicy | None = None,
        coming: Callable[[], int] = lambda: 0,
        context: Context | None = None,
    ) -> None:
        self._marathon = marathon
        self._leadership = leadership
        self._clock = clock
        self._written = written
        self._context = context
        self._coming = coming
        self.policy = policy or CommitPolicy()
        self.sent = Sent()
        self._bucket = bucket
        self._waiting: dict[int, _Ticket] = {}
        self._tickets = 0
        self._parts = 1
        self._began: dict[str, float] = {}
        self._last_sent = float("-inf")
        self._last_came = float("-inf")
        self._only_forced = False
        self._counted_at = float("-inf")
        self._shared: dict[str, _Shared] = {}
        self._to_finish: set[str] = set()
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._attending: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------------ what controllers call

    async def write(self, app_id: str, definition: Document, *, kind: WriteKind, force: bool = False) -> DeploymentRef:
        """Write a complete definition (CREATE, CONFIG), or the fields of a change of `instances` (SCALE)."""
        return _given(await self._submit(app_id, kind, body={**definition, "id": app_id}, force=force))

    async def create(self, definition: Document) -> DeploymentRef:
        """Write a complete definition that Marathon does not have yet."""
        return await self.write(str(definition["id"]), definition, kind=WriteKind.CREATE)

    async def change(self, definition: Document, *, force: bool) -> DeploymentRef:
        """Write a complete definition over the one that Marathon has."""
        return await self.write(str(definition["id"]), definition, kind=WriteKind.CONFIG, force=force)

    async def scale(self, app_id: str, body: Document, *, force: bool) -> DeploymentRef:
        """Change the number of instances; `body` as from `domain.marathon.render.scale_body`."""
        return await self.write(app_id, body, kind=WriteKind.SCALE, force=force)

    async def kill(self, app_id: str, task_ids: tuple[str, ...], *, force: bool) -> DeploymentRef | None:
        """Remove exactly these tasks and lower the number of instances by as many."""
        return await self._submit(app_id, WriteKind.KILL, task_ids=task_ids, force=force)

    async def restart(self, app_id: str) -> DeploymentRef:
        """Replace all tasks."""
        return _given(await self._submit(app_id, WriteKind.RESTART))

    async def restore(self, app_id: str, version: str) -> DeploymentRef:
        """Back to a version that Marathon keeps, in place of a running deployment. Gone when Marathon has forgotten it."""
        return _given(await self._submit(app_id, WriteKind.RESTORE, body={"version": version}, force=True))

    async def delete(self, app_id: str, *, force: bool) -> DeploymentRef | None:
        """None when there was no such app."""
        return await self._submit(app_id, WriteKind.DELETE, force=force)

    async def definition_at(self, app_id: str, version: str) -> Document | None:
        """A definition that Marathon keeps (a read); None when it has forgotten it."""
        return await self._marathon.app_at(app_id, version)

    async def cancel(self, deployment_id: str) -> None:
        """End a deployment and leave things as they are. Other apps that shared it are not mended here: their own passes find it."""
        async with self._turn:
            await self._deadlined(self._marathon.cancel_deployment(deployment_id, force=True))
        self._shared.pop(deployment_id, None)
        self._wake.set()

    async def close(self) -> None:
        """Stop. Writes that still wait raise Unreachable."""
        tasks = [task for task in (self._sending, self._attending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail(list(self._waiting.values()), Unreachable("the connection to this cluster was closed before the write was sent"))

    # ------------------------------------------------------------------------------------------------ waiting

    async def _submit(
        self, app_id: str, kind: WriteKind, *, body: Document | None = None, task_ids: tuple[str, ...] = (), force: bool = False
    ) -> DeploymentRef | None:
        return await self._enqueue(app_id, kind, body=body, task_ids=task_ids, force=force)

    def _enqueue(
        self, app_id: str, kind: WriteKind, *, body: Document | None = None, task_ids: tuple[str, ...] = (), force: bool = False
    ) -> asyncio.Future[DeploymentRef | None]:
        self._tickets += 1
        document = body or {}
        size = len(json.dumps(document, ensure_ascii=False).encode()) if body else 0
        write = Waiting(ticket=self._tickets, app_id=app_id, kind=kind, size=size, force=force)
        answer: asyncio.Future[DeploymentRef | None] = asyncio.get_running_loop().create_future()
        self._last_came = self._clock.monotonic()
        self._waiting[write.ticket] = _Ticket(write, document, task_ids, answer, self._last_came)
        if force or not self._only_forced:
            self._wake.set()  # while no more deployments may run, a write more changes nothing
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all(), name="committer", context=self._context)
        return answer

    async def _send_all(self) -> None:
        """Send until nothing waits."""
        paid = False
        try:
            while self._waiting:
                self._wake.clear()
                self._drop()
                self._only_forced = await self._full()
                batch = next_batch(
                    [ticket.write for ticket in self._waiting.values()],
                    limits=self.policy.arrays,
                    held=self._held(),
                    only_forced=self._only_forced,
                )
                if not batch:
                    await sleep_or(self._clock, self.policy.poll, self._wake)
                    continue
                wait = self._worth_waiting(batch)
                if wait > _SOON:
                    await self._clock.sleep(min(wait, _STEP))
                    continue
                delay = 0.0 if paid else self._bucket.delay()
                paid = delay > _SOON
                if paid:
                    # whatever arrives meanwhile may join: the batch is chosen again, for the same token
                    await self._clock.sleep(delay)
                    continue
                await self._send([self._waiting[write.ticket] for write in batch])
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, callers must not wait for ever; they raise it
            self._fail(list(self._waiting.values()), error)
        finally:
            if paid:
                self._bucket.delay(-1.0)

    def _worth_waiting(self, batch: Sequence[Waiting]) -> float:
        now = self._clock.monotonic()
        return worth_waiting(
            batch,
            limits=self.policy.arrays,
            coming=self._coming() > len(self._waiting),
            used=self._young(now) / max(1, self.policy.deployments),
            gather=self.policy.gather,
            waited=now - self._waiting[batch[0].ticket].since,
            quiet=now - self._last_came,
        )

    def _drop(self) -> None:
        """Forget writes whose callers are gone, and give back those that have waited too long."""
        now = self._clock.monotonic()
        for number, ticket in list(self._waiting.items()):
            if ticket.answer.done():
                del self._waiting[number]
            elif now - ticket.since > self.policy.patience:
                holder = next((i for i, shared in self._shared.items() if ticket.write.app_id in shared.app_ids), "")
                if not holder and now - self._last_sent <= self.policy.patience:
                    continue  # the line moves on, and its turn comes
                if holder:
                    self._fail([ticket], Locked(f"{ticket.write.app_id} is locked by deployment {holder}", deployments=(holder,)))
                else:
                    why = "Marathon runs as many deployments as it may (spec.marathon.limits), or answers slowly"
                    self._fail([ticket], Throttled(f"{ticket.write.app_id} could not be written for {self.policy.patience:g} s: {why}"))

    def _held(self) -> Collection[str]:
        """Apps in shared deployments of ours: a write of theirs would be refused, or end the deployment for all."""
        return frozenset().union(*(shared.app_ids for shared in self._shared.values()))

    async def _full(self) -> bool:
        """Whether as many deployments run as may. Marathon is asked only when those that we began could be that many."""
        now = self._clock.monotonic()
        if self._young(now) < self.policy.deployments and len(self._began) < self.policy.ceiling:
            return False
        if now - self._counted_at < self.policy.poll:
            return True
        self._counted_at = now
        try:
            running = {deployment.id for deployment in await self._marathon.deployments()}
        except ShurenError as error:
            log.info("cannot count the running deployments: %s", error)
            return True
        self._forget_ended(running, now)
        return self._young(now) >= self.policy.deployments or len(running) >= self.policy.ceiling

    def _forget_ended(self, running: Collection[str], asked: float) -> None:
        """Of those that we began: all that were not running when Marathon was `asked` have ended."""
        self._began = {number: at for number, at in self._began.items() if number in running or at >= asked}

    def _young(self, now: float) -> int:
        return sum(1 for at in self._began.values() if now - at < self.policy.hang)

    # ------------------------------------------------------------------------------------------------ one request

    async def _send(self, batch: Sequence[_Ticket]) -> None:
        try:
            async with self._turn:
                self._count(batch)
                ref = await self._deadlined(self._request(batch))
        except Fenced as error:
            self._fail(list(self._waiting.values()), error)
        except (Invalid, Faulted) as error:
            self._refused(batch, error)
        except Locked as error:
            await self._locked(batch, error)
        except ShurenError as error:
            self._fail(batch, error)
        else:
            self._succeeded(batch, ref)
        finally:
            for ticket in batch:
                self._written(ticket.write.app_id)

    async def _deadlined(self, request: _Request) -> DeploymentRef | None:
        """Leadership is checked right before, and the request is broken off before another may lead."""
        try:
            self._leadership.check()
        except Fenced:
            request.close()
            raise
        seconds = min(self.policy.request_deadline, self._leadership.remaining())
        try:
            async with asyncio.timeout(seconds):
                return await request
        except TimeoutError as error:
            raise UnknownOutcome(f"Marathon has not answered a write within {seconds:g} s") from error

    def _request(self, batch: Sequence[_Ticket]) -> _Request:
        first = batch[0]
        app_id, force = first.write.app_id, first.write.force
        match first.write.kind:
            case WriteKind.CREATE | WriteKind.CONFIG:
                return self._marathon.put_apps([ticket.body for ticket in batch], force=force)
            case WriteKind.SCALE:
                return self._marathon.patch_apps([ticket.body for ticket in batch], force=force)
            case WriteKind.RESTART:
                return self._marathon.restart(app_id, force=force)
            case WriteKind.RESTORE:
                return self._marathon.restore(app_id, str(first.body["version"]), force=force)
            case WriteKind.DELETE:
                return self._marathon.delete_app(app_id, force=force)
            case WriteKind.KILL:
                return self._marathon.kill_tasks(first.task_ids, scale=True, force=force)

    def _count(self, batch: Sequence[_Ticket]) -> None:
        self.sent.requests += 1
        self.sent.writes += len(batch)
        self.sent.largest = max(self.sent.largest, len(batch))

    def _succeeded(self, batch: Sequence[_Ticket], ref: DeploymentRef | None) -> None:
        for ticket in batch:
            self._waiting.pop(ticket.write.ticket, None)
            if not ticket.answer.done():
                ticket.answer.set_result(ref)
        if ref is None:
            return
        now = self._last_sent = self._clock.monotonic()
        self._began[ref.id] = now
        if len(batch) > 1:
            apps = frozenset(ticket.write.app_id for ticket in batch)
            self._shared[ref.id] = _Shared(apps, now, now, apps)
            self._attend()

    def _fail(self, tickets: Sequence[_Ticket], error: BaseException) -> None:
        for ticket in tickets:
            self._waiting.pop(ticket.write.ticket, None)
            if not ticket.answer.done():
                ticket.answer.set_exception(error if len(tickets) == 1 else copy.copy(error))

    def _refused(self, batch: Sequence[_Ticket], error: Invalid | Faulted) -> None:
        """Whoever is named gets it and the rest goes again; when nobody is named, the array goes again in two halves."""
        if len(batch) == 1:
            self._fail(batch, error)
            return
        named = blamed(error.errors, len(batch)) if isinstance(error, Invalid) else {}
        for index, errors in named.items():
            words = "; ".join(f"{e.path}: {e.message}" for e in errors)
            self._fail([batch[index]], Invalid(f"{batch[index].write.app_id}: {words}", errors=errors))
        if not named:
            parts, self._parts = halves([ticket.write for ticket in batch], self._parts)
            for ticket in batch:
                ticket.write = replace(ticket.write, part=parts[ticket.write.ticket])

    async def _locked(self, batch: Sequence[_Ticket], error: Locked) -> None:
        """Members that the named deployments hold are told so; the others go again."""
        if len(batch) == 1:
            self._fail(batch, error)
            return
        try:
            deployments = await self._marathon.deployments()
        except ShurenError as failure:
            self._fail(batch, failure)
            return
        holders: Mapping[str, tuple[str, ...]] = {
            ticket.write.app_id: tuple(d.id for d in deployments if ticket.write.app_id in d.affected_apps) for ticket in batch
        }
        for ticket in batch:
            ids = holders[ticket.write.app_id]
            if ids:
                self._fail([ticket], Locked(f"{ticket.write.app_id} is locked by deployment {', '.join(ids)}", deployments=ids))
                continue
            ticket.tries += 1
            if ticket.tries >= _TRIES_WHILE_LOCKED:
                ticket.write = replace(ticket.write, alone=True)

    # ------------------------------------------------------------------------------------------------ shared deployments

    def _attend(self) -> None:
        if self._attending is None or self._attending.done():
            self._attending = asyncio.create_task(self._watch_shared(), name="committer's shared deployments", context=self._context)

    async def _watch_shared(self) -> None:
        """While there are shared deployments: see which have ended, and cancel those that hang or stand in the way."""
        while self._shared or self._to_finish:
            await self._clock.sleep(self.policy.poll)
            try:
                await self._look_at_shared()
                await self._finish()
            except Fenced:
                self._shared.clear()
                self._to_finish.clear()
            except ShurenError as error:
                log.info("cannot look after shared deployments now: %s", error)
        self._wake.set()

    async def _look_at_shared(self) -> None:
        asked = self._clock.monotonic()
        running = {deployment.id for deployment in await self._marathon.deployments()}
        self._forget_ended(running, asked)
        for ended in self._shared.keys() - running:
            del self._shared[ended]
            self._wake.set()
        now = self._clock.monotonic()
        for number, shared in list(self._shared.items()):
            wanted = [t for t in self._waiting.values() if t.write.app_id in shared.app_ids and now - t.since >= self.policy.contention]
            if not wanted and now - shared.looked_at < self.policy.hang:
                continue
            missing = await self._missing(shared)
            mine = [t for t in wanted if t.write.force or t.write.app_id not in missing]
            self._fail([t for t in wanted if t not in mine], Locked(f"deployment {number} of this app still runs", deployments=(number,)))
            hangs = now - shared.looked_at >= self.policy.hang and missing == shared.missing
            if mine or hangs:
                await self._break_up(number, shared, "it hangs" if hangs else f"{mine[0].write.app_id} is to be written")
            elif now - shared.looked_at >= self.policy.hang:
                shared.looked_at, shared.missing = now, missing

    async def _missing(self, shared: _Shared) -> frozenset[str]:
        return frozenset(app.id for app in await self._marathon.apps() if app.id in shared.app_ids and unfinished(app))

    async def _break_up(self, number: str, shared: _Shared, why: str) -> None:
        async with self._turn:
            await self._deadlined(self._marathon.cancel_deployment(number, force=True))
        log.info("cancelled deployment %s of %d apps: %s", number, len(shared.app_ids), why)
        self._shared.pop(number, None)
        self.sent.cancelled += 1
        self._to_finish |= shared.app_ids
        self._wake.set()

    async def _finish(self) -> None:
        """Restart what a cancelled deployment has left half done, unless somebody is about to write it, or has already."""
        if not self._to_finish:
            return
        queue = {item.app_id: item.count for item in await self._marathon.queue()}
        apps = [app for app in await self._marathon.apps() if app.id in self._to_finish]
        self._to_finish.clear()
        about_to_be_written = {ticket.write.app_id for ticket in self._waiting.values()}
        for app in apps:
            if not app.deployments and app.id not in about_to_be_written and half_done(app, queue.get(app.id, 0)):
                self.sent.restarted += 1
                self._enqueue(app.id, WriteKind.RESTART).add_done_callback(_restarted(app.id))


def _restarted(app_id: str) -> Callable[[asyncio.Future[DeploymentRef | None]], None]:
    def told(answer: asyncio.Future[DeploymentRef | None]) -> None:
        if not answer.cancelled() and answer.exception() is not None:
            log.info("%s could not be restarted after its deployment was cancelled: %s", app_id, answer.exception())

    return told


def _given(answer: DeploymentRef | None) -> DeploymentRef:
    if answer is None:
        raise Unreachable("Marathon did not name a deployment for a write that always has one")
    return answer
