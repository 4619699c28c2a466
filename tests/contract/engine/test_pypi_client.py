"""The client library from PyPI works against the engine as it does against a real Marathon."""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import marathon
import pytest
import requests
from marathon.models import MarathonApp, MarathonHealthCheck

from engine_process import engine

pytestmark = pytest.mark.contract
HTTP_SERVER = "exec python3 -m http.server $PORT0 --bind $HOST"


@pytest.fixture(autouse=True)
def old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's last release uses a name that Python 3.10 has moved."""
    monkeypatch.setattr(collections, "Iterable", collections.abc.Iterable, raising=False)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with engine(tmp_path_factory.mktemp("pypi"), "--agents", "2", "--runner", "process") as url:
        yield marathon.MarathonClient(url)


def wait_for(what: Callable[[], bool], seconds: float = 30.0) -> None:
    """Asks until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def test_life_of_an_app(client: Any) -> None:
    check = MarathonHealthCheck(path="/", protocol="HTTP", port_index=0, interval_seconds=1, grace_period_seconds=10, timeout_seconds=2)
    app = client.create_app("/pypi/web", MarathonApp(cmd=HTTP_SERVER, cpus=0.1, mem=32, instances=1, health_checks=[check]))
    assert (app.id, app.instances) == ("/pypi/web", 1)
    wait_for(lambda: client.get_app("/pypi/web").tasks_healthy == 1)
    assert "/pypi/web" in [listed.id for listed in client.list_apps()]
    assert client.list_apps(cmd="http.server", embed_tasks=True)[0].tasks[0].app_id == "/pypi/web"

    client.scale_app("/pypi/web", instances=2)
    wait_for(lambda: client.get_app("/pypi/web").tasks_healthy == 2 and not client.list_deployments())
    tasks = client.list_tasks("/pypi/web")
    assert all(task.state == "TASK_RUNNING" for task in tasks)

    before = client.get_app("/pypi/web").version
    client.update_app("/pypi/web", MarathonApp(labels={"tier": "web"}))
    wait_for(lambda: not client.list_deployments())
    assert client.get_app("/pypi/web").labels == {"tier": "web"}
    assert before in client.list_versions("/pypi/web")
    assert client.get_version("/pypi/web", before).labels == {}

    victim = client.list_tasks("/pypi/web")[0]
    killed = client.kill_task("/pypi/web", victim.id, scale=False)
    assert killed.id == victim.id
    client.restart_app("/pypi/web", force=True)
    wait_for(lambda: not client.list_deployments() and client.get_app("/pypi/web").tasks_healthy == 2)

    client.kill_tasks("/pypi/web", scale=True)
    wait_for(lambda: client.get_app("/pypi/web").tasks_running == 0 and not client.list_deployments())
    assert client.get_app("/pypi/web").instances == 0
    client.delete_app("/pypi/web")
    with pytest.raises(marathon.exceptions.NotFoundError):
        client.get_app("/pypi/web")


def test_deployments_and_system(client: Any) -> None:
    client.create_app("/pypi/wait", MarathonApp(cmd="sleep 100", cpus=0.1, mem=32, constraints=[["hostname", "LIKE", "nowhere"]]))
    wait_for(lambda: len(client.list_deployments()) == 1)
    deployment = client.list_deployments()[0]
    assert deployment.affected_apps == ["/pypi/wait"]
    with pytest.raises(marathon.exceptions.ConflictError):
        client.scale_app("/pypi/wait", instances=2)
    # `role` in queue items is unknown to this client, also on a real Marathon
    with pytest.raises(TypeError, match="role"):
        client.list_queue()
    client.delete_deployment(deployment.id, force=True)
    wait_for(lambda: not client.list_deployments())
    client.delete_app("/pypi/wait", force=True)
    assert client.ping() == b'"pong"', "it asks for JSON"
    assert client.get_info().name == "marathon"
    assert client.get_leader()["leader"]
    assert "counters" in client.get_metrics()
    with pytest.raises(marathon.exceptions.MarathonHttpError, match="HTTP 422"):
        client.create_app("/pypi/bad", MarathonApp(cmd="sleep 1", cpus=-1))


def test_event_stream(client: Any) -> None:
    seen: set[str] = set()

    def read() -> None:
        # the stream ends with the engine, whenever the test is over
        with contextlib.suppress(requests.exceptions.RequestException):
            for line in client.event_stream(raw=True):
                seen.add(json.loads(line)["eventType"])

    # the client reads in blocks of 512 bytes, so that single events come late, also from a real Marathon: its own reader, and much to read
    threading.Thread(target=read, daemon=True).start()
    numbers = itertools.count()
    wanted = {"event_stream_attached", "api_post_event", "group_change_success", "deployment_success"}

    def has_seen_all() -> bool:
        client.create_app(f"/pypi/quiet{next(numbers)}", MarathonApp(cmd="sleep 1", instances=0))
        return wanted <= seen

    wait_for(has_seen_all)
