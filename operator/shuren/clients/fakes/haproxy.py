"""HAProxy in memory: the runtime commands that we use, with the refusals of the real one, served on unix sockets like the real one.

`HAProxyModel` is one worker's servers and maps; `FakeHAProxy` is master and worker on two sockets, and the program that reads a
configuration. tests/contract/haproxy runs the same commands on both.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from shuren.domain.errors import Unreachable
from shuren.domain.haproxy.converge import ObservedServer
from shuren.domain.haproxy.document import CONFIG_FILE

_HEADER = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
    "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn "
    "srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
_STAT = (
    "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,type,hrsp_5xx,req_tot,ttime,mode"
)
_CHECKED, _ENABLED, _PAUSED = 2, 4, 8
_INI, _PASSED, _REFUSED = 1, 6, 8
_MAX_WEIGHT = 256
_LINE = 16_384

Say = tuple[int, str]
"""Severity and message; (0, "") for nothing said."""
_NOTHING: Say = (0, "")


class HAProxyModel:
    """Servers of one worker. `sessions` may be set by a test; a server with some cannot be deleted."""

    def __init__(self, backends: Iterable[str] = ()) -> None:
        self.backends: dict[str, dict[str, ObservedServer]] = {name: {} for name in backends}
        self.maps: dict[str, list[tuple[str, str]]] = {}
        self.sessions: dict[tuple[str, str], int] = {}
        self.cookies: dict[str, set[str]] = {}
        self.done: list[str] = []
        """Every command that was carried out, in order."""

    def servers(self, backend: str) -> tuple[ObservedServer, ...]:
        """Those of one backend, as `show servers state` tells them."""
        return tuple(self.backends[backend].values())

    def run_checks(self, passes: Callable[[ObservedServer], bool] = lambda _: True) -> None:
        """What enough rounds of health checks come to."""
        for servers in self.backends.values():
            for name, server in servers.items():
                if server.check_state & _ENABLED and not server.check_state & _PAUSED:
                    good = passes(server)
                    servers[name] = replace(server, operation=2 if good else 0, check_status=_PASSED if good else _REFUSED)

    def execute(self, command: str) -> Say:
        """One command."""
        said = self._execute(command.strip())
        if said[0] == 0 or said[0] > 3:  # noqa: PLR2004 - syslog's "error" and worse are refusals
            self.done.append(command.strip())
        return said

    def _execute(self, command: str) -> Say:
        match command.split():
            case ["add", "server", place, address, *options]:
                return self._add(place, address, options)
            case ["enable", "dynamic-cookie", "backend", backend] if backend in self.backends:
                self.cookies[backend] = set(self.backends[backend])
                return _NOTHING
            case ["del", "server", place]:
                return self._on(place, self._delete)
            case ["enable", "health", place]:
                return self._on(place, lambda b, s: self._put(b, s, check_state=s.check_state | _ENABLED))
            case ["set", "server", place, "state", state]:
                return self._on(place, lambda b, s: self._state(b, s, state))
            case ["set", "server", place, "health", health]:
                return self._on(place, lambda b, s: self._put(b, s, operation=2 if health == "up" else 0))
            case ["set", "server", place, "weight", weight] if 0 <= int(weight) <= _MAX_WEIGHT:
                return self._on(place, lambda b, s: self._put(b, s, weight=int(weight)))
            case ["set", "server", place, "addr", address, "port", port]:
                return self._on(place, lambda b, s: self._put(b, s, address=address, port=int(port)))
            case ["set", "server", place, "check-port", port]:
                return self._on(place, lambda b, s: self._check_port(b, s, int(port)))
            case _:
                return (3, f"Unknown command: {command}")

    def _on(self, place: str, do: Callable[[str, ObservedServer], Say]) -> Say:
        backend, _, name = place.partition("/")
        if backend not in self.backends:
            return (3, "No such backend.")
        server = self.backends[backend].get(name)
        return (3, "No such server.") if server is None else do(backend, server)

    def _put(self, backend: str, server: ObservedServer, **changes: int | str) -> Say:
        self.backends[backend][server.name] = replace(server, **changes)  # type: ignore[arg-type]
        return _NOTHING

    def _add(self, place: str, address: str, options: list[str]) -> Say:
        backend, _, name = place.partition("/")
        if backend not in self.backends:
            return (3, "No such backend.")
        if name in self.backends[backend]:
            return (3, "Already exists a server with the same name in backend.")
        server = _parsed(backend, name, address, options, configured=False)
        if any(other.id == server.id for other in self.backends[backend].values()):
            return (3, f"server id {server.id} is already used.")
        if "cookie" in options:
            return (3, "'cookie' option is not accepted for dynamic server")
        self.backends[backend][name] = server
        return (6, "New server registered.")

    def _delete(self, backend: str, server: ObservedServer) -> Say:
        if not server.admin & 0x01 and not server.admin & 0x04:
            return (3, "Only servers in maintenance mode can be deleted.")
        if self.sessions.get((backend, server.name)):
            return (3, "Server still has connections attached to it, cannot remove it.")
        del self.backends[backend][server.name]
        self.cookies.get(backend, set()).discard(server.name)
        return (5, "Server deleted.")

    def _check_port(self, backend: str, server: ObservedServer, port: int) -> Say:
        if not server.check_state & _ENABLED:
            return (4, "health checks are not enabled on this server")
        return self._put(backend, server, check_port=port)

    def _state(self, backend: str, server: ObservedServer, state: str) -> Say:
        match state:
            case "ready":
                left = server.admin & 0x05
                changes = {"operation": 2, "check_state": server.check_state & ~_PAUSED} if left else {}
                return self._put(backend, server, admin=0, **changes)
            case "drain":
                changes = {"operation": 2, "check_state": server.check_state & ~_PAUSED} if server.admin & 0x05 else {}
                return self._put(backend, server, admin=0x08, **changes)
            case "maint":
                return self._put(backend, server, admin=server.admin | 0x01, operation=0, check_state=server.check_state | _paused(server))
            case _:
                return (3, "'set server <srv> state' expects 'ready', 'drain' and 'maint'.")

    # ------------------------------------------------------------------------------------------------------- answers

    def show_servers(self, only: str = "") -> str:
        """`show servers state`, of one backend or of all."""
        if only and only not in self.backends:
            return "Can't find backend.\n\n"
        lines = ["1", f"# {_HEADER}"]
        for number, (backend, servers) in enumerate(self.backends.items(), start=3):
            if only not in ("", backend):
                continue
            lines += [
                f"{number} {backend} {s.id} {s.name} {s.address} {s.operation} {s.admin} {s.weight} 100 0 {s.check_status} 0 0"
                f" {s.check_state} 0 0 1 - {s.port} - 0 {s.check_port} - - 0"
                for s in servers.values()
            ]
        return "\n".join(lines) + "\n\n"

    def show_statistics(self, only: str = "-1") -> str:
        """`show stat -1 6 -1`, or `show stat <backend> 4 -1`."""
        lines = [_STAT]
        for backend, servers in self.backends.items():
            if only not in ("-1", backend):
                continue
            lines += [
                f"{backend},{s.name},0,0,{self.sessions.get((backend, s.name), 0)},0,,7,10,20,0,0,,1,1,0,0,UP,2,2,7,5,http"
                for s in servers.values()
            ]
            if only != "-1":
                continue
            lines.append(f"{backend},BACKEND,0,0,0,0,,{7 * len(servers)},0,0,0,0,,0,0,0,0,UP,1,0,{7 * len(servers)},5,http")
        return "\n".join(lines) + "\n\n"


def _paused(server: ObservedServer) -> int:
    return _PAUSED if server.check_state & _ENABLED else 0


def _parsed(backend: str, name: str, address: str, options: list[str], *, configured: bool) -> ObservedServer:
    """A server from its words; one of the configuration runs at once, one that is added waits in maintenance with its checks off."""
    host, _, port = address.rpartition(":")
    following = dict(itertools.pairwise(options))
    checked = _CHECKED if "check" in options else 0
    down = "disabled" in options
    admin = (0x05 if down else 0) if configured else 0x01
    state = checked | ((_ENABLED | (_PAUSED if down else 0)) if checked and configured else 0)
    return ObservedServer(
        backend=backend,
        name=name,
        id=int(following["id"]),
        address=host.strip("[]"),
        port=int(port),
        operation=0 if admin else 2,
        admin=admin,
        weight=int(following["weight"]),
        check_status=_INI if checked else 0,
        check_state=state,
        check_port=int(following.get("port", 0)),
    )


@dataclass
class FakeHAProxy:
    """Master and worker. `configuration` is the file that it reads at start and reload, `refuses` says why it cannot start by one."""

    directory: Path
    configuration: Path
    refuses: Callable[[str], str] = lambda _: ""
    model: HAProxyModel = field(default_factory=HAProxyModel)
    old: dict[int, HAProxyModel] = field(default_factory=dict)
    pid: int = 1000
    reloads: int = 0
    failed: int = 0
    starts: int = 0
    certificates: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Every line that came to the worker, in order."""
    _servers: list[asyncio.Server] = field(default_factory=list)
    _pending: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def api_socket(self) -> Path:
        """Of the worker."""
        return self.directory / "api.sock"

    @property
    def master_socket(self) -> Path:
        """Of the master."""
        return self.directory / "master.sock"

    # --------------------------------------------------------------------------------------------------- the program

    async def start(self) -> None:
        """Read the configuration and listen."""
        why = self.refuses(self.configuration.read_text())
        if why:
            raise Unreachable(f"HAProxy ends at once: {why}")
        self.model = self._loaded()
        self.pid += 1
        self.starts += 1
        self._servers = [
            await asyncio.start_unix_server(self._serve(self._runtime), path=str(self.api_socket)),
            await asyncio.start_unix_server(self._serve(self._master), path=str(self.master_socket)),
        ]

    async def stop(self) -> None:
        """As when it was killed: nobody listens any more, and nothing is remembered."""
        for server in self._servers:
            server.close()
        self._servers = []
        self.old.clear()

    def _loaded(self) -> HAProxyModel:
        model = HAProxyModel()
        backend = ""
        for line in self.configuration.read_text().splitlines():
            match line.split():
                case ["backend", name]:
                    backend = name
                    model.backends[name] = {}
                case ["server", name, address, *options] if line.startswith(" "):
                    model.backends[backend][name] = _parsed(backend, name, address, options, configured=True)
                case _:
                    pass
        for path in sorted(self.configuration.parent.glob("*.map")):
            entries = (line.split(" ", 1) for line in path.read_text().splitlines())
            model.maps[path.name] = [(key, value) for key, value in entries]
        return model

    # ---------------------------------------------------------------------------------------------------- the sockets

    @staticmethod
    def _serve(
        answer: Callable[[str], str],
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], asyncio.Future[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            text = (await reader.read()).decode()
            writer.write(answer(text.removesuffix("\n")).encode())
            await writer.drain()
            writer.close()

        return lambda reader, writer: asyncio.ensure_future(serve(reader, writer))

    def _runtime(self, text: str) -> str:
        lines = text.split("\n")
        if lines[0] == "prompt":
            return "\n> " + "\n> ".join(self._answer(line) for line in lines[1:] if line not in {"", "quit"})
        return self._answer(text)

    def _answer(self, text: str) -> str:
        first = text.split("\n", 1)[0]
        self.asked.append(first)
        if len(first.encode()) >= _LINE:
            return "The line is too long.\n\n"
        match first.split():
            case ["show", "servers", "state", *_]:
                return self._show_servers(first)
            case ["show", "backend"]:
                return "# name\n" + "".join(f"{name}\n" for name in self.model.backends) + "\n"
            case ["show", "stat", *_]:
                return "".join(self.model.show_statistics(question.split()[2]) for question in first.split(";"))
            case ["show", "info"]:
                return f"Name: HAProxy\nVersion: 2.6.12\nPid: {self.pid}\nUptime_sec: 1\nCurrConns: 0\n\n"
            case ["show", "map", name] if name in self.model.maps:
                return "".join(f"0x1 {key} {value}\n" for key, value in self.model.maps[name]) + "\n"
            case ["prepare" | "commit" | "add", "map", *_]:
                return self._map(text)
            case [("set" | "commit" | "abort") as verb, "ssl", kind, file, *_]:
                return self._ssl(verb, f"{kind} {file}", text)
            case _:
                return self._commands(first)

    def _show_servers(self, line: str) -> str:
        """Several questions in one line; each names a backend, or none."""
        named = [question.split()[3:] for question in line.split(";")]
        if named == [[]]:
            return self.model.show_servers()
        return "".join(self.model.show_servers(only=name[0]) for name in named)

    def _commands(self, line: str) -> str:
        answer = ""
        for command in line.split(";"):
            if command.strip() == "set severity-output number":
                answer += "\n"
                continue
            severity, message = self.model.execute(command)
            answer += f"[{severity}]: {message}\n\n" if message else "\n"
        return answer

    def _map(self, text: str) -> str:
        head, _, payload = text.partition("\n")
        words = head.split()
        name = words[2] if words[0] == "prepare" else words[3]
        if name not in self.model.maps:
            return "Unknown map identifier. Please use #<id> or <file>.\n\n"
        if words[0] == "prepare":
            self._pending["1", name] = []
            return "New version created: 1\n\n"
        version = words[2].removeprefix("@")
        if words[0] == "add":
            self._pending[version, name] += [(k, v) for k, _, v in (line.partition(" ") for line in payload.splitlines() if line)]
        else:
            self.model.maps[name] = self._pending.pop((version, name))
            self.model.done.append(f"commit map {name}")
        return "\n"

    def _ssl(self, verb: str, what: str, text: str) -> str:
        if verb == "set":
            self.certificates[what] = text.partition("\n")[2].rstrip("\n")
            return f"Transaction created for certificate {what}!\n\n"
        return "Committing.\nSuccess!\n\n"

    def _master(self, text: str) -> str:
        asked = re.findall(r"@!(\d+) show stat (\S+)", text)
        if asked:
            return "".join(self.old.get(int(pid), self.model).show_statistics(name) for pid, name in asked)
        if text == "reload":
            return self._reload()
        rows = [
            f"#<PID> <type> <reloads> <uptime> <version>\n1 master {self.reloads} [failed: {self.failed}] 0d00h00m01s 2.6.12\n# workers"
        ]
        rows.append(f"{self.pid} worker 0 0d00h00m01s 2.6.12")
        rows += ["# old workers", *(f"{pid} worker 1 0d00h00m01s 2.6.12" for pid in self.old)] if self.old else []
        return "\n".join([*rows, "# programs"]) + "\n\n"

    def _reload(self) -> str:
        self.reloads += 1
        if self.refuses(self.configuration.read_text()):
            self.failed += 1
            return ""
        self.failed = 0
        if any(self.model.sessions.values()):
            self.old[self.pid] = self.model
        self.model = self._loaded()
        self.pid += 1
        return ""


def configuration_in(directory: Path) -> Path:
    """Where the fake looks for its configuration below a state directory."""
    return directory / "current" / CONFIG_FILE
