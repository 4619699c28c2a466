"""The mirror: few reads per event, none without, and a last picture that no failed list can spoil."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from estate_room import Room, running, turns
from shuren.controllers.estate.pace import Pace
from shuren.domain.errors import Denied, Unreachable
from shuren.domain.marathon.state import ActualApp

_MOMENT = 0.06
"""A little more than what events are gathered for."""


async def test_the_first_picture_is_one_bulk_read() -> None:
    room = Room(apps=50)
    async with running(room.mirror.run()):
        await room.pass_time(1)
        assert room.mirror.synced
        assert room.mirror.app_count == 50
        assert (room.mirror.reads.bulk, room.mirror.reads.single) == (1, 0)
        assert room.heard.ids == {f"/a{n}" for n in range(50)}
        assert room.unreachable_since() is None
        assert room.mirror.synced_at == "2026-01-01T00:00:00Z"
        assert not room.looks_stale()


async def test_one_event_costs_one_small_read_and_is_told_within_a_moment() -> None:
    room = Room(apps=1000)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        bulk = room.mirror.reads.bulk
        room.heard.forget()
        room.put("/a7", cmd="sleep 2000")
        await room.pass_time(_MOMENT)
        app = room.mirror.app("/a7")
        assert app is not None
        assert app.definition["cmd"] == "sleep 2000"
        assert "/a7" in room.heard.ids
        assert (room.mirror.reads.bulk, room.mirror.reads.single) == (bulk, 1)


async def test_an_event_that_comes_alone_is_read_at_once_and_a_stream_of_them_every_so_often() -> None:
    """Traffic waits for the one; the other must not cost a read each."""
    room = Room(apps=100)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.event("/a1")
        await room.pass_time(0.015)
        assert room.mirror.reads.single == 1
        for _ in range(100):
            room.event("/a1")
            await room.pass_time(0.01)
        assert 10 <= room.mirror.reads.single <= 1 + 1 / Pace().gather + 1


async def test_many_events_about_one_app_are_one_read() -> None:
    room = Room(apps=10)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        for _ in range(200):
            room.event("/a1")
        await room.pass_time(_MOMENT)
        assert room.mirror.reads.single == 1


async def test_a_burst_about_many_apps_is_a_bulk_read_not_a_read_each() -> None:
    room = Room(apps=1000)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        bulk = room.mirror.reads.bulk
        for number in range(500):
            room.event(f"/a{number}")
        await room.pass_time(1)
        assert room.mirror.reads.single == 0
        assert room.mirror.reads.bulk == bulk + 1


async def test_a_long_stream_of_events_does_not_exceed_the_budget_of_small_reads() -> None:
    pace = Pace(singles=10, burst=20)
    room = Room(apps=200, pace=pace)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        for number in range(200):
            room.event(f"/a{number}")
            await room.pass_time(0.05)
        assert room.mirror.reads.single <= 20 + 10 * 10 + 10


async def test_nothing_is_read_while_nothing_happens_but_the_slow_resync() -> None:
    room = Room(apps=100)
    async with running(room.mirror.run()):
        await room.pass_time(10)
        before = (room.mirror.reads.bulk, room.mirror.reads.single, room.mirror.reads.progress)
        await room.pass_time(600)
        assert room.mirror.reads.single == 0
        assert room.mirror.reads.bulk - before[0] == 5  # every 120 s
        assert room.mirror.reads.progress - before[2] == 5


async def test_an_app_that_was_deleted_is_told_and_gone() -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.heard.forget()
        room.world.foreign_delete("/a1")
        room.world.settle()
        await room.pass_time(_MOMENT)
        assert room.mirror.app("/a1") is None
        assert "/a1" in room.heard.ids


async def test_the_last_app_may_be_deleted_too() -> None:
    room = Room(apps=1)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.world.foreign_delete("/a0")
        room.world.settle()
        await room.pass_time(130)
        assert room.mirror.app_count == 0
        assert room.unreachable_since() is None


async def test_an_empty_list_deletes_nothing() -> None:
    room = Room(apps=30)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.heard.forget()
        room.marathon.thin = lambda _: ()
        room.mirror.look_at_everything()
        await room.pass_time(10)
        assert room.mirror.app_count == 30
        assert room.heard.ids == frozenset()
        assert room.looks_stale()
        assert "keeping the last picture" in room.mirror.error
        room.marathon.thin = lambda apps: apps
        await room.pass_time(10)
        assert not room.looks_stale()


async def test_a_list_cut_short_deletes_nothing() -> None:
    room = Room(apps=300)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.marathon.thin = lambda apps: apps[:299]
        room.mirror.look_at_everything()
        await room.pass_time(10)
        assert room.mirror.app_count == 300


async def test_a_list_cut_short_at_the_very_start_is_noticed_by_what_is_claimed() -> None:
    room = Room(apps=30, expected=lambda: frozenset({"/a29", "/never-created"}))
    room.marathon.thin = lambda apps: apps[:10]
    async with running(room.mirror.run()):
        await room.pass_time(5)
        assert room.mirror.app_count == 0
        room.marathon.thin = lambda apps: apps
        await room.pass_time(10)
        assert room.mirror.synced
        assert room.mirror.app_count == 30


async def test_an_app_that_comes_while_the_list_is_on_its_way_does_not_make_the_list_a_lie() -> None:
    claimed: set[str] = set()
    room = Room(apps=3, expected=lambda: frozenset(claimed))
    async with running(room.mirror.run()):
        await room.pass_time(5)
        states = room.states

        def before_they_come(apps: tuple[ActualApp, ...]) -> tuple[ActualApp, ...]:
            room.marathon.thin = lambda all_apps: all_apps
            room.put("/new")
            return tuple(app for app in apps if app.id != "/a1")  # deleted, and there again before anybody asks for it

        claimed.add("/new")
        room.marathon.thin = before_they_come
        room.mirror.look_at_everything()
        await room.pass_time(1)
        assert room.unreachable_since() is None
        assert room.mirror.error == ""
        assert room.mirror.app_ids == {"/a0", "/a1", "/a2", "/new"}
        assert room.states <= states + 1, "of the deployment of /new, and not of a Marathon that does not answer"


@asynccontextmanager
async def _while_a_list_is_read(*, takes: float) -> AsyncIterator[Room]:
    """A thousand apps, all of which are being read anew since a second."""
    room = Room(apps=1000)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.marathon.list_takes = takes
        room.mirror.look_at_everything()
        await room.pass_time(1)
        yield room


async def test_what_happens_while_a_long_list_is_read_is_shown_at_once_and_outlives_the_list() -> None:
    async with _while_a_list_is_read(takes=10.0) as room:
        bulk = room.mirror.reads.bulk
        room.put("/a7", cmd="sleep 2000")
        room.put("/new")
        room.world.foreign_delete("/a8")
        room.heard.forget()
        await room.pass_time(_MOMENT)
        assert room.heard.ids >= {"/a7", "/a8", "/new"}
        read = room.clock.monotonic() - _MOMENT
        for _ in range(2):  # while the list is still being read, and after it
            app = room.mirror.app("/a7")
            assert app is not None
            assert app.definition["cmd"] == "sleep 2000"
            assert room.mirror.app("/new") is not None
            assert room.mirror.app("/a8") is None
            assert room.mirror.as_of("/a7") >= read
            assert room.mirror.reads.bulk == bulk, "the list is no lie because something has come meanwhile"
            await room.pass_time(12)
        assert room.unreachable_since() is None
        assert room.mirror.app_count == 1000


async def test_what_happens_while_a_long_queue_is_read_is_shown_at_once() -> None:
    room = Room(apps=100)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.marathon.queue_takes = 10.0
        room.put("/a1", instances=2)
        await room.pass_time(1)
        progress = room.mirror.reads.progress
        room.put("/a7", cmd="sleep 2000")
        await room.pass_time(_MOMENT)
        app = room.mirror.app("/a7")
        assert app is not None
        assert app.definition["cmd"] == "sleep 2000"
        assert room.mirror.reads.progress == progress, "the queue is still being read"


async def test_too_much_that_happens_while_a_long_list_is_read_is_in_the_next_list() -> None:
    async with _while_a_list_is_read(takes=3.0) as room:
        for number in range(90):
            room.put(f"/a{number}", cmd="sleep 2000")
        await room.pass_time(30)
        assert room.mirror.reads.single <= 32
        for number in range(90):
            app = room.mirror.app(f"/a{number}")
            assert app is not None
            assert app.definition["cmd"] == "sleep 2000"


async def test_a_failure_beside_a_long_list_costs_nothing_but_its_news(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(apps=10)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.marathon.list_takes = 3.0
        room.mirror.look_at_everything()
        await room.pass_time(1)
        room.marathon.fail_next(Unreachable("no answer"), name="app")
        room.put("/a7", cmd="sleep 2000")
        await room.pass_time(_MOMENT)
        assert room.unreachable_since() is None
        await room.pass_time(10)
        app = room.mirror.app("/a7")
        assert app is not None
        assert app.definition["cmd"] == "sleep 2000"
        assert "Marathon cannot be read" not in caplog.text


async def test_many_apps_that_are_really_gone_are_believed_after_a_few_questions() -> None:
    room = Room(apps=200)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.world.update([], deletes=[f"/a{number}" for number in range(150)], force=True)
        room.world.settle()
        before = room.mirror.reads.single
        await room.pass_time(10)
        assert room.mirror.app_count == 50
        assert room.mirror.reads.single - before <= Pace().witnesses * 2


async def test_a_failing_marathon_keeps_the_picture_and_says_since_when() -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        states = room.states
        room.marathon.down = Unreachable("connection refused")
        room.event("/a1")
        await room.pass_time(20)
        assert room.mirror.app_count == 3
        since = room.unreachable_since()
        assert since is not None
        assert 5 <= since < 6.1
        assert room.mirror.error == "connection refused"
        assert room.states == states + 1
        room.marathon.down = None
        await room.pass_time(10)
        assert room.unreachable_since() is None
        assert room.mirror.error == ""
        assert room.states == states + 2


async def test_refused_credentials_are_told_apart() -> None:
    room = Room(apps=1)
    room.marathon.down = Denied("401")
    async with running(room.mirror.run()):
        await room.pass_time(2)
        assert room.mirror.denied
        room.marathon.down = None
        await room.pass_time(10)
        assert not room.mirror.denied


async def test_a_cut_stream_is_taken_up_again_and_everything_is_read_anew() -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.world.cut_streams()
        await turns()
        assert room.looks_stale()
        room.put("/a9", cmd="sleep 9")  # nobody hears of it
        await room.pass_time(5)
        assert room.mirror.app("/a9") is not None
        assert not room.looks_stale()
        assert room.mirror.synced_at > "2026-01-01T00:00:04Z"


async def test_without_any_stream_the_picture_is_kept_by_polling() -> None:
    room = Room(apps=3)
    room.marathon.fail_next(Unreachable("no stream here"), name="events", times=10_000)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        assert room.mirror.synced
        since = room.mirror.synced_at
        room.put("/a9")
        await room.pass_time(20)
        assert room.mirror.app("/a9") is not None
        assert room.looks_stale()
        assert room.mirror.synced_at == since, "polling is no news"


async def test_a_resync_finds_what_no_event_told() -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.world.definitions["/a1"] = {**room.world.definitions["/a1"], "cmd": "changed behind everybody's back"}
        room.heard.forget()
        await room.pass_time(121)
        assert room.heard.ids == {"/a1"}


async def test_deployments_and_queue_are_followed_while_they_last() -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.put("/a1", instances=2)
        await room.pass_time(0.3)
        deployment = room.mirror.deployment("/a1")
        assert deployment is not None
        assert room.mirror.deployment_count == 1
        while room.world.tick():
            await room.pass_time(0.3)
        await room.pass_time(3)
        assert room.mirror.deployment("/a1") is None
        assert room.mirror.queue_item("/a1") is None
        app = room.mirror.app("/a1")
        assert app is not None
        assert app.counts.running == 2
        assert room.mirror.task_count == 2


async def test_a_deployment_that_hangs_is_looked_at_ever_less() -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.put("/a1", instances=2)  # and nobody ticks
        await room.pass_time(60)
        before = room.mirror.reads.progress
        await room.pass_time(60)
        assert 5 <= room.mirror.reads.progress - before <= 8


async def test_what_was_just_written_is_told_even_when_it_looks_the_same() -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.heard.forget()
        written_at = room.clock.monotonic()
        assert room.mirror.as_of("/a1") < written_at
        room.mirror.look_at(["/a1"])
        await room.pass_time(_MOMENT)
        assert room.mirror.as_of("/a1") >= written_at
        assert "/a1" in room.heard.ids


async def test_unknown_events_and_odd_payloads_do_no_harm() -> None:
    room = Room(apps=1)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.world.publish("from_the_future", appId=5)
        room.world.publish("deployment_info", plan={"steps": "none"})
        room.world.publish("api_post_event", appDefinition=None)
        room.event("/a0")
        await room.pass_time(_MOMENT)
        assert room.mirror.reads.single == 1


async def test_an_answer_that_no_one_thought_of_keeps_the_picture_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        nonsense: Any = (None,)  # what no type allows
        room.marathon.thin = lambda _: nonsense
        room.mirror.look_at_everything()
        await room.pass_time(10)
        assert room.mirror.app_count == 3
        assert room.unreachable_since() is not None
        assert "could not be understood" in room.mirror.error
        assert "mistake in the program" in caplog.text
        room.marathon.thin = lambda apps: apps
        await room.pass_time(10)
        assert room.unreachable_since() is None


async def test_an_event_that_no_one_thought_of_costs_the_stream_only(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.marathon.fail_next(ValueError("odd"), name="events")  # type: ignore[arg-type]  # what no port allows
        room.world.cut_streams()
        await room.pass_time(20)
        assert not room.looks_stale()
        assert "mistake in the program" in caplog.text


async def test_a_silent_stream_does_not_hide_how_a_deployment_went_on() -> None:
    room = Room(apps=3)
    async with running(room.mirror.run()):
        await room.pass_time(5)
        room.world.mute()
        room.put("/a1", instances=2)
        room.mirror.look_at(["/a1"])
        await room.pass_time(2)
        assert room.mirror.deployment("/a1") is not None
        room.world.settle()
        await room.pass_time(12)
        assert room.mirror.deployment("/a1") is None
        app = room.mirror.app("/a1")
        assert app is not None
        assert app.counts.running == 2
        assert app.deployments == ()
