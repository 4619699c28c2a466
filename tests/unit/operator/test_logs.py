"""Log lines name the resource, its generation and the pass, as JSON and for people; also across the real workers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.domain.identity import ObjectKey
from shuren.operator import logs
from shuren.operator.settings import LogFormat
from shuren.runtime.backoff import Backoff
from shuren.runtime.controller import Outcome
from shuren.runtime.queue import WorkQueue
from shuren.runtime.workers import CURRENT_PASS, PassInfo, Workers

KEY = ObjectKey(kind="PaasApp", namespace="shop", name="web")
log = logging.getLogger("shuren.test")


Output = Callable[[], str]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str], kept_loggers: None) -> Output:
    """What went to standard error since it was last asked."""
    return lambda: capsys.readouterr().err


async def one_pass(generation: int) -> None:
    """A pass of the real workers whose controller, and a task that it makes, log a line each."""

    class Speaking:
        async def reconcile(self, key: ObjectKey) -> Outcome:
            log.info("pass over %s", key.name)
            await asyncio.create_task(self.helper())
            return Outcome()

        async def helper(self) -> None:
            log.warning("helped")

    clock = ManualClock()
    queue: WorkQueue[ObjectKey] = WorkQueue(monotonic=clock.monotonic, backoff=Backoff(chance=lambda: 0.0))
    workers = Workers(queue=queue, controllers={"PaasApp": Speaking()}, clock=clock, generation=lambda _: generation)
    queue.add(KEY)
    running = asyncio.create_task(workers.run())
    async with asyncio.timeout(5):
        while KEY in queue:
            await asyncio.sleep(0)
    queue.close()
    await running


async def test_json_lines_carry_resource_generation_and_pass(output: Output) -> None:
    logs.set_up(LogFormat.JSON, "INFO")
    await one_pass(generation=7)
    log.info("outside of passes")
    first, second, outside = [json.loads(line) for line in output().splitlines()]
    for line in (first, second):
        assert (line["resource"], line["generation"], line["pass"]) == ("PaasApp/shop/web", 7, 1)
    assert (first["level"], first["logger"], first["message"]) == ("info", "shuren.test", "pass over web")
    assert second["level"] == "warning"
    assert first["time"].endswith("+00:00")
    assert not {"resource", "generation", "pass"} & outside.keys()


async def test_lines_for_people_carry_resource_generation_and_pass(output: Output) -> None:
    logs.set_up(LogFormat.CONSOLE, "INFO")
    await one_pass(generation=7)
    log.info("outside of passes")
    first, second, outside = output().splitlines()
    assert first.endswith("INFO test: pass over web [PaasApp/shop/web generation 7 #1]")
    assert second.endswith("WARN test: helped [PaasApp/shop/web generation 7 #1]")
    assert outside.endswith("INFO test: outside of passes")


@pytest.mark.parametrize(
    ("log_format", "shown"), [(LogFormat.JSON, '"resource": "PaasApp/shop/web"'), (LogFormat.CONSOLE, "[PaasApp/shop/web]")]
)
def test_a_line_beside_passes_names_the_resource_alone(output: Output, log_format: LogFormat, shown: str) -> None:
    logs.set_up(log_format, "INFO")
    token = CURRENT_PASS.set(PassInfo(key=KEY, number=0))
    log.info("watching")
    CURRENT_PASS.reset(token)
    text = output()
    assert shown in text
    assert "generation" not in text
    assert "#" not in text


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_mistake_is_shown_with_its_traceback(output: Output, log_format: LogFormat) -> None:
    logs.set_up(log_format, "INFO")
    try:
        int("a mistake")
    except ValueError:
        log.exception("pass failed")
    text = output()
    assert "Traceback" in text
    assert "ValueError: invalid literal" in text
    if log_format is LogFormat.JSON:
        assert len(text.splitlines()) == 1
        assert json.loads(text)["traceback"].startswith("Traceback")


def test_text_in_any_script_stays_readable(output: Output) -> None:
    logs.set_up(LogFormat.JSON, "INFO")
    log.info("数人云 %s", "“x”")
    assert "数人云 “x”" in output()


def test_our_level_is_chosen_and_libraries_speak_from_warning_on(output: Output) -> None:
    logs.set_up(LogFormat.CONSOLE, "ERROR")
    log.warning("ours, below the level")
    logging.getLogger("httpx").info("chatter")
    logging.getLogger("httpx").warning("trouble")
    logging.getLogger("kazoo").warning("an attempt to connect")
    logging.getLogger("kopf._core").warning("OS signals are ignored: running not in the main thread.")
    assert [line.split(" ", 2)[2] for line in output().splitlines()] == ["httpx: trouble"]


def test_an_api_server_that_is_away_is_one_warning_of_kopf_not_an_error_for_each_try(output: Output) -> None:
    logs.set_up(LogFormat.CONSOLE, "INFO")
    kopf = logging.getLogger("kopf._cogs.clients.watching")
    for attempt in ("#1", "#2", "#10", "#11"):
        kopf.error("Request attempt %s failed; will retry: GET https://api -> refused", attempt)
    kopf.error("Request attempt #1 failed; escalating: GET https://api -> not found")
    assert [line.split(" ", 1)[1] for line in output().splitlines()] == [
        "WARN kopf._cogs.clients.watching: Request attempt #1 failed; will retry: GET https://api -> refused",
        "ERRO kopf._cogs.clients.watching: Request attempt #1 failed; escalating: GET https://api -> not found",
    ]
