"""The demo: from `kubectl apply` to answering tasks and back, as a transcript in which each step says what it shows and then shows it.

Nothing is taken on trust: what a step claims is asked of the API server, of Marathon and of the tasks themselves, and a claim that does not
come true in time ends the demo with exit code 1 and what is needed to see why.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from shuren.devenv.background import Sandbox, up_in_background
from shuren.devenv.demo_shards import Place, grow
from shuren.devenv.errors import DevenvError, log_tail
from shuren.devenv.load import MIX, load
from shuren.devenv.options import Options
from shuren.devenv.places import find_manifests
from shuren.devenv.processes import ProcessId, marked
from shuren.devenv.state import Phase

NAMESPACE = "demo"
_APPS = ("web", "api")
_AGENTS = 4
"""As many as the store gets members, one on each."""
_INSTANCES = 2
"""Of each app in the samples."""
_PORT, _HOST = 8080, "web.example"
"""Of the service in the samples."""
_WARM = 50
"""Answers before a change begins."""
_PATIENCE = 90.0
"""Seconds that a claim may take to come true; the longest is the roll-back, whose deadline is 20 s."""
_POLL = 0.2


def run_demo(state_dir: Path, *, once: bool) -> int:
    """Run it; returns the exit code. With `once` the sandbox is taken down at the end, else after Ctrl-C. Nothing is left running."""
    me = ProcessId.of(os.getpid())
    options = Options(state_dir=state_dir.absolute(), agents=_AGENTS, operators=1, load_balancers=1, owner=me)
    sandbox = Sandbox.at(options.state_dir)
    code = 1
    try:
        code = _steps(options, sandbox, once=once)
    except DevenvError as error:
        _explain(sandbox, error)
    except KeyboardInterrupt:
        print("\ninterrupted", flush=True)
        code = 130
    finally:
        # A second Ctrl-C while things are being taken down would leave half of them.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        left = _take_down(sandbox)
        signal.signal(signal.SIGINT, previous)
    if left:
        print(f"FAILED: {left} processes were left behind")
        return 1
    return code


def _steps(options: Options, sandbox: Sandbox, *, once: bool) -> int:
    began = time.monotonic()
    _title(1, "A real control plane, ZooKeeper, HAProxy, a Marathon-compatible engine and the operator, on this machine only")
    up_in_background(options, _say)
    demo = Demo(sandbox=sandbox, samples=find_manifests().samples / "demo", say=_say)
    demo.shown("kubectl", "get", "mesosclusters")
    demo.apply_apps()
    demo.roll()
    demo.break_and_recover()
    demo.grow_store()
    if once:
        demo.delete()
        _say(f"\nAll shown in {time.monotonic() - began:.0f} s.")
    else:
        _invite(sandbox, options.state_dir)
        _until_interrupted()
    return 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """A running task and where it answers."""

    id: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The steps."""

    sandbox: Sandbox
    samples: Path
    say: Callable[[str], None]

    def apply_apps(self) -> None:
        """Two resources become running tasks that answer HTTP."""
        _title(2, "Two apps: `kubectl apply`, and the operator makes Marathon run them")
        self.shown("kubectl", "create", "namespace", NAMESPACE)
        self.apply("1-apps.yaml")
        for app in _APPS:
            self.shown("kubectl", "-n", NAMESPACE, "wait", f"paasapp/{app}", "--for=condition=Ready", f"--timeout={_PATIENCE:.0f}s")
        self.shown("kubectl", "-n", NAMESPACE, "get", "paasapps")
        self.say("Ready is a claim; the tasks are asked themselves, on the agents' addresses:")
        for app in _APPS:
            self.all_answer(app, "1")

    def roll(self) -> None:
        """A new version replaces the old one, and instances come and go, while clients ask all the time and none of them notices."""
        _title(3, "web behind HAProxy: a new version, one instance more and one fewer under load, and no request fails")
        self.apply("1-web-service.yaml")
        self.shown("kubectl", "-n", NAMESPACE, "wait", "paasservice/web", "--for=condition=Ready", f"--timeout={_PATIENCE:.0f}s")
        address = self.sandbox.endpoints.lb_addresses[0]
        self.say(f"{len(MIX)} clients begin to ask http://{address}:{_PORT}/ for {_HOST}: {', '.join(sorted({k.name for k in MIX}))}")
        with _LowestHealth(self, "web") as health, load(address, _PORT, _HOST) as tally:
            self.until("requests are answered", lambda: tally.good.total() > _WARM)
            self.apply("2-web-new-version.yaml")
            self.until("web runs the new version", lambda: self._settled("web"))
            self.all_answer("web", "2")
            for replicas in (_INSTANCES + 1, _INSTANCES):
                self.shown("kubectl", "-n", NAMESPACE, "scale", "paasapp/web", f"--replicas={replicas}")
                self.until(f"web has {replicas} instances", partial(self._has, "web", replicas))
        self.say(str(tally))
        for failure in tally.failed[:10]:
            self.say(f"  {failure}")
        if tally.failed:
            raise DevenvError(f"{len(tally.failed)} of {tally.total} requests failed while web was rolled and scaled")
        self.shown("kubectl", "-n", NAMESPACE, "get", "paasapp/web", "paasservice/web")
        self._never_fewer(health, "web")

    def break_and_recover(self) -> None:
        """A broken version is taken back by itself; a corrected one heals."""
        _title(4, "A broken version of api: it never gets healthy, so after its deadline of 20 s the operator takes it back by itself")
        with _LowestHealth(self, "api") as health:
            self.apply("3-api-broken.yaml")
            self.until("the operator has taken it back", self._taken_back)
        status = self._status("api")
        self.say("the resource says what happened:")
        for condition in status["conditions"]:
            self.say(f"  {condition['type']}={condition['status']} {condition['reason']}: {condition['message']}")
        failure = status.get("lastTaskFailure")
        if failure:
            self.say(f"  last task failure on {failure.get('host')}: {failure.get('message')}")
        self.say("and version 1 answers:")
        self.all_answer("api", "1")
        self._never_fewer(health, "api")
        _title(5, "A corrected version of api heals by itself: a new spec is a new attempt")
        self.apply("4-api-corrected.yaml")
        self.until("api runs the corrected version", lambda: self._settled("api"))
        self.all_answer("api", "3")
        self.shown("kubectl", "-n", NAMESPACE, "get", "paasapps")

    def grow_store(self) -> None:
        """A sharded store grows by a member; as few shards move as can, and no client notices."""
        _title(6, "A sharded store grows from 3 to 4 members while clients count: the fewest moves, and no request fails")
        place = Place(namespace=NAMESPACE, zookeeper=self.sandbox.endpoints.zookeeper_hosts, get=self._resource)
        grow(self, place, patience=_PATIENCE)

    def delete(self) -> None:
        """Deleting the resources ends the tasks and leaves nothing in Marathon."""
        _title(7, "Deleted resources take their tasks with them, and only theirs")
        self.shown("kubectl", "-n", NAMESPACE, "delete", "paasservices", "--all", f"--timeout={_PATIENCE:.0f}s")
        self.shown("kubectl", "-n", NAMESPACE, "delete", "shardmaps", "--all", "--wait=false")
        self.shown("kubectl", "-n", NAMESPACE, "delete", "paasapps", "--all", f"--timeout={_PATIENCE:.0f}s")
        self.shown("kubectl", "-n", NAMESPACE, "wait", "shardmap/store", "--for=delete", f"--timeout={_PATIENCE:.0f}s")
        self.until("Marathon holds no app", lambda: not self._marathon("/v2/apps")["apps"])
        self.say("apps in Marathon: none")

    def apply(self, sample: str) -> None:
        """Apply a file of `manifests/samples/demo`."""
        self.shown("kubectl", "-n", NAMESPACE, "apply", "-f", str(self.samples / sample))

    def shown(self, *command: str) -> None:
        """Run a kubectl command as a reader could type it, with its output."""
        self.say("$ " + shlex.join(_relative(word) for word in command))
        for line in self.sandbox.kubectl(*command[1:]).splitlines():
            self.say(f"  {line}")

    def all_answer(self, app: str, version: str) -> None:
        """Every task of the app answers with this version, and there are as many as wanted."""
        wanted = f"{app} version {version} on "

        def answers() -> list[tuple[Task, str]]:
            return [(task, _answer(task.url)) for task in self.tasks(app)]

        def as_wanted() -> bool:
            found = answers()
            return len(found) == _INSTANCES and all(text.startswith(wanted) for _, text in found)

        self.until(f"both tasks of {app} answer “{wanted.strip()} …”", as_wanted)
        for task, text in answers():
            self.say(f"  GET {task.url} → {text}")

    def tasks(self, app: str) -> list[Task]:
        """Running tasks, as Marathon knows them."""
        found = self._marathon(f"/v2/apps//{NAMESPACE}/{app}/tasks")["tasks"]
        return [Task(id=task["id"], url=f"http://{task['host']}:{task['ports'][0]}/") for task in found if task["state"] == "TASK_RUNNING"]

    def until(self, claim: str, come_true: Callable[[], bool]) -> None:
        """Wait for a claim. DevenvError when it does not come true in time."""
        began = time.monotonic()
        while not come_true():
            if time.monotonic() - began > _PATIENCE:
                raise DevenvError(f"did not come true within {_PATIENCE:.0f} s: {claim}")
            time.sleep(_POLL)
        self.say(f"  ✓ {claim} ({time.monotonic() - began:.1f} s)")

    def healthy(self, app: str) -> int | None:
        """Healthy instances as Marathon counts them; None when it does not answer."""
        try:
            return int(self._marathon(f"/v2/apps//{NAMESPACE}/{app}")["app"]["tasksHealthy"])
        except OSError:
            return None

    def _never_fewer(self, health: _LowestHealth, app: str) -> None:
        if health.lowest < _INSTANCES:
            raise DevenvError(f"only {health.lowest} instances of {app} were healthy at some time meanwhile")
        self.say(f"healthy instances of {app} meanwhile, looked at {health.samples} times: never fewer than {health.lowest}")

    def _has(self, app: str, instances: int) -> bool:
        return self._settled(app) and len(self.tasks(app)) == instances

    def _settled(self, app: str) -> bool:
        resource = self.sandbox.get("-n", NAMESPACE, "paasapp", app)
        status = resource.get("status", {})
        ready = _condition(status, "Ready")
        return bool(
            ready.get("status") == "True"
            and ready.get("observedGeneration") == resource["metadata"]["generation"]
            and status["counts"]["updated"] == resource["spec"]["instances"]
        )

    def _taken_back(self) -> bool:
        resource = self.sandbox.get("-n", NAMESPACE, "paasapp", "api")
        status = resource.get("status", {})
        return bool(
            status.get("revision", {}).get("failed")
            and _condition(status, "Stalled").get("status") == "True"
            and "id" not in status.get("marathon", {}).get("deployment", {})
            and status.get("observedGeneration") == resource["metadata"]["generation"]
        )

    def _resource(self, kind: str, name: str) -> dict[str, Any]:
        return self.sandbox.get("-n", NAMESPACE, kind, name)

    def _status(self, app: str) -> dict[str, Any]:
        status: dict[str, Any] = self.sandbox.get("-n", NAMESPACE, "paasapp", app)["status"]
        return status

    def _marathon(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.sandbox.endpoints.marathon_url + path, timeout=10) as response:  # noqa: S310 - our own http URL
            found: dict[str, Any] = json.load(response)
        return found


class _LowestHealth:
    """Looks at an app all the time and keeps the lowest number of healthy instances."""

    def __init__(self, demo: Demo, app: str) -> None:
        self._demo, self._app = demo, app
        self._end = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self.lowest = 2**31
        self.samples = 0

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._end.wait(0.05):
            seen = self._demo.healthy(self._app)
            if seen is not None:
                self.samples += 1
                self.lowest = min(self.lowest, seen)


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((one for one in status.get("conditions", []) if one["type"] == kind), {})


def _answer(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:  # noqa: S310 - an agent's own http URL
            return str(page.readline().decode().strip())
    except OSError as error:
        return f"no answer: {error}"


def _relative(word: str) -> str:
    """A path as a reader in the working directory would type it."""
    path = Path(word)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else word


def _say(line: str) -> None:
    print(line, flush=True)


def _title(number: int, text: str) -> None:
    _say(f"\n== {number}. {text}")


def _invite(sandbox: Sandbox, state_dir: Path) -> None:
    place = shlex.quote(_relative(str(state_dir)))
    _say(f"""
== Yours to try, in another shell:
  eval "$(.venv/bin/shuren sandbox env --state-dir {place})"
  kubectl -n {NAMESPACE} get paasapps --watch                 the status, as it changes
  curl -H 'Host: {_HOST}' http://{sandbox.endpoints.lb_addresses[0]}:{_PORT}/     web through HAProxy
  kubectl -n {NAMESPACE} scale paasapp/web --replicas=4       more instances; fewer again
  kubectl -n {NAMESPACE} get shardmaps -o wide; kubectl -n {NAMESPACE} scale paasapp/store --replicas=3     its shards move first
  kubectl -n {NAMESPACE} edit paasapp/web                     any field of Marathon's app definition
  curl {sandbox.endpoints.marathon_url}/v2/apps           the same apps as Marathon sees them
  .venv/bin/shuren sandbox kill operator --state-dir {place}     apps go on without it; `start operator` brings it back
Ctrl-C takes everything down.""")


def _until_interrupted() -> None:
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        _say("")


def _explain(sandbox: Sandbox, error: DevenvError) -> None:
    print(f"\nFAILED: {error}", flush=True)
    try:
        if sandbox.state().phase is Phase.READY:
            print(sandbox.kubectl("-n", NAMESPACE, "get", "paasapps", "-o", "yaml", check=False))
            print(log_tail(Path(sandbox.part("operator").log), lines=40, limit=1 << 20))
    except DevenvError as unknown:
        print(f"(nothing more to show: {unknown.message})")


def _take_down(sandbox: Sandbox) -> int:
    """Everything ended; returns how many processes carry the sandbox' mark all the same."""
    try:
        sandbox_id = sandbox.state().id
    except DevenvError:
        return 0  # it never came so far
    sandbox.down(lambda _line: None)
    left = len(marked(sandbox_id))
    _say("taken down; nothing is left running" if not left else "taken down")
    return left
