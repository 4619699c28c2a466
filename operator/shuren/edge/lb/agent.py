"""The agent: one task that hears of changes, brings HAProxy there, looks whether it is, and says so.

    ZooKeeper → World ──┐
    certificates, names ├─► pass: HAProxy up? → listeners (maps at run time, or reload) → servers (runtime API) → acknowledge
    HAProxy has ended ──┘
    clock: drift, drained servers, counters, files of the configuration in use

Whatever fails is tried again by the next pass; a pass waits for nothing but HAProxy. What only an API server or a name server can tell is
brought by tasks beside it (`supplies.Supplies`), so that neither can hold traffic up.

What lies on the disk may be seconds older than what a HAProxy carries that went on without us, and tasks are killed within seconds. Such a
one is left as it is until ZooKeeper was heard; what lies on the disk is for one that has to be started.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from shuren.clients.haproxy.master import Master
from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.domain.errors import Conflict, Denied, Invalid, ShurenError, Transient
from shuren.domain.haproxy.compose import Composition, Globals, Options, plans
from shuren.domain.haproxy.converge import BackendPlan
from shuren.domain.haproxy.materials import Material, MaterialKind
from shuren.domain.service.values import EndpointSet, ServiceName
from shuren.edge.lb.balancer import Balancer
from shuren.edge.lb.candidates import Chosen, Circumstances
from shuren.edge.lb.disk import LastGood, StateDirectory
from shuren.edge.lb.metrics import Metrics
from shuren.edge.lb.process import Program
from shuren.edge.lb.report import Acknowledge, Reporter
from shuren.edge.lb.servers import Servers
from shuren.edge.lb.settings import Settings
from shuren.edge.lb.supplies import Supplies
from shuren.edge.lb.timers import Timers
from shuren.edge.lb.world import World
from shuren.ports.clock import Clock

log = logging.getLogger(__name__)

_RETRY = 0.2
_LONGEST = 5.0
"""Seconds between attempts that fail again and again."""
_BURST = 0.05
"""Seconds for which a reload waits, so that services that are made together cost one."""
_UNHEARD = 5.0
"""Seconds for which a HAProxy that runs, by a configuration that is not ours, goes on with it because ZooKeeper was not heard yet."""
_MEANWHILE = 0.1
"""Seconds for which acknowledgements, and files, wait at most while one change follows the other: traffic comes first."""

Plans = tuple[BackendPlan, ...]


class Agent:
    """See the module. `start`, then `run` until cancelled; HAProxy goes on after that."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        disk: StateDirectory,
        program: Program,
        supplies: Supplies,
        metrics: Metrics,
        acknowledge: Acknowledge,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.world = World(changed=self.wake)
        self.supplies = supplies
        self._clock = clock
        self._disk = disk
        self._program = program
        self._api = RuntimeApi(disk.api_socket)
        self._master = Master(disk.master_socket)
        self.balancer = Balancer(
            disk=disk,
            program=program,
            api=self._api,
            master=self._master,
            clock=clock,
            metrics=metrics,
            same_rights=not settings.attach_only,
        )
        self.servers = Servers(api=self._api, metrics=metrics)
        self.reporter = Reporter(
            balancer=self.balancer,
            servers=self.servers,
            api=self._api,
            master=self._master,
            monotonic=clock.monotonic,
            acknowledge=acknowledge,
        )
        self.problems: dict[ServiceName, str] = {}
        self._woken = asyncio.Event()
        self._timers = Timers(clock.monotonic)
        self._dirty: dict[ServiceName, float] = {}
        """Services that HAProxy may not carry as they are, and since when."""
        self._pending: dict[ServiceName, tuple[float, float]] = {}
        """Services of which something goes on by itself: when (monotonic) to look again, and how many seconds after that."""
        self._planned: dict[ServiceName, tuple[Composition, EndpointSet | None, int, Plans]] = {}
        self._unreported: dict[ServiceName, float] = {}
        """Services of which something is to be acknowledged, and since when."""
        self._unwritten = 0.0
        """Since when the files are due; 0: they are not."""
        self._listeners_changed = False
        self._blocked = False
        self._synced = False
        self._by_disk = False
        """Whether HAProxy carries what lies on the disk, or has nothing better: then that counts until ZooKeeper was heard."""
        self._unwatch: Callable[[], None] = lambda: None
        self._failures = 0
        supplies.changed = self._supplied
        self._fresh: set[Material] = set()

    # --------------------------------------------------------------------------------------------------------- begin

    async def start(self) -> None:
        """Take up what was last good, and the HAProxy that runs, if one does."""
        last = self._disk.load()
        for service, route in last.routes.items():
            self.world.put_route(service, route)
        for service, endpoints in last.endpoints.items():
            self.world.put_endpoints(service, endpoints)
        self.world.take()
        self.supplies.restore(self.world.routes.values())
        self.supplies.want(dict(self.world.endpoints))
        await self._attach()
        self._by_disk = self.balancer.loaded is not None and self._disk.whole
        self._timers.every("drift", self.settings.drift_interval)
        self._timers.every("counters", self.settings.counters_interval)
        self._timers.every("blocked", self.settings.blocked_interval)
        self._listeners_changed = True
        self.wake()

    async def _attach(self) -> bool:
        try:
            found = await Master(self._disk.master_socket, patience=0.5).processes()
        except Transient:
            return False
        last = self._disk.load()
        self.balancer.adopt(last.routes, self._circumstances(), structure=last.structure)
        known = "ours" if self.balancer.loaded is not None else "another"
        log.info("attached to HAProxy, process %d, whose configuration is %s", found.master, known)
        now = self._clock.monotonic()
        self.balancer.old_since = dict.fromkeys(found.old, now)
        if self.balancer.loaded is None:
            self._timers.within("unheard", _UNHEARD)
        self._runs(found.master)
        return True

    @property
    def running(self) -> bool:
        """Whether there is a HAProxy."""
        return self.balancer.running

    def _runs(self, master: int) -> None:
        self._unwatch()
        self.balancer.running = True
        self._unwatch = self._program.watch(master, self._ended)
        self._everything()

    def _ended(self) -> None:
        log.error("HAProxy has ended")
        self.balancer.running = False
        self.balancer.loaded = None
        self.balancer.old_since.clear()
        self.servers.forget()
        self.wake()

    def wake(self) -> None:
        """Have a pass made soon."""
        self._woken.set()

    def _supplied(self, services: Iterable[ServiceName], materials: Iterable[Material]) -> None:
        """Addresses of host names or materials have changed."""
        now = self._clock.monotonic()
        for service in services:
            self._dirty.setdefault(service, now)
        fresh = set(materials)
        if fresh:
            self._fresh |= fresh
            self._listeners_changed = True
            self.balancer.reconsider()
        self.wake()

    def _everything(self) -> None:
        self.servers.unsettle()
        now = self._clock.monotonic()
        for service in self.world.routes:
            self._dirty.setdefault(service, now)

    def _circumstances(self) -> Circumstances:
        settings, disk = self.settings, self._disk
        return Circumstances(
            machine=Globals(
                api_socket=str(disk.api_socket),
                state_file=str(disk.state_file),
                peer_socket=str(disk.peer_socket),
                metrics=settings.haproxy_metrics,
                log=settings.log,
                hard_stop=settings.hard_stop,
                max_connections=settings.max_connections,
                threads=settings.threads,
                lines=settings.global_lines,
            ),
            materials=self.supplies.materials,
            options=Options(ports=settings.ports, address=settings.bind_address, backend_lines=settings.backend_lines),
            endpoints=self.world.endpoints,
            resolved=self.supplies.addresses,
            ids=self.servers.ids(),
        )

    # --------------------------------------------------------------------------------------------------------- passes

    async def run(self) -> None:
        """Pass after pass, and the tasks that feed them, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for task in self.supplies.tasks():
                group.create_task(task)
            group.create_task(self._passes())

    async def _passes(self) -> None:
        ended = float("-inf")
        try:
            while True:
                try:
                    async with asyncio.timeout(self._timers.rest()):
                        await self._woken.wait()
                except TimeoutError:
                    pass
                else:
                    # what comes alone is carried at once; of what comes in a row several at a time
                    await asyncio.sleep(max(0.0, ended + self.settings.coalesce - self._clock.monotonic()))
                self._woken.clear()
                await self._pass()
                ended = self._clock.monotonic()
        finally:
            self._unwatch()

    async def _pass(self) -> None:
        try:
            await self._pass_once()
            self._failures = 0
        except ShurenError as error:
            self._failures += 1
            wait = min(_RETRY * 2 ** (self._failures - 1), _LONGEST)
            level = logging.WARNING if isinstance(error, (Transient, Conflict)) else logging.ERROR
            log.log(level, "a pass has failed and is tried again in %.1f s: %s", wait, error)
            self._timers.within("retry", wait)
            if not isinstance(error, Invalid):
                self._everything()

    async def _pass_once(self) -> None:
        due = self._timers.take()
        self._take_world()
        if not self.running and not await self._bring_up():
            return
        await self._put_materials()
        self._by_disk |= "unheard" in due
        if not (self.world.synced or self._by_disk):
            if "drift" in due:
                await self._distrust()
            return
        if self._listeners_changed or (self._blocked and "blocked" in due):
            await self._listeners(now="reload" in due)
        again = self._look_again()
        await self._serve({*self._dirty, *again}, fresh=again if not self._failures else self.world.routes.keys())
        if self._unreported and not self._more_comes(min(self._unreported.values())):
            await self._report(self._unreported)
        if "drift" in due:
            await self._repair()
        if "counters" in due:
            await self._report(await self.reporter.count({s: self._plans(s) for s in self.world.routes}))
        if "write" in due:
            self._unwritten = self._unwritten or self._clock.monotonic()
        if self._unwritten and not self._more_comes(self._unwritten):
            self._write()

    def _more_comes(self, since: float) -> bool:
        """Whether what has waited `since` then may wait for another pass, because the next change is there already."""
        return self._woken.is_set() and self._clock.monotonic() - since < _MEANWHILE

    def _take_world(self) -> None:
        routes_changed, changed = self.world.take()
        self._listeners_changed |= routes_changed
        now = self._clock.monotonic()
        for service in changed:
            self._dirty.setdefault(service, now)
            self._disk.outdate(service, self.world.routes.get(service), self.world.endpoints.get(service))
        if self.world.synced and (routes_changed or not self._synced):
            self._synced = True
            for gone in [s for s in self._planned if s not in self.world.routes]:
                del self._planned[gone]
            self.reporter.keep_only(self.world.routes)
        if changed:
            self.supplies.want({s: self.world.endpoints.get(s) for s in changed})

    async def _bring_up(self) -> bool:
        """HAProxy does not run: start it with everything, or wait for who does. Whether it runs now."""
        if await self._attach():
            return True
        if self.settings.attach_only:
            self._timers.within("retry", _RETRY * 5)
            return False
        await self.balancer.start(self.world.routes, self._circumstances())
        self._by_disk = True
        self._chosen(self.balancer.loaded)
        self._listeners_changed = True  # what has come up meanwhile
        self._write()
        self._runs((await self._master.processes()).master)
        return True

    # ------------------------------------------------------------------------------------------------------ listeners

    async def _put_materials(self) -> None:
        """A certificate that is in use is replaced at run time; users stand in the configuration."""
        for material in sorted(self._fresh):
            try:
                await self._replace(material)
            except (Conflict, KeyError) as error:
                log.debug("%s is read from its file by the next configuration: %r", material, error)
            except (Invalid, Denied) as error:
                self.metrics.certificate("refused")
                log.warning("%s stays as it was in HAProxy: %s", material, error)
            self._fresh.discard(material)

    async def _replace(self, material: Material) -> None:
        if material in self.supplies.materials.missing:
            return  # what it was renewed with was refused: HAProxy has the one from before
        path = str(self._disk.certs / material.file)
        match material.kind:
            case MaterialKind.CERTIFICATE.value:
                await self._api.set_certificate(path, self.supplies.content(material))
            case MaterialKind.AUTHORITY.value:
                await self._api.set_authority(path, self.supplies.content(material))
            case _:
                return
        self.metrics.certificate("done")
        log.info("%s is replaced without a reload", material)

    async def _listeners(self, *, now: bool) -> None:
        """Carry routes as they are now; by a reload only if it has to be, not too often, and several changes by one."""
        chosen, circumstances, change = self.balancer.choose(self.world.routes, self._circumstances())
        self._blocked = bool(circumstances.options.blocked)
        self._chosen(chosen, to_come=change.reload)
        if not change.reload:
            await self.balancer.carry(chosen, change)
            self._listeners_changed = False
            self._timers.within("write", self.settings.write_interval)
        elif now:
            await self._reload(circumstances)
        elif not self._timers.is_set("reload"):
            self._timers.within("reload", max(_BURST, self._timers.until("rest")))

    async def _reload(self, circumstances: Circumstances) -> None:
        await self.reporter.count({s: self._plans(s) for s in self.world.routes})  # the new worker begins at 0
        try:
            await self.balancer.reload(self.world.routes, circumstances)
        except Invalid as error:
            log.error("the configuration in use stays: %s", error)  # noqa: TRY400 - what HAProxy says is in the message
            self._chosen(self.balancer.choose(self.world.routes, circumstances)[0])
            self._timers.within("reload", _LONGEST)
            return
        finally:
            loaded = self.balancer.loaded
            tables = loaded is not None and loaded.composition.tables
            self._timers.within("rest", max(self.settings.reload_interval, self.settings.table_interval if tables else 0.0))
        self._listeners_changed = False
        self._chosen(self.balancer.loaded)
        self._everything()
        self._write()  # at once: an agent that is killed now must know this HAProxy again

    def _chosen(self, chosen: Chosen | None, *, to_come: bool = False) -> None:
        """What of each route is left out. With a reload `to_come` nothing has become better yet."""
        if chosen is None:
            return
        problems = {s: told for s in self.world.routes if (told := chosen.problem(s))}
        if to_come:
            problems = {**{s: told for s, told in self.problems.items() if s in self.world.routes}, **problems}
        now = self._clock.monotonic()
        for service in self.world.routes:
            if problems.get(service, "") != self.problems.get(service, ""):
                self._dirty.setdefault(service, now)
        for service, told in problems.items():
            if told != self.problems.get(service):
                log.warning("%s is not carried as it asks: %s", service, told)
        self.problems = problems
        self.supplies.carried(chosen.carried)

    # -------------------------------------------------------------------------------------------------------- servers

    def _plans(self, service: ServiceName) -> Plans:
        loaded = self.balancer.loaded
        if loaded is None:
            return ()
        key = (loaded.composition, self.world.endpoints.get(service), self.supplies.version)
        known = self._planned.get(service)
        if known is None or known[0] is not key[0] or known[1] is not key[1] or known[2] != key[2]:
            known = (*key, plans(loaded.composition, service, key[1], self.supplies.addresses))
            self._planned[service] = known
        return known[3]

    async def _serve(self, services: Iterable[ServiceName], *, fresh: Collection[ServiceName]) -> None:
        """Bring these services' servers to what they shall be. Of the `fresh` ones something may have changed by itself."""
        wanted = {s: self._plans(s) for s in services if s in self.world.routes}
        for gone in (self._dirty.keys() | self._pending.keys()) - self.world.routes.keys():
            self._dirty.pop(gone, None)
            self._pending.pop(gone, None)
        if not wanted or self.balancer.loaded is None:
            return
        generations = {s: e.generation if (e := self.world.endpoints.get(s)) is not None else 0 for s in wanted}
        done = await self.servers.converge(
            {plan.name: plan for backends in wanted.values() for plan in backends},
            fresh={plan.name for service, backends in wanted.items() if service in fresh for plan in backends},
        )
        now = self._clock.monotonic()
        for service, backends in wanted.items():
            if self.servers.settled(plan.name for plan in backends):
                self.reporter.settled(service, generations[service])
                since = self._dirty.pop(service, None)
                if since is not None:
                    self.metrics.applied(now - since)
                    self._pending.pop(service, None)  # something new goes on: look again soon
        self._timers.within("write", self.settings.write_interval)
        if not done:
            self._timers.within("retry", _RETRY)
            await self._distrust()
        for service in wanted:
            self._unreported.setdefault(service, now)

    async def _report(self, services: Iterable[ServiceName]) -> None:
        wanted = {s: self._plans(s) for s in services if s in self.world.routes}
        problems = {s: "; ".join(filter(None, (self.problems.get(s), self.supplies.problem(self.world.endpoints.get(s))))) for s in wanted}
        busy = await self.reporter.report(wanted, problems)
        now = self._clock.monotonic()
        self._unreported = {s: since for s, since in self._unreported.items() if s in self.world.routes and s not in wanted}
        for service, backends in wanted.items():
            if service in busy or self.servers.unfinished(plan.name for plan in backends):
                self._pending.setdefault(service, (now + self.settings.pending_interval, self.settings.pending_interval))
            else:
                self._pending.pop(service, None)
        if self._pending:
            self._timers.within("pending", max(0.0, min(at for at, _ in self._pending.values()) - now))

    def _look_again(self) -> frozenset[ServiceName]:
        """Services of which something goes on by itself and whose time has come; each time it is longer until the next."""
        now = self._clock.monotonic()
        found = frozenset(service for service, (at, _) in self._pending.items() if at <= now)
        for service in found:
            wait = min(self._pending[service][1] * 1.5, _LONGEST)
            self._pending[service] = (now + wait, wait)
        return found

    async def _repair(self) -> None:
        """Look at everything, and put right what somebody else has changed."""
        if not await self.balancer.has_all_backends():
            await self._distrust()
            return
        await self.balancer.repair_maps()
        wanted: Mapping[ServiceName, Plans] = {s: self._plans(s) for s in self.world.routes}
        every = {plan.name: plan for backends in wanted.values() for plan in backends}
        self.servers.keep_only(every)
        await self.servers.converge(every, repair=True)
        await self._report(wanted)

    async def _distrust(self) -> None:
        """HAProxy refuses what it should know: somebody may have given it another configuration."""
        if await self.balancer.has_all_backends():
            return
        log.warning("HAProxy does not run the configuration of ours")
        self.balancer.loaded = None
        self.servers.forget()
        self._listeners_changed = True
        self._timers.within("unheard", _UNHEARD)
        self._timers.within("reload", 0.0)
        self.wake()

    def _write(self) -> None:
        """What a HAProxy that is started or reloaded by somebody else, and an agent without ZooKeeper, would begin with."""
        self._unwritten = 0.0
        self.balancer.rewrite({plan.name: plan for service in self.world.routes for plan in self._plans(service)}, self.servers.ids())
        kept = {s: e for s, e in self.world.endpoints.items() if s in self.world.routes}
        self._disk.save(LastGood(routes=self.balancer.good, endpoints=kept, structure=self.balancer.structure))

    # --------------------------------------------------------------------------------------------------------- gauges

    def gauges(self) -> dict[str, float]:
        """How things stand, for metrics."""
        count = self.servers.count()
        return {
            "synced": float(self.world.synced),
            "haproxy_running": float(self.running),
            "services": len(self.world.routes),
            "services_with_problems": len(self.problems),
            "servers": count["all"],
            "servers_up": count["up"],
            "servers_waiting": count["waiting"],
            "servers_leaving": count["leaving"],
            "old_workers": len(self.balancer.old_since),
        }
