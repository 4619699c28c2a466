"""The Mesos operator API over a running engine."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from served_engine import Served, until
from shuren.sandbox.engine.completed import MAX_COMPLETED, MAX_COMPLETED_EXECUTORS, Completed, EndedTask
from shuren.sandbox.engine.model import Instance


async def test_the_master_shows_agents_frameworks_and_tasks(served: Served) -> None:
    await served.put("/shop/web", instances=2, labels={"a": "b"})
    await served.running("/shop/web", 2)
    state = await served.ask_mesos("/state")
    assert [a["hostname"] for a in state["slaves"]] == ["127.0.0.1", "127.0.0.2"]
    assert state["activated_slaves"] == 2
    (framework,) = state["frameworks"]
    assert framework["id"] == served.engine.leading.world.framework_id
    tasks = framework["tasks"]
    assert {t["name"] for t in tasks} == {"web.shop"}
    assert {t["state"] for t in tasks} == {"TASK_RUNNING"}
    assert tasks[0]["labels"] == [{"key": "a", "value": "b"}]
    marathon = {t["id"] for t in (await served.get("/v2/tasks"))["tasks"]}
    assert {t["id"] for t in tasks} == marathon
    assert (await served.ask_mesos("/master/state"))["id"] == state["id"]
    slaves = (await served.ask_mesos("/slaves"))["slaves"]
    assert sum(s["used_resources"]["cpus"] for s in slaves) == 0.2
    metrics = await served.ask_mesos("/metrics/snapshot")
    assert (metrics["master/slaves_active"], metrics["master/tasks_running"]) == (2.0, 2.0)
    assert {t["id"] for t in (await served.ask_mesos("/tasks"))["tasks"]} == marathon


REAL: dict[str, Any] = json.loads((Path(__file__).parent / "mesos-shapes.json").read_text("utf-8"))
"""What a Mesos 1.11.0 answers with a framework like Marathon, a task that runs and one that has ended: keys and kinds of values."""
ONLY_THERE = {
    "git_sha", "git_tag", "build_date", "build_time", "build_user",  # of another program
    "uuid", "status_update_uuid", "executor_pid",  # of a protocol that nobody speaks here
    "message",  # of the last status
}  # fmt: skip
ONLY_HERE = {
    "pid",  # of a framework that speaks the old protocol, as Marathon does
    "cluster", "healthy", "name",  # where they are known
}  # fmt: skip


def shape(value: Any, path: str = "") -> Any:
    """Keys and kinds: a list is that of one item which has whatever any of them has."""
    match value:
        case dict() if path.endswith(("/flags", "/attributes")):
            return "object"
        case dict():
            return {key: shape(item, f"{path}/{key}") for key, item in value.items()}
        case list():
            items = [shape(item, path) for item in value]
            return [functools.reduce(merged, items)] if items else []
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case _:
            return "text"


def merged(one: Any, other: Any) -> Any:
    match one, other:
        case dict(), dict():
            return {**one, **{key: merged(one[key], item) if key in one else item for key, item in other.items()}}
        case [first], [second]:
            return [merged(first, second)]
        case [], list():
            return other
        case _:
            return one


def differences(real: Any, here: Any, path: str = "") -> Iterator[str]:
    match real, here:
        case dict(), dict():
            yield from (f"{path}/{key} is missing" for key in real.keys() - here.keys() - ONLY_THERE)
            yield from (f"{path}/{key} is not there in reality" for key in here.keys() - real.keys() - ONLY_HERE)
            for key in real.keys() & here.keys():
                yield from differences(real[key], here[key], f"{path}/{key}")
        case [one], [other]:
            yield from differences(one, other, path)
        case [], list():
            pass  # there was none to look at
        case _ if real != here:
            yield f"{path} is {here}, not {real}"


async def test_every_answer_has_the_shape_of_a_real_one(served: Served) -> None:
    await served.put("/web", instances=2, labels={"a": "b"}, constraints=[["hostname", "UNIQUE"]])
    await served.put("/short", labels={"a": "b", "SIM_FAIL_AFTER": "0"}, backoffSeconds=3600)
    await served.running("/web", 2)

    async def ended() -> bool:
        tasks = (await served.ask_mesos("/tasks"))["tasks"]
        return any(task["state"] == "TASK_FAILED" for task in tasks)

    await until(ended)
    found = []
    for asked, real in REAL.items():
        if asked.startswith("/"):
            answer = await served.ask_mesos(asked)
        else:
            answer = await served.ask_mesos("/api/v1", method="POST", json={"type": asked})
        found += [f"{asked}: {difference}" for difference in differences(real, shape(answer))]
    assert sorted(set(found)) == []


async def test_the_operator_api(served: Served) -> None:
    await served.put("/a")
    await served.running("/a", 1)
    agents = await served.ask_mesos("/api/v1", method="POST", json={"type": "GET_AGENTS"})
    assert [a["agent_info"]["hostname"] for a in agents["get_agents"]["agents"]] == ["127.0.0.1", "127.0.0.2"]
    tasks = await served.ask_mesos("/api/v1", method="POST", json={"type": "GET_TASKS"})
    assert [t["state"] for t in tasks["get_tasks"]["tasks"]] == ["TASK_RUNNING"]
    state = await served.ask_mesos("/master/api/v1", method="POST", json={"type": "GET_STATE"})
    assert set(state["get_state"]) >= {"get_tasks", "get_agents", "get_frameworks"}
    async with served.session.post(served.mesos + "/api/v1", json={"type": "TEARDOWN", "teardown": {}}) as answer:
        assert answer.status == 501
    for kind in ("GET_HEALTH", "GET_VERSION", "GET_FRAMEWORKS", "GET_EXECUTORS", "GET_FLAGS", "GET_METRICS", "GET_MASTER"):
        answered = await served.ask_mesos("/api/v1", method="POST", json={"type": kind, kind.lower(): {}})
        assert (answered["type"], kind.lower() in answered) == (kind, True)


TYPE = "Failed to validate master::Call: Expecting 'type' to be present"


@pytest.mark.parametrize(
    ("method", "headers", "body", "status", "text"),
    [
        ("POST", {"Content-Type": "application/json"}, b"{", 400, "Failed to parse body into JSON: "),
        ("POST", {"Content-Type": "application/json"}, b"{}", 400, TYPE),
        ("POST", {"Content-Type": "application/json"}, b'{"type": []}', 400, TYPE),
        ("POST", {"Content-Type": "application/json"}, b'{"type": "NOPE"}', 400, TYPE),
        ("POST", {"Content-Type": "application/json"}, b'{"type": "GET_METRICS"}', 400, TYPE.replace("type", "get_metrics")),
        ("POST", {"Content-Type": "text/plain"}, b"{}", 415, "Expecting 'Content-Type' of application/json or application/x-protobuf"),
        (
            "POST",
            {"Content-Type": "application/json", "Accept": "text/html"},
            b'{"type": "GET_HEALTH"}',
            406,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        ),
        ("GET", {}, b"", 405, "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'."),
    ],
)
async def test_operator_calls_that_are_refused(  # noqa: PLR0917 - a table of requests and answers
    served: Served, method: str, headers: dict[str, str], body: bytes, status: int, text: str
) -> None:
    async with served.session.request(method, served.mesos + "/api/v1", headers=headers, data=body) as answer:
        assert answer.status == status
        assert (await answer.text()).startswith(text)


async def test_summary_metrics_and_pages(served: Served) -> None:
    await served.put("/a", instances=3)
    await served.running("/a", 3)
    summary = await served.ask_mesos("/state-summary")
    assert summary["frameworks"][0]["TASK_RUNNING"] == 3
    assert sum(agent["TASK_RUNNING"] for agent in summary["slaves"]) == 3
    assert "tasks" not in summary["frameworks"][0]
    assert len((await served.ask_mesos("/tasks?limit=2"))["tasks"]) == 2
    assert len((await served.ask_mesos("/tasks?limit=2&offset=2"))["tasks"]) == 1
    one = (await served.ask_mesos("/tasks"))["tasks"][0]["id"]
    assert [t["id"] for t in (await served.ask_mesos(f"/tasks?task_id={one}"))["tasks"]] == [one]
    first = (await served.ask_mesos("/slaves"))["slaves"][0]["id"]
    assert [a["id"] for a in (await served.ask_mesos(f"/slaves?slave_id={first}"))["slaves"]] == [first]
    metrics = await served.ask_mesos("/metrics/snapshot")
    assert (metrics["master/elected"], metrics["master/cpus_total"], metrics["master/mem_used"]) == (1.0, 32.0, 96.0)
    assert metrics["system/cpus_total"] >= 1
    assert all(isinstance(value, float) for value in metrics.values())


async def test_an_agent_shows_executors_and_their_files(served: Served) -> None:
    await served.put("/a")
    await served.running("/a", 1)
    (task,) = (await served.get("/v2/tasks"))["tasks"]
    agent = next(s for s in (await served.ask_mesos("/slaves"))["slaves"] if s["id"] == task["slaveId"])
    number = agent["pid"].split(")")[0].removeprefix("slave(")
    state = await served.ask_mesos(f"/slave({number})/state")
    (executor,) = state["frameworks"][0]["executors"]
    assert executor["tasks"][0]["id"] == task["id"]
    directory = executor["directory"]
    sandbox = served.engine.leading.world.sandbox_of(task["slaveId"], task["id"].rsplit(".", 2)[0], task["id"])
    assert str(sandbox) == directory
    sandbox.mkdir(parents=True)
    (sandbox / "stdout").write_text("hello\n")
    (sandbox / ".task").write_text("{}")
    files = await served.ask_mesos("/files/browse", params={"path": directory})
    assert [(f["path"], f["size"]) for f in files] == [(f"{directory}/stdout", 6)]
    assert files[0]["mode"].startswith("-rw")
    path = f"{directory}/stdout"
    assert await served.ask_mesos("/files/read", params={"path": path, "offset": "0", "length": "4"}) == {"data": "hell", "offset": 0}
    assert await served.ask_mesos("/files/read", params={"path": path}) == {"data": "", "offset": 6}
    assert await served.ask_mesos("/files/read", params={"path": path, "offset": "100"}) == {"data": "", "offset": 100}
    async with served.session.get(served.mesos + "/files/download", params={"path": path}) as answer:
        assert answer.headers["Content-Disposition"] == "attachment; filename=stdout"
        assert await answer.text() == "hello\n"
    for action, query, text in (
        ("read", {"path": path, "offset": "x"}, "Failed to parse offset: Failed to convert 'x' to number.\n"),
        ("read", {"path": path, "offset": "0", "length": "x"}, "Failed to parse length: Failed to convert 'x' to number.\n"),
        ("read", {"path": directory, "offset": "0"}, "Cannot read a directory.\n"),
        ("download", {"path": directory}, "Cannot download a directory.\n"),
        ("download", {}, "Expecting 'path=value' in query.\n"),
    ):
        async with served.session.get(served.mesos + f"/files/{action}", params=query) as answer:
            assert (answer.status, await answer.text()) == (400, text)


async def test_files_outside_sandboxes_are_not_shown(served: Served) -> None:
    for action in ("browse", "read", "download"):
        for path in ("/etc", "/etc/passwd", "../../../etc/passwd"):
            async with served.session.get(served.mesos + f"/files/{action}", params={"path": path}) as answer:
                assert answer.status == 404
    async with served.session.get(served.mesos + "/files/browse") as answer:
        assert answer.status == 400


async def test_health_redirect_and_what_is_not_there(served: Served) -> None:
    for path, status in (("/health", 200), ("/master/health", 200), ("/slave(1)/health", 200)):
        async with served.session.get(served.mesos + path) as answer:
            assert answer.status == status, path
    for path in ("/nothing", "/slave(9)/state", "/slave(1)/nothing", "/state.json", "/files/read.json", "/files/nothing"):
        async with served.session.get(served.mesos + path) as answer:
            assert (answer.status, await answer.text()) == (404, "404 Not Found."), path


async def test_lost_agents_and_tasks(served: Served) -> None:
    await served.put("/a", unreachableStrategy="disabled")
    await served.running("/a", 1)
    (task,) = (await served.get("/v2/tasks"))["tasks"]
    await served.call("POST", f"/sandbox/agents/{task['slaveId']}/partition")
    await served.running("/a", 0)
    state = await served.ask_mesos("/state")
    assert (state["unreachable_slaves"], state["activated_slaves"], len(state["slaves"])) == (1, 1, 1)
    assert len((await served.ask_mesos("/slaves"))["slaves"]) == 1
    assert (await served.ask_mesos("/metrics/snapshot"))["master/slaves_unreachable"] == 1.0
    assert [t["state"] for t in state["frameworks"][0]["unreachable_tasks"]] == ["TASK_UNREACHABLE"]


async def test_what_has_ended_is_remembered_by_master_and_agent_whoever_leads(served: Served) -> None:
    await served.put("/a", labels={"SIM_FAIL_AFTER": "0.2"}, backoffSeconds=3600, maxLaunchDelaySeconds=3600)

    async def ended() -> bool:
        return bool((await served.ask_mesos("/state"))["frameworks"][0]["completed_tasks"])

    await until(ended)
    (framework,) = (await served.ask_mesos("/state"))["frameworks"]
    (task,) = framework["completed_tasks"]
    assert (framework["tasks"], task["state"], [s["state"] for s in task["statuses"]]) == (
        [],
        "TASK_FAILED",
        ["TASK_RUNNING", "TASK_FAILED"],
    )
    assert [t["id"] for t in (await served.ask_mesos("/tasks"))["tasks"]] == [task["id"]]
    number = next(a["pid"] for a in (await served.ask_mesos("/slaves"))["slaves"] if a["id"] == task["slave_id"]).split(")")[0][6:]
    (of_agent,) = (await served.ask_mesos(f"/slave({number})/state"))["frameworks"]
    assert of_agent["executors"] == []
    (executor,) = of_agent["completed_executors"]
    assert executor["directory"].endswith(f"{task['id'].rsplit('.', 2)[0]}/runs/_app/1")
    assert executor["completed_tasks"] == [task]
    await served.call("DELETE", "/v2/apps/a")
    await served.call("POST", "/sandbox/leader/change")
    assert (await served.ask_mesos("/state"))["frameworks"][0]["completed_tasks"] == [task]
    called = {"headers": {"Content-Type": "application/json"}, "data": '{"type": "GET_TASKS"}', "method": "POST"}
    assert [t["state"] for t in (await served.ask_mesos("/api/v1", **called))["get_tasks"]["completed_tasks"]] == ["TASK_FAILED"]


def test_only_so_many_are_remembered() -> None:
    completed = Completed()
    instance = Instance(id="a.instance-x", definition={"id": "/a", "version": "1"}, now=0.0)
    instance.agent_id = "agent"
    for number in range(MAX_COMPLETED + 5):
        completed.add(EndedTask.of(instance, str(number), "TASK_FINISHED", float(number)))
    assert [task.task_id for task in completed][:: MAX_COMPLETED - 1] == ["5", str(MAX_COMPLETED + 4)]
    assert len(completed.on_agent("agent")) == MAX_COMPLETED_EXECUTORS
    completed.forget("agent")
    assert completed.on_agent("agent") == []
    assert len(list(completed)) == MAX_COMPLETED
