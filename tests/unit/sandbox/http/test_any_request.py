"""Whatever is asked is answered: no request makes the engine stumble over itself, at once or while its consequences unfold."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sandbox_bodies as bodies
from live_wire import Live
from shuren.sandbox.http.answers import FORESEEN

Request = tuple[str, str, str, Any]

PATHS = st.sampled_from(
    [
        "/a",
        "/b",
        "/g/a",
        "/g/h/b",
        "/g",
        "//a",
        "/a/",
        "/*",
        "/g/*",
        "/x.y",
        "/..",
        "/.",
        "/a/../b",
        "/A",
        "/%20",
        "/%2F",
        "/%E4%B8%AD",
        "/a%00",
    ]
)
TAILS = st.sampled_from(
    [
        "", "/restart", "/tasks", "/versions", "/versions/2026-01-01T00:00:00.000Z", "/versions/x", "/apps", "/delay", "/tasks/foo",
        "/tasks/a.instance-00000000-0000-0000-0000-000000000000._app.1", "::status", "::versions", "::versions/x", "::instances",
    ]
)  # fmt: skip
QUERIES = st.sampled_from(
    [
        "", "?force=true", "?force=true&partialUpdate=false", "?dryRun=true", "?scale=true", "?wipe=true", "?scale=true&wipe=true",
        "?embed=app.readiness&embed=app.taskStats", "?host=*", "?label=a", "?id=a&cmd=s", "?status=running", "?embed=lastUnusedOffers",
    ]
)  # fmt: skip
ROOTS = st.sampled_from(["/v2/apps", "/v2/groups", "/v2/pods", "/v2/queue", "/v2/deployments", "/v2/tasks"])
READS = st.sampled_from(
    [
        "/v2/apps",
        "/v2/groups",
        "/v2/pods",
        "/v2/pods/::status",
        "/v2/tasks",
        "/v2/queue",
        "/v2/info",
        "/v2/deployments",
        "/v2/leader",
        "/metrics",
    ]
)
TASK_IDS = st.sampled_from(["x", "a.instance-00000000-0000-0000-0000-000000000000._app.1"])


def requests(methods: str, path: st.SearchStrategy[str], body: st.SearchStrategy[Any]) -> st.SearchStrategy[Request]:
    return st.tuples(st.sampled_from(methods.split()), path, QUERIES, body)


def below(root: str) -> st.SearchStrategy[str]:
    return PATHS.map(lambda path: root + path)


REQUESTS = st.one_of(
    requests("POST", st.just("/v2/apps"), bodies.APPS),
    requests("PUT PATCH", below("/v2/apps"), st.one_of(bodies.UPDATES, bodies.APPS)),
    requests("PUT PATCH", st.just("/v2/apps"), st.lists(st.one_of(bodies.UPDATES, bodies.APPS), max_size=3)),
    requests("PUT POST PATCH", st.one_of(below("/v2/groups"), st.just("/v2/groups")), bodies.GROUPS),
    requests("POST", st.just("/v2/pods"), bodies.PODS),
    requests("PUT", below("/v2/pods"), bodies.PODS),
    requests("GET DELETE POST PUT PATCH", st.tuples(ROOTS, PATHS, TAILS).map("".join), st.one_of(st.none(), bodies.JUNK)),
    requests("POST", st.just("/v2/tasks/delete"), st.one_of(bodies.JUNK, st.fixed_dictionaries({"ids": st.lists(TASK_IDS)}))),
    requests("GET", READS, st.none()),
)


async def play(asked: list[Request]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with Live.of(Path(directory)) as live:
            for method, path, query, body in asked:
                given_body = None if body is None else json.dumps(body)
                reply = await live.send(method, path + query, given_body, headers={"Content-Type": "application/json"})
                assert 200 <= reply.status < 600, (method, path)
                live.advance(3)
            live.advance(400)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(asked=st.lists(REQUESTS, min_size=5, max_size=25))
def test_nothing_asked_is_a_surprise(asked: list[Request], caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        asyncio.run(play(asked))
    assert [record.getMessage() for record in caplog.records] == []


def test_a_surprise_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    """What the test above looks for can be seen: a fault of the program is a 500 and an error in the log, a refusal is neither."""
    assert all(issubclass(kind, Exception) for kind in FORESEEN)

    async def stumble(directory: Path) -> int:
        async with Live.of(directory) as live:
            live.engine.info = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
            return (await live.send("GET", "/v2/info")).status

    with tempfile.TemporaryDirectory() as directory, caplog.at_level(logging.ERROR):
        assert asyncio.run(stumble(Path(directory))) == 500
    assert [record.getMessage() for record in caplog.records] == ["500 for GET /v2/info"]
