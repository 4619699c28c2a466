"""Agents that are lost, return or go for good, under each unreachable strategy."""

from __future__ import annotations

from typing import Any

from sandbox_room import Room, labels
from shuren.sandbox.agents.agent import Agent
from shuren.sandbox.engine.model import Condition


def agent_of(room: Room, app_id: str) -> Agent:
    found = room.leading.world.agents.get(room.instances(app_id)[0].agent_id)
    assert found is not None
    return found


def strategy(inactive: int, expunge: int) -> dict[str, Any]:
    return {"unreachableStrategy": {"inactiveAfterSeconds": inactive, "expungeAfterSeconds": expunge}}


async def test_by_default_a_lost_task_is_replaced_and_forgotten_at_once(room: Room) -> None:
    await room.settled("/a")
    (lost,) = room.instances("/a")
    room.leading.reachability.partition(agent_of(room, "/a"))
    room.until(lambda: room.running("/a") == 1 and room.instances("/a")[0] is not lost)
    assert len(room.instances("/a")) == 1
    states = [e["taskStatus"] for e in room.events() if e["eventType"] == "status_update_event"]
    assert "TASK_UNREACHABLE" in states


async def test_a_forgotten_task_is_killed_when_its_agent_returns(room: Room) -> None:
    await room.settled("/a")
    agent, (lost,) = agent_of(room, "/a"), room.instances("/a")
    room.leading.reachability.partition(agent)
    room.until(lambda: room.running("/a") == 1 and lost not in room.instances("/a"))
    room.events()
    room.leading.reachability.come_back(agent)
    room.advance(5)
    gone = [e for e in room.events() if e["eventType"] == "unknown_instance_terminated_event"]
    assert [(e["instanceId"], e["runSpecId"], e["condition"]) for e in gone] == [(lost.id, "/a", "Killed")]
    assert room.running("/a") == 1


async def test_a_forgotten_task_is_killed_by_the_next_leader_too(room: Room) -> None:
    await room.settled("/a")
    agent, (lost,) = agent_of(room, "/a"), room.instances("/a")
    room.leading.reachability.partition(agent)
    room.until(lambda: room.running("/a") == 1 and lost not in room.instances("/a"))
    room.leading.flush()
    for _ in range(2):  # it is kept from one leader to the next as long as its agent is away
        await room.restart()
        assert room.running("/a") == 1
    room.events()
    again = room.leading.world.agents.get(agent.id)
    assert again is not None
    room.leading.reachability.come_back(again)
    room.advance(5)
    gone = [e for e in room.events() if e["eventType"] == "unknown_instance_terminated_event"]
    assert [(e["instanceId"], e["runSpecId"], e["condition"]) for e in gone] == [(lost.id, "/a", "Killed")]
    await room.restart()
    room.advance(5)
    assert room.running("/a") == 1
    assert not [e for e in room.events() if e["eventType"] == "unknown_instance_terminated_event"]


async def test_it_waits_before_it_replaces_and_before_it_forgets(room: Room) -> None:
    await room.settled("/a", **strategy(10, 30))
    (lost,) = room.instances("/a")
    room.leading.reachability.partition(agent_of(room, "/a"))
    room.advance(9)
    assert (lost.condition, len(room.instances("/a"))) == (Condition.UNREACHABLE, 1)
    assert room.tasks("/a")[0]["state"] == "TASK_UNREACHABLE"
    assert "stagedAt" in room.tasks("/a")[0]
    room.advance(2)
    assert lost.condition is Condition.UNREACHABLE_INACTIVE
    assert "stagedAt" not in lost.json()
    assert len(room.instances("/a")) == 2
    room.until(lambda: lost not in room.instances("/a"), seconds=300)
    assert room.running("/a") == 1


async def test_the_overdue_are_forgotten_by_a_job_that_starts_late_and_comes_every_half_minute(room: Room) -> None:
    began = room.clock.now()
    await room.settled("/a", **strategy(1, 2))
    (lost,) = room.instances("/a")
    room.leading.reachability.partition(agent_of(room, "/a"))
    room.advance(began + 299 - room.clock.now())
    assert lost in room.instances("/a"), "long overdue, but nobody has looked"
    room.advance(2)
    assert lost not in room.instances("/a")
    (lost,) = room.instances("/a")
    room.leading.reachability.partition(agent_of(room, "/a"))
    room.advance(began + 329 - room.clock.now())
    assert lost in room.instances("/a")
    room.advance(2)
    assert lost not in room.instances("/a")


async def test_what_is_not_given_up_yet_is_not_forgotten(room: Room) -> None:
    await room.settled("/a", **strategy(400, 400))
    (lost,) = room.instances("/a")
    room.advance(600)
    room.leading.reachability.partition(agent_of(room, "/a"))
    room.advance(399)
    assert (lost.condition, room.instances("/a")) == (Condition.UNREACHABLE, [lost])
    room.advance(35)
    assert lost not in room.instances("/a")


async def test_a_task_that_returns_in_time_runs_again_and_the_surplus_goes(room: Room) -> None:
    await room.settled("/a", **strategy(10, 300))
    agent, (lost,) = agent_of(room, "/a"), room.instances("/a")
    room.leading.reachability.partition(agent)
    room.advance(20)
    assert room.running("/a") == 1
    assert len(room.instances("/a")) == 2
    room.leading.reachability.come_back(agent)
    room.advance(5)
    assert room.instances("/a") == [lost]
    assert lost.condition is Condition.RUNNING


async def test_disabled_waits_for_ever(room: Room) -> None:
    await room.settled("/a", unreachableStrategy="disabled")
    agent, (lost,) = agent_of(room, "/a"), room.instances("/a")
    room.leading.reachability.partition(agent)
    room.advance(2_000)
    assert room.instances("/a") == [lost]
    room.leading.reachability.come_back(agent)
    assert lost.condition is Condition.RUNNING


async def test_what_happens_in_the_dark_is_seen_on_return(room: Room) -> None:
    await room.settled("/a", unreachableStrategy="disabled", labels=labels(fail_after=20), backoffSeconds=0)
    agent = agent_of(room, "/a")
    room.leading.reachability.partition(agent, after=5)
    room.advance(4)
    assert room.running("/a") == 1
    room.advance(30)
    assert room.instances("/a")[0].condition is Condition.UNREACHABLE
    room.leading.reachability.come_back(agent)
    assert room.leading.world.failures["/a"]["message"] == "Command exited with status 1"


async def test_a_partitioned_agent_makes_no_offers(room: Room) -> None:
    agents = list(room.leading.world.agents)
    for agent in agents:
        room.leading.reachability.partition(agent)
    await room.put("/a")
    room.advance(60)
    assert room.running("/a") == 0
    room.leading.reachability.come_back(agents[0])
    room.until(lambda: room.running("/a") == 1)


async def test_an_agent_gone_for_good_takes_its_tasks_along(room: Room) -> None:
    await room.settled("/a", unreachableStrategy="disabled")
    agent = agent_of(room, "/a")
    room.leading.reachability.remove(agent, gone=True)
    room.until(lambda: room.running("/a") == 1, seconds=10)
    assert room.instances("/a")[0].host != agent.hostname
    assert room.leading.world.failures["/a"]["state"] == "TASK_GONE_BY_OPERATOR"
    assert room.leading.world.agents.get(agent.id) is None


async def test_a_removed_agent_leaves_unreachable_tasks(room: Room) -> None:
    await room.settled("/a", unreachableStrategy="disabled")
    room.leading.reachability.remove(agent_of(room, "/a"), gone=False)
    room.advance(100)
    assert room.instances("/a")[0].condition is Condition.UNREACHABLE
    await room.delete("/a")
    room.until(lambda: not room.deployments())
    assert room.instances("/a") == []


async def test_strategies_go_on_after_a_change_of_leader(room: Room) -> None:
    await room.settled("/a", **strategy(10, 30))
    room.leading.reachability.partition(agent_of(room, "/a"))
    room.advance(5)
    await room.restart()
    room.advance(6)
    assert len(room.instances("/a")) == 2
    room.until(lambda: len(room.instances("/a")) == 1, seconds=300)


async def test_an_agent_lost_shortly_before_a_change_of_leader_is_lost_after_it(room: Room) -> None:
    await room.settled("/a", unreachableStrategy="disabled")
    agent = room.leading.world.agents.get(room.instances("/a")[0].agent_id)
    assert agent is not None
    room.leading.reachability.partition(agent, after=75)
    room.advance(1)
    assert room.running("/a") == 1
    await room.restart()
    room.advance(1)
    assert room.tasks("/a")[0]["state"] == "TASK_UNREACHABLE"
