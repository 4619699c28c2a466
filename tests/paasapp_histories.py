"""Random histories: edits, deletions, other people's hands in Marathon, faults, lost agents, operators that end, overlap or come back late.

What must never happen is checked at every write and after every step; that everything comes to rest as asked, at the end of each history.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paasapp_scenarios import broken, prepare
from paasapp_world import Process, World
from shuren.api.v1alpha1.paasapp_status import PaasAppStatus
from shuren.clients.fakes.crash import Moment
from shuren.clients.fakes.marathon_tasks import Behaviour
from shuren.domain.errors import Fenced, Locked, ShurenError, Throttled, UnknownOutcome, Unreachable
from shuren.ports.kubernetes import CONTROLLER_REVISIONS, PAAS_APPS, Object

NAMES = ("a", "b")
IDS = ("/shop/a", "/shop/b", "/shop/c")
COMMANDS = ("sleep 1", "sleep 2", "sleep 3", "fails 1", "unplaced 1", "unhealthy 1")
SECRET = "hunter2-is-secret"
FOREIGN = "/shop/foreign"
FAULTS: tuple[ShurenError, ...] = (
    Unreachable("no answer"),
    UnknownOutcome("the answer was lost"),
    Throttled("too many", retry_after=1.0),
    Locked("App is locked by one or more deployments.", deployments=("somebody-elses",)),
)


class Histories(RuleBasedStateMachine):
    """See the module."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.world = self.make_world()
        prepare(self.world)
        self.world.secret("db", password=SECRET)
        self.world.marathon.foreign_put({"id": FOREIGN, "cmd": "sleep 1000", "instances": 1})
        self.world.marathon.settle()
        self.before = dict(self.world.marathon.definitions[FOREIGN])
        self.deposed: list[Process] = []
        self.ids: dict[str, set[str]] = {name: set() for name in NAMES}
        inner = self.world.hook

        def watched(moment: Moment, what: str) -> None:
            if moment is Moment.BEFORE and what.startswith("marathon "):
                self.judge_write(what)
            inner(moment, what)

        self.world.hook = watched  # type: ignore[method-assign]  # every client of a process made later reports here
        self.run(self.world.start())

    def make_world(self) -> World:
        return World()

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.come_to_rest()
        finally:
            self.loop.close()

    # ------------------------------------------------------------------------------------------------ what must never happen

    def judge_write(self, what: str) -> None:
        """Asked before every write to Marathon."""
        _, verb, *ids = what.removesuffix(" force").split()
        held = self.world.claims()
        for app_id in ids:
            assert app_id != FOREIGN, f"{what}: nobody asked for that"
            assert app_id in held, f"{what}: not claimed"
            item = self.world.resource(held[app_id].rpartition("/")[2])
            if item is None:
                continue
            management = item["spec"].get("management", {})
            assert not management.get("suspend"), f"{what}: suspended"
            assert management.get("policy") != "ObserveOnly", f"{what}: observing only"
            if verb == "delete_app":
                self.judge_deletion(what, item, app_id)

    def judge_deletion(self, what: str, item: Object, app_id: str) -> None:
        management = item["spec"].get("management", {})
        wanted = item["spec"].get("id", f"/shop/{item['metadata']['name']}")
        assert "deletionTimestamp" in item["metadata"] or wanted != app_id, f"{what}: it is still asked for"
        assert management.get("deletion") != "Orphan", f"{what}: was to be left running"
        assert management.get("policy") != "NoDelete", f"{what}: was never to be deleted"

    @invariant()
    def foreign_apps_are_left_alone(self) -> None:
        if hasattr(self, "world"):
            assert self.world.marathon.definitions[FOREIGN] == self.before

    @invariant()
    def no_app_without_a_reason(self) -> None:
        """Each claimed id is one that its resource asks for, or once asked for."""
        if hasattr(self, "world"):
            for app_id, owner in self.world.claims().items():
                assert app_id in self.ids[owner.rpartition("/")[2]], f"{app_id} was never asked for by {owner}"

    @invariant()
    def statuses_are_well_formed(self) -> None:
        if not hasattr(self, "world"):
            return
        for item in self.world.kubernetes.all(PAAS_APPS):
            status = item.get("status")
            if status is None:
                continue
            PaasAppStatus.model_validate_json(json.dumps(status))
            kinds = [c["type"] for c in status["conditions"]]
            assert kinds.count("Ready") == 1
            assert len(kinds) == len(set(kinds))
            abnormal = {"Reconciling", "Stalled", "Suspended", "Advice"}
            assert all(c["status"] == "True" for c in status["conditions"] if c["type"] in abnormal)
            assert status["observedGeneration"] <= item["metadata"]["generation"]
            assert not {"Reconciling", "Stalled"} <= set(kinds)

    @invariant()
    def secrets_stay_secret(self) -> None:
        if not hasattr(self, "world"):
            return
        shown = json.dumps([self.world.kubernetes.all(r) for r in (PAAS_APPS, CONTROLLER_REVISIONS)]) + repr(self.world.recorder.events)
        assert SECRET not in shown

    # ------------------------------------------------------------------------------------------------ what users do

    @rule(
        name=st.sampled_from(NAMES),
        cmd=st.sampled_from(COMMANDS),
        instances=st.integers(0, 4),
        app_id=st.sampled_from((None, None, None, *IDS)),
        secret=st.booleans(),
        checks=st.booleans(),
        management=st.fixed_dictionaries(
            {},
            optional={
                "drift": st.sampled_from(("Correct", "Warn", "Ignore")),
                "adoption": st.sampled_from(("Refuse", "AdoptIfIdentical", "Adopt")),
                "deletion": st.sampled_from(("Delete", "Orphan")),
                "policy": st.sampled_from(("Full", "NoDelete", "ObserveOnly")),
                "suspend": st.booleans(),
            },
        ),
        on_failure=st.sampled_from(("Rollback", "Pause", "Ignore")),
    )
    def edit(  # one argument per field that is drawn
        self, *, name: str, cmd: str, instances: int, app_id: str | None, management: Any, on_failure: str, secret: bool, checks: bool
    ) -> None:
        spec: Object = {"cmd": cmd, "instances": instances, "management": management, "rollout": {"onFailure": on_failure}}
        if app_id is not None:
            spec["id"] = app_id
        if secret:
            spec["envRefs"] = [{"name": "PASSWORD", "secretKeyRef": {"name": "db", "key": "password"}}]
        if checks:
            spec["healthChecks"] = [{"protocol": "MESOS_HTTP", "path": "/"}]
        item = self.world.resource(name)
        if item is not None and "deletionTimestamp" in item["metadata"]:
            return
        self.ids[name].add(app_id or f"/shop/{name}")
        self.world.apply(name, **spec)

    @rule(name=st.sampled_from(NAMES), instances=st.integers(0, 4))
    def scale(self, name: str, instances: int) -> None:
        item = self.world.resource(name)
        if item is not None and "deletionTimestamp" not in item["metadata"]:
            spec = {k: v for k, v in item["spec"].items() if k != "clusterRef"}
            self.world.apply(name, **{**spec, "instances": instances})

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        self.world.delete(name)

    @rule(value=st.sampled_from((SECRET, SECRET + "-2")))
    def change_the_secret(self, value: str) -> None:
        self.world.secret("db", password=value)

    # ------------------------------------------------------------------------------------------------ what others do to Marathon

    @rule(app_id=st.sampled_from(IDS), cmd=st.sampled_from(("sleep 1", "sleep 9")), instances=st.integers(1, 3))
    def somebody_writes(self, app_id: str, cmd: str, instances: int) -> None:
        self.world.marathon.foreign_put({"id": app_id, "cmd": cmd, "instances": instances}, force=True)

    @rule(app_id=st.sampled_from(IDS))
    def somebody_deletes(self, app_id: str) -> None:
        if app_id in self.world.marathon.definitions:
            self.world.marathon.foreign_delete(app_id)

    @rule()
    def somebody_cancels(self) -> None:
        for plan in list(self.world.marathon.plans):
            self.world.marathon.cancel(plan)

    @rule(app_id=st.sampled_from(IDS))
    def a_task_crashes(self, app_id: str) -> None:
        app = self.world.marathon.actual(app_id)
        running = [t.id for t in app.tasks if t.state.value == "TASK_RUNNING"] if app is not None else []
        if running:
            self.world.marathon.crash_task(running[0])

    @precondition(lambda self: hasattr(self, "world") and len(self.world.marathon.agents) > 1)
    @rule()
    def an_agent_is_lost(self) -> None:
        self.world.marathon.lose_agent(self.world.marathon.agents[0])

    @rule()
    def an_agent_comes(self) -> None:
        if len(self.world.marathon.agents) < 2:
            self.world.marathon.agents.append("127.0.1.9")

    @rule()
    def marathon_fails_over(self) -> None:
        self.world.marathon.fail_over()

    @rule(error=st.sampled_from(FAULTS), times=st.integers(1, 3))
    def marathon_refuses(self, error: ShurenError, times: int) -> None:
        assert self.world.process is not None
        for name in ("put_apps", "patch_apps", "kill_tasks", "delete_app", "restore"):
            self.world.process.clusters["bj1"].marathon.fail_next(error, name=name, times=times)

    @rule(verb=st.sampled_from(("apply-status", "patch", "create")))
    def the_api_server_fails(self, verb: str) -> None:
        self.world.kubernetes.fail(verb, "*", Unreachable("etcd leader changed"))

    @rule(away=st.booleans())
    def marathon_is_away(self, *, away: bool) -> None:
        self.world.site.unreachable_since = self.world.clock.monotonic() if away else None

    # ------------------------------------------------------------------------------------------------ what happens to operators

    @rule()
    def the_operator_ends(self) -> None:
        self.run(self.world.start())

    @rule()
    def another_leads_while_this_one_is_stopped(self) -> None:
        assert self.world.process is not None
        self.deposed.append(self.world.process)
        self.run(self.world.start())

    @precondition(lambda self: bool(getattr(self, "deposed", None)))
    @rule(name=st.sampled_from(NAMES), knows=st.booleans())
    def a_deposed_one_comes_back(self, name: str, *, knows: bool) -> None:
        """It has an old picture and old keys. Whether its clock has told it or not, it cannot write to our ZooKeeper."""
        old = self.deposed[-1]
        old.lead.leads = not knows
        keys = [key for key in self.world.everyone() if key.name == name]
        commits, calls = len(self.world.site.tree.commits), len(self.world.marathon.calls)
        for key in keys:
            try:
                self.run(old.pass_over(key))
            except Fenced:
                continue
        assert len(self.world.site.tree.commits) == commits
        if knows:
            assert len(self.world.marathon.calls) == calls

    # ------------------------------------------------------------------------------------------------ time

    @rule(rounds=st.integers(1, 12))
    def let_time_pass(self, rounds: int) -> None:
        self.time_passes(rounds)

    def time_passes(self, rounds: int) -> None:
        async def go() -> None:
            for _ in range(rounds):
                await self.world.round()
                self.world.clock.shift(1.0)

        self.run(go())

    def let_go(self) -> None:
        """Whatever people hold up they let go."""

    def lives_on(self, item: Object) -> str:
        """The id of the app that a resource is to have in the end."""
        wanted: str = item["spec"].get("id", f"/shop/{item['metadata']['name']}")
        return wanted

    def come_to_rest(self) -> None:
        """Everything that was wrong outside is put right; then each resource gets what it asks for, or says why not."""
        world = self.world
        world.site.unreachable_since = None
        # a crash loop never comes to rest
        world.marathon.behave = lambda definition: Behaviour.UNPLACED if (b := broken(definition)) is Behaviour.FAILS else b
        while len(world.marathon.agents) < 2:
            world.marathon.agents.append(f"127.0.1.{len(world.marathon.agents) + 20}")
        self.run(world.start())
        self.run(world.settle(rounds=3000))
        self.let_go()
        for name in NAMES:
            item = world.resource(name)
            if item is None:
                continue
            spec, management = item["spec"], item["spec"].get("management", {})
            conditions = world.conditions(name)
            if "deletionTimestamp" in item["metadata"]:
                assert management.get("suspend"), f"{name} is not deleted: {world.message(name)}"
                continue
            assert item["status"]["observedGeneration"] == item["metadata"]["generation"]
            if management.get("suspend") or management.get("policy") == "ObserveOnly" or not spec["cmd"].startswith("sleep"):
                continue
            if "Stalled" in conditions:
                assert conditions["Stalled"][1] in {"OwnedByOther", "NotAdopted", "NotIdentical", "RolledBack", "RolloutFailed"}
                continue
            if conditions["Ready"][1] == "DeletedInMarathon":
                assert management.get("drift") in {"Warn", "Ignore"}
                continue
            app = world.marathon.actual(self.lives_on(item))
            assert app is not None, f"{name}: {conditions}"
            assert conditions["Ready"][0] == "True", f"{name}: {conditions} {world.message(name)} {app}"
            if management.get("drift", "Correct") == "Correct":
                assert (app.definition["cmd"], app.instances, app.counts.running) == (spec["cmd"], spec["instances"], spec["instances"])
        self.run(world.assert_quiet())
