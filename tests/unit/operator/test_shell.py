"""The application inside `kopf run`: a real one, whose API server is not there."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import kopf
import pytest
import yaml

from engine_process import free_port
from shuren.clients.clock import SystemClock
from shuren.clients.kubernetes.config import Access
from shuren.domain.errors import Invalid
from shuren.domain.identity import ObjectKey
from shuren.operator.application import KINDS, Application, MakeSource, Surroundings
from shuren.operator.settings import EventSourceKind, Settings
from shuren.operator.shell import Shell, register
from shuren.ports.kubernetes import PAAS_APPS
from tls_room import answering, serving

APP = ObjectKey(kind="PaasApp", namespace="n", name="a")


async def prepare(settings: Settings, access: Access, *, make_source: MakeSource | None = None) -> Application:
    """As in production, without looking at the API server first."""
    surroundings = Surroundings(access=access, clock=SystemClock(), installation="test")
    return Application(settings=settings, surroundings=surroundings, make_source=make_source)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_loggers: None) -> None:
    """A kubeconfig that leads nowhere."""
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "x", "user": {}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("SHUREN_METRICS_PORT", "0")


@pytest.fixture
def terminated() -> Iterator[asyncio.Event]:
    """Set when the process is asked to end."""
    asked = asyncio.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    yield asked
    signal.signal(signal.SIGTERM, before)


async def test_the_application_lives_from_start_to_stop_and_gets_what_kopf_brings() -> None:
    shell = Shell(prepare)
    shell.forward(PAAS_APPS, "ADDED", {"metadata": {"name": "early"}})
    assert (shell.ready(), shell.leading()) == ("starting", False)
    await shell.start(kopf.OperatorSettings())
    assert shell.ready() == "the first list of our kinds is not complete"
    assert not shell.leading()
    shell.forward(PAAS_APPS, "", {"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"}})
    application = shell._application
    assert application is not None
    assert application.store.get(APP) is not None
    async with asyncio.timeout(30):
        await shell.stop()
    assert shell.ready() == "shutting down"


async def test_stopping_before_the_start_is_nothing() -> None:
    await Shell(prepare).stop()


async def test_with_the_native_source_kopf_brings_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUREN_EVENT_SOURCE", EventSourceKind.NATIVE.value)
    shell = Shell(prepare)
    await shell.start(kopf.OperatorSettings())
    shell.forward(PAAS_APPS, "ADDED", {"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"}})
    application = shell._application
    assert application is not None
    assert application.store.get(APP) is None
    await shell.stop()


async def test_what_cannot_work_here_ends_kopf_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(settings: Settings, access: Access, *, make_source: MakeSource | None = None) -> Application:
        raise Invalid("apply the CRDs first")

    with pytest.raises(kopf.PermanentError, match="apply the CRDs first"):
        await Shell(refuse).start(kopf.OperatorSettings())
    monkeypatch.setenv("SHUREN_WORKERS", "none")
    with pytest.raises(kopf.PermanentError, match="SHUREN_WORKERS"):
        await Shell(prepare).start(kopf.OperatorSettings())


async def test_kopf_does_not_outlive_the_application(
    monkeypatch: pytest.MonkeyPatch, terminated: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(answering({}), None) as port:
        monkeypatch.setenv("SHUREN_METRICS_ADDRESS", "127.0.0.1")
        monkeypatch.setenv("SHUREN_METRICS_PORT", str(port))
        shell = Shell(prepare)
        await shell.start(kopf.OperatorSettings())
        async with asyncio.timeout(30):
            await terminated.wait()
        await shell.stop()


def test_only_harmless_handlers_are_registered() -> None:
    registry = kopf.OperatorRegistry()
    before = kopf.get_default_registry()
    kopf.set_default_registry(registry)
    try:
        register(prepare)
    finally:
        kopf.set_default_registry(before)
    assert len(registry._activities.get_all_handlers()) == 5, "start, stop, login and two probes"
    assert len(registry._watching.get_all_handlers()) == len(KINDS)
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()


async def test_a_port_of_our_own_serves_while_kopf_runs_us(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("SHUREN_METRICS_ADDRESS", "127.0.0.1")
    monkeypatch.setenv("SHUREN_METRICS_PORT", str(port))
    shell = Shell(prepare)
    await shell.start(kopf.OperatorSettings())
    async with asyncio.timeout(30):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            break
    writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
    assert b"503" in await reader.readline()
    writer.close()
    await shell.stop()
