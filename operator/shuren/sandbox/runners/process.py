"""Runs tasks as real processes: each its own session and process group in a sandbox directory, with stdout and stderr files.

A small shell stands above each command and leaves its exit status in a file, so that a task outlives the engine: a later engine finds the
process again by pid and start time, hears of its end through a pidfd, and reads the status.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import signal
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shuren.sandbox.runners.fetch import FetchError, fetch_all
from shuren.sandbox.runners.port import Launch, Report, Room, TaskStatus, Verdict
from shuren.sandbox.runners.probing import Prober, bindable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from shuren.sandbox.contract import Json

# The trap keeps this shell alive through a SIGTERM to the group; a handler, unlike an ignored signal, is not inherited by the command.
_KEEPER = 'trap : TERM INT HUP; cd "$1" || exit 125; mark=$2; shift 2; "$@"; code=$?; echo $code >"$mark.part" && mv "$mark.part" "$mark"'
_KEPT = ("SHUREN_SANDBOX_ID",)
"""Of our own environment: the mark by which whoever takes a whole sandbox down finds its tasks, even after the engine was killed."""
_RECORD = ".task"
_MARK = ".exit"
_SIGNALLED = 128


@dataclass(slots=True)
class _Task:
    launch: Launch
    pid: int | None = None
    pidfd: int | None = None
    killed: bool = False
    own_child: bool = True
    ended: bool = False
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class ProcessRunner:
    """`--runner process`. Delays in seconds: an executor's start, its task's, and the way of a kill from the master to the executor."""

    binds_ports = True

    def __init__(self, *, start_delay: float = 0.05, run_delay: float = 0.005, kill_delay: float = 0.05) -> None:
        self._start_delay, self._run_delay, self._kill_delay = start_delay, run_delay, kill_delay
        self._tasks: dict[str, _Task] = {}
        self._report: Report = lambda _: None
        self._prober = Prober()
        self._jobs: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, report: Report) -> None:
        self._report = report
        self._loop = asyncio.get_running_loop()

    def _later(self, delay: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        assert self._loop is not None  # noqa: S101 - start() comes first
        return self._loop.call_later(delay, call)

    def _spawn_job(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    # ---------------------------------------------------------------- launching
    def launch(self, launch: Launch) -> None:
        task = self._tasks[launch.task_id] = _Task(launch)
        task.timers.append(self._later(self._start_delay, lambda: self._spawn_job(self._bring_up(task))))

    async def _bring_up(self, task: _Task) -> None:
        launch = task.launch
        try:
            launch.directory.mkdir(parents=True, exist_ok=True)
            for name in ("stdout", "stderr"):
                (launch.directory / name).touch()
            await fetch_all(launch.definition.get("fetch") or launch.definition.get("artifacts") or (), launch.directory)
            self._mount(launch)
        except FetchError as error:
            with (launch.directory / "stderr").open("a", encoding="utf-8") as file:
                file.write(f"Failed to fetch {error}\n")
            text = f"Failed to launch container: Failed to fetch all URIs for container '{uuid.uuid4()}': exited with status 1"
            self._end(task, "TASK_KILLED" if task.killed else "TASK_FAILED", text, known=False)
            return
        except OSError as error:
            self._end(task, "TASK_FAILED", f"Failed to launch container: {error}", known=False)
            return
        if task.killed:
            self._end(task, "TASK_KILLED", "Task was killed before it was started", known=False)
            return
        self._tell(task, "TASK_STARTING")
        try:
            command = command_of(launch.definition)
            command = as_user(command, launch.definition.get("user"))
            self._spawn(task, command)
        except (OSError, ValueError) as error:
            self._end(task, "TASK_FAILED", f"Failed to launch container: {error}")
            return
        task.timers.append(self._later(self._run_delay, lambda: self._is_up(task)))

    def _is_up(self, task: _Task) -> None:
        if not task.ended:
            self._tell(task, "TASK_RUNNING")
        if task.pidfd is not None:
            self._watch(task)

    def _mount(self, launch: Launch) -> None:
        """Relative container paths appear in the sandbox as links, as Mesos' own containerizer has it; absolute ones cannot."""
        raw = [v for v in launch.definition.get("container", {}).get("volumes", ()) if "hostPath" in v]
        pairs = [(v["containerPath"], v["hostPath"]) for v in raw]
        pairs += [(v["containerPath"], v["path"]) for v in launch.volumes if "path" in v]
        for inside, outside in pairs:
            if inside.startswith("/"):
                continue
            link = launch.directory / inside
            link.parent.mkdir(parents=True, exist_ok=True)
            target = outside if outside.startswith("/") else str(launch.directory / outside)
            os.makedirs(target, exist_ok=True)  # noqa: PTH103 - a text from the definition
            if not link.is_symlink() and not link.exists():
                link.symlink_to(target)

    def _spawn(self, task: _Task, command: list[str]) -> None:
        launch = task.launch
        directory = str(launch.directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        task.pid = os.posix_spawn(
            "/bin/sh",
            ["/bin/sh", "-c", _KEEPER, "task", directory, str(launch.directory / _MARK), *command],
            _environment(launch),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(launch.directory / "stdout"), flags, 0o644),
                (os.POSIX_SPAWN_OPEN, 2, str(launch.directory / "stderr"), flags, 0o644),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD),
        )
        record = {"pid": task.pid, "started": start_time(task.pid), "task": launch.task_id}
        (launch.directory / _RECORD).write_text(json.dumps(record), encoding="utf-8")
        task.pidfd = os.pidfd_open(task.pid)

    def adopt(self, launch: Launch, *, running: bool) -> None:
        task = self._tasks[launch.task_id] = _Task(launch, own_child=False)
        found = self._find(launch)
        if found is None and not running and not any((launch.directory / name).exists() for name in (_RECORD, _MARK)):
            self.launch(launch)  # it was on its way when the engine before ended
            return
        if found is None:
            # It ended while nobody looked: tell as soon as the engine is listening.
            task.timers.append(self._later(0, lambda: self._reap(task)))
            return
        task.pid, task.pidfd = found
        self._watch(task)
        if not running:
            task.timers.append(self._later(0, lambda: self._is_running(task)))

    def _is_running(self, task: _Task) -> None:
        if not task.ended:
            self._tell(task, "TASK_RUNNING")

    @staticmethod
    def _find(launch: Launch) -> tuple[int, int] | None:
        try:
            record = json.loads((launch.directory / _RECORD).read_text(encoding="utf-8"))
            pidfd = os.pidfd_open(record["pid"])
        except (OSError, ValueError, KeyError):
            return None
        if start_time(record["pid"]) != record["started"]:
            os.close(pidfd)
            return None
        return record["pid"], pidfd

    # ---------------------------------------------------------------- the end
    def _watch(self, task: _Task) -> None:
        assert self._loop is not None and task.pidfd is not None  # noqa: S101, PT018 - both set by the callers
        self._loop.add_reader(task.pidfd, self._reap, task)

    def _unwatch(self, task: _Task) -> None:
        if task.pidfd is not None and self._loop is not None:
            self._loop.remove_reader(task.pidfd)
            os.close(task.pidfd)
            task.pidfd = None

    def _reap(self, task: _Task) -> None:
        self._unwatch(task)
        code: int | None = None
        if task.pid is not None:
            # Mesos ends the whole container with its first process.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(task.pid, signal.SIGKILL)
            if task.own_child:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(task.pid, 0)
        with contextlib.suppress(OSError, ValueError):
            code = int((task.launch.directory / _MARK).read_text(encoding="ascii"))
        if task.killed and (code is None or code != 0):
            number = (code - _SIGNALLED) if code and code > _SIGNALLED else signal.SIGKILL if code is None else None
            self._end(task, "TASK_KILLED", "Command terminated with signal " + _signal_name(number) if number else _exited(code))
        elif code == 0:
            self._end(task, "TASK_KILLED" if task.killed else "TASK_FINISHED", _exited(0))
        elif code is None:
            self._end(task, "TASK_FAILED", "Command terminated with signal Killed" if task.pid else "Executor terminated")
        elif code > _SIGNALLED and (name := _signal_name(code - _SIGNALLED)):
            self._end(task, "TASK_FAILED", f"Command terminated with signal {name}")
        else:
            self._end(task, "TASK_FAILED", _exited(code))

    def _tell(self, task: _Task, state: str, message: str = "", *, known: bool = True) -> None:
        self._report(TaskStatus(task_id=task.launch.task_id, state=state, message=message, ip=task.launch.host if known else None))

    def _end(self, task: _Task, state: str, message: str, *, known: bool = True) -> None:
        if task.ended:
            return
        task.ended = True
        self._tasks.pop(task.launch.task_id, None)
        for timer in task.timers:
            timer.cancel()
        self._unwatch(task)
        self._tell(task, state, message, known=known)

    def kill(self, task_id: str, *, grace: float) -> None:
        task = self._tasks.get(task_id)
        if task is None or task.killed:
            return
        task.killed = True
        # With no process yet the mark is enough: it is seen before anything is started.
        task.timers.append(self._later(self._kill_delay, lambda: self._signal(task, signal.SIGTERM)))
        task.timers.append(self._later(self._kill_delay + grace, lambda: self._signal(task, signal.SIGKILL)))

    def lose(self, task_id: str) -> None:
        task = self._tasks.get(task_id)
        if task is not None:
            task.killed = True
            self._signal(task, signal.SIGKILL)
            self._silence(task)

    def _silence(self, task: _Task) -> None:
        """It is still reaped, but nothing is told of it any more."""
        task.ended = True
        self._tasks.pop(task.launch.task_id, None)
        for timer in task.timers:
            timer.cancel()
        if task.pidfd is not None:
            self._watch(task)

    @staticmethod
    def _signal(task: _Task, number: signal.Signals) -> None:
        if task.pid is not None and not task.ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(task.pid, number)

    # ---------------------------------------------------------------- checks
    def probe(self, task_id: str, check: Json, *, host: str, port: int | None, done: Verdict) -> None:
        task = self._tasks.get(task_id)
        if task is None:
            return

        async def run() -> None:
            launch = task.launch
            cause = await self._prober.check(check, host=host, port=port, directory=launch.directory, environment=launch.environment)
            done(cause is None, cause)

        self._spawn_job(run())

    def fetch(self, task_id: str, url: str, *, timeout: float, done: Callable[[int, str, str], None]) -> None:
        del task_id

        async def run() -> None:
            done(*await self._prober.ready(url, timeout=timeout))

        self._spawn_job(run())

    def room(self, task_id: str) -> Room | None:
        task = self._tasks.get(task_id)
        if task is None or task.pid is None or task.ended:
            return None
        launch = task.launch
        return Room(directory=launch.directory, environment=_environment(launch), user=launch.definition.get("user"), pid=task.pid)

    def settled(self, task_id: str) -> bool:
        del task_id
        return False

    def port_free(self, host: str, port: int) -> bool:
        del host
        return bindable(port)

    async def close(self, *, kill: bool) -> None:
        if kill:
            for task in tuple(self._tasks.values()):
                self._signal(task, signal.SIGKILL)
                if task.own_child and task.pid is not None:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(task.pid, 0)  # noqa: ASYNC222 - killed a line above, it is gone at once
        for task in tuple(self._tasks.values()):
            task.ended = True
            for timer in task.timers:
                timer.cancel()
            self._unwatch(task)
        self._tasks.clear()
        for job in tuple(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self._prober.close()


def _environment(launch: Launch) -> dict[str, str]:
    directory = str(launch.directory)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), **kept, "HOME": directory, "PWD": directory, **launch.environment}


def command_of(definition: Json) -> list[str]:
    """What to execute. ValueError when only a container engine could run it."""
    shell = (definition.get("exec") or {}).get("command", {}) if "exec" in definition else None
    if shell is not None:  # a pod's container
        return ["/bin/sh", "-c", shell["shell"]] if "shell" in shell else list(shell.get("argv", ()))
    image = definition.get("container", {}).get("docker", {}).get("image") or (definition.get("image") or {}).get("id")
    if definition.get("cmd"):
        return ["/bin/sh", "-c", definition["cmd"]]
    if image:
        raise ValueError(f"image {image} has no cmd; the process runner runs commands only (use --runner docker)")
    if definition.get("args"):
        return list(definition["args"])
    raise ValueError("nothing to run: neither cmd nor args")


def as_user(command: list[str], user: str | None) -> list[str]:
    """Changes to the app's user where this process may; an unprivileged engine runs everything as itself."""
    if user is None or os.geteuid() != 0:
        return command
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ValueError(f"Failed to get user information for '{user}': no such user") from None
    if entry.pw_uid == 0:
        return command
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups", "--", *command]


def start_time(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot: with the pid it names a process for good."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - hot path
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _exited(code: int | None) -> str:
    return f"Command exited with status {code}"


def _signal_name(number: int | None) -> str:
    if number is None:
        return ""
    try:
        return signal.strsignal(number) or str(number)
    except ValueError:
        return ""


def sandbox_files(directory: Path) -> list[Path]:
    """What a user sees of a sandbox: not the runner's own marks."""
    return sorted(p for p in directory.iterdir() if p.name not in {_RECORD, _MARK, _MARK + ".part"})
