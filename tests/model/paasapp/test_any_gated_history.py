"""Random histories with gated roll-outs behind load balancers: as `paasapp_histories`, and what people say to a roll-out on its way."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from gated_scenarios import Balanced
from paasapp_histories import COMMANDS, IDS, NAMES, Histories
from shuren.controllers.identity import lives_on
from shuren.domain.app.pair import pair
from shuren.domain.app.progress import ANNOTATION, Command
from shuren.ports.kubernetes import Object

ANY_ID = tuple(app_id for named in IDS for app_id in pair(named))
STEPS: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"weight": 50, "pause": True}],
    [{"weight": 10}, {"weight": 0, "scale": 100}, {"weight": 50, "durationSeconds": 5}],
    [{"weight": 50, "maxErrorRate": 0.1}, {"weight": 100, "maxLatencyMillis": 100, "minRequests": 5}],
)


class GatedHistories(Histories):
    """See the module."""

    def make_world(self) -> Balanced:
        self.told = 0
        return Balanced()

    @initialize()
    def begin(self) -> None:
        """Roll-outs are what is looked for: both apps run."""
        super().begin()
        for name in NAMES:
            self.ids[name].update(pair(f"/shop/{name}"))
            self.world.apply(name, cmd="sleep 1", instances=2, rollout={"strategy": "Gated"})
        self.run(self.world.settle())

    def judge_deletion(self, what: str, item: Object, app_id: str) -> None:
        wanted = item["spec"].get("id", f"/shop/{item['metadata']['name']}")
        if "deletionTimestamp" in item["metadata"] or app_id not in pair(wanted):
            super().judge_deletion(what, item, app_id)
            return
        assert self.world.marathon.definitions[app_id]["instances"] == 0, f"{what}: it still has instances"

    @rule(
        name=st.sampled_from(NAMES),
        cmd=st.sampled_from((*COMMANDS, "bad 1")),
        instances=st.integers(0, 4),
        app_id=st.sampled_from((None, None, None, None, *IDS)),
        checks=st.booleans(),
        secret=st.booleans(),
        management=st.fixed_dictionaries(
            {},
            optional={
                "adoption": st.sampled_from(("Refuse", "AdoptIfIdentical", "Adopt")),
                "deletion": st.sampled_from(("Delete", "Orphan")),
                "suspend": st.booleans(),
            },
        ),
        steps=st.sampled_from((None, *STEPS, *STEPS)),
        on_failure=st.sampled_from(("Rollback", "Pause", "Ignore")),
        paused=st.sampled_from((False, False, True)),
        rounds=st.integers(0, 40),
    )
    def edit(  # one argument per field that is drawn
        self,
        *,
        name: str,
        cmd: str,
        instances: int,
        app_id: str | None,
        checks: bool,
        secret: bool,
        management: Any,
        steps: Any,
        on_failure: str,
        paused: bool,
        rounds: int,
    ) -> None:
        item = self.world.resource(name)
        if item is not None and "deletionTimestamp" in item["metadata"]:
            return
        gated = {} if steps is None else {"strategy": "Gated", "steps": steps, "paused": paused and bool(steps)}
        spec: Object = {"cmd": cmd, "instances": instances, "management": management, "rollout": {"onFailure": on_failure, **gated}}
        if app_id is not None:
            spec["id"] = app_id
        if secret:
            spec["envRefs"] = [{"name": "PASSWORD", "secretKeyRef": {"name": "db", "key": "password"}}]
        if checks:
            spec["healthChecks"] = [{"protocol": "MESOS_HTTP", "path": "/"}]
        self.ids[name].update(pair(app_id or f"/shop/{name}"))
        self.world.apply(name, **spec)
        self.time_passes(rounds)

    @rule(name=st.sampled_from(NAMES), word=st.sampled_from(Command))
    def say(self, name: str, word: Command) -> None:
        """Each time anew."""
        item = self.world.resource(name)
        if item is not None and "deletionTimestamp" not in item["metadata"]:
            self.told += 1
            self.world.annotate(name, **{ANNOTATION + word.value: str(self.told)})
            self.time_passes(3)

    @rule(app_id=st.sampled_from(ANY_ID), cmd=st.sampled_from(("sleep 1", "sleep 9")), instances=st.integers(1, 3))
    def somebody_writes(self, app_id: str, cmd: str, instances: int) -> None:
        self.world.marathon.foreign_put({"id": app_id, "cmd": cmd, "instances": instances}, force=True)

    @rule(app_id=st.sampled_from(ANY_ID))
    def somebody_deletes(self, app_id: str) -> None:
        if app_id in self.world.marathon.definitions:
            self.world.marathon.foreign_delete(app_id)

    @rule(app_id=st.sampled_from(ANY_ID))
    def a_task_crashes(self, app_id: str) -> None:
        app = self.world.marathon.actual(app_id)
        running = [t.id for t in app.tasks if t.state.value == "TASK_RUNNING"] if app is not None else []
        if running:
            self.world.marathon.crash_task(running[0])

    def let_go(self) -> None:
        for name in NAMES:
            item = self.world.resource(name)
            if item is None or "deletionTimestamp" in item["metadata"]:
                continue
            spec = {key: value for key, value in item["spec"].items() if key != "clusterRef"}
            spec["rollout"] = {**spec.get("rollout", {}), "paused": False}
            self.world.apply(name, annotations=item["metadata"].get("annotations"), **spec)
        self.run(self.world.settle(rounds=3000))
        for name in NAMES:
            self.say_if_paused(name)
        self.run(self.world.settle(rounds=3000))

    def say_if_paused(self, name: str) -> None:
        item = self.world.resource(name)
        if item is not None and item.get("status", {}).get("rollout", {}).get("phase") == "Paused":
            self.told += 1
            self.world.annotate(name, **{ANNOTATION + Command.PROMOTE_FULL.value: str(self.told)})

    def lives_on(self, item: Object) -> str:
        return lives_on(item)

    def come_to_rest(self) -> None:
        super().come_to_rest()
        for name in NAMES:
            item = self.world.resource(name)
            if item is None or "deletionTimestamp" in item["metadata"] or not self.world.ready(name):
                continue
            wanted = pair(item["spec"].get("id", f"/shop/{name}"))
            if item["spec"].get("management", {}).get("suspend"):
                continue
            mine = [app_id for app_id, owner in self.world.claims().items() if owner == f"shop/{name}"]
            assert mine == [lives_on(item)], f"{name} has more than it needs: {mine}"
            assert set(mine) <= set(wanted)


TestGatedHistories = GatedHistories.TestCase
TestGatedHistories.settings = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
