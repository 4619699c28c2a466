"""Kills: a hundred at a time, told again when nothing is seen (§3.6)."""

from __future__ import annotations

from pathlib import Path

from sandbox_room import Room, labels
from shuren.sandbox.agents.registry import numbered
from shuren.sandbox.engine import about
from shuren.sandbox.engine.kills import CHUNK
from shuren.sandbox.runners.simulated import SimulatedRunner


class Counting(SimulatedRunner):
    """Knows which tasks it was told to kill, in order, every time."""

    told: list[str]

    def kill(self, task_id: str, *, grace: float) -> None:
        self.told = [*getattr(self, "told", []), task_id]
        super().kill(task_id, grace=grace)


class Deaf(Counting):
    """Does not kill at the first word."""

    def kill(self, task_id: str, *, grace: float) -> None:
        heard = task_id in getattr(self, "told", [])
        self.told = [*getattr(self, "told", []), task_id]
        if heard:
            SimulatedRunner.kill(self, task_id, grace=grace)


async def test_a_hundred_at_a_time(tmp_path: Path) -> None:
    crowd = Room(tmp_path, agents=numbered(40), runner=Counting)
    try:
        await crowd.settled("/a", instances=250, cpus=0.01, mem=1, labels=labels(stop=10), taskKillGracePeriodSeconds=10)
        runner = crowd.runner
        assert isinstance(runner, Counting)
        await crowd.put("/a", instances=0, cpus=0.01, mem=1, labels=labels(stop=10), taskKillGracePeriodSeconds=10)
        crowd.advance(5)
        assert len(set(runner.told)) == CHUNK
        gauges = about.metrics(crowd.leading)["gauges"]
        assert gauges["marathon.instances.inflight-kills.gauge"]["value"] == CHUNK
        crowd.advance(6)
        assert (len(set(runner.told)), crowd.running("/a")) == (2 * CHUNK, 150)
        crowd.until(lambda: not crowd.deployments())
        assert (len(set(runner.told)), len(crowd.instances("/a"))) == (250, 0)
        assert about.metrics(crowd.leading)["gauges"]["marathon.instances.inflight-kills.gauge"]["value"] == 0
    finally:
        await crowd.close()


async def test_what_was_not_heard_is_said_again_after_half_a_minute(tmp_path: Path) -> None:
    deaf = Room(tmp_path, runner=Deaf)
    try:
        await deaf.settled("/a")
        (task,) = [i.task_id for i in deaf.instances("/a")]
        await deaf.delete("/a")
        runner = deaf.runner
        assert isinstance(runner, Deaf)
        deaf.advance(29)
        assert (runner.told, deaf.running("/a")) == ([task], 1)
        deaf.advance(2)
        assert runner.told == [task, task]
        deaf.until(lambda: not deaf.deployments())
    finally:
        await deaf.close()


async def test_a_task_that_is_lost_while_it_is_killed_makes_room(room: Room) -> None:
    await room.settled("/a", labels=labels(stop=20), taskKillGracePeriodSeconds=20)
    (instance,) = room.instances("/a")
    await room.leading.kill_tasks([instance.task_id], wipe=False)
    assert len(room.leading.lifecycle.kills) == 1
    agent = room.leading.world.agents.get(instance.agent_id)
    assert agent is not None
    room.leading.reachability.partition(agent)
    room.advance(1)
    assert len(room.leading.lifecycle.kills) == 0
