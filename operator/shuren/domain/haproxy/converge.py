"""Servers as they shall be, servers as HAProxy shows them → the commands of its runtime API that close the gap. One pure function.

The order within a backend makes before it breaks: add, admit, raise weights, lower weights, drain, take out, delete.

A server that is admitted must first pass HAProxy's own check, but HAProxy believes a server up from the moment on which it leaves
maintenance (seen on 2.6.12: `state ready` sets its health to `rise`). So it leaves maintenance drained, is set down, and only then made
ready, which keeps it down until its check brings it up. When nothing else in the backend is up, that caution would only turn requests away:
then Marathon's word is enough.

Facts of the runtime API: docs/load-balancer.md, "What HAProxy is told".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shuren.domain.haproxy.servers import BASE_WEIGHT, Admin, Server, assign_ids

_MAINT = 0x01 | 0x02 | 0x20 | 0x40
"""Without 0x04, which only tells that the configuration said `disabled`, and stays when the server is made ready (2.6.12: 5, then 4)."""
_DRAIN = 0x08 | 0x10
_CHECK_CONFIGURED, _CHECK_ENABLED = 0x02, 0x04
_STOPPED = 0
_JUDGED = 2
"""`srv_check_status` from here on is a result; below, the server was never checked (HCHK_STATUS_UNKNOWN, _INI)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedServer:
    """One line of `show servers state` (format 1)."""

    backend: str
    name: str
    id: int
    address: str
    port: int
    operation: int
    """0 stopped, 1 starting, 2 running, 3 stopping."""
    admin: int
    """Bits: 0x01 forced maintenance, 0x04 maintenance by the configuration, 0x08 forced drain, …"""
    weight: int
    check_status: int
    check_state: int
    """Bits: 0x01 in progress, 0x02 configured, 0x04 enabled, 0x08 paused."""
    check_port: int = 0

    @property
    def state(self) -> Admin:
        """What an operator asked for."""
        if self.admin & _MAINT:
            return Admin.MAINT
        return Admin.DRAIN if self.admin & _DRAIN else Admin.READY

    @property
    def up(self) -> bool:
        """Whether it could take a request."""
        return self.operation != _STOPPED

    @property
    def serves(self) -> bool:
        """Whether it takes new requests now."""
        return self.up and self.state is Admin.READY and self.weight > 0

    @property
    def judged(self) -> bool:
        """Whether a check has ever said something."""
        return self.check_status >= _JUDGED


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendPlan:
    """A backend as it shall be.

    `options` are the words that every server of it carries (HAProxy's default-server does not reach servers that are added at run time);
    `checked` tells whether they hold `check`; `sticky` whether clients hold a cookie of their server; `spare` that its servers are those of
    another backend once more.
    """

    name: str
    servers: tuple[Server, ...]
    options: tuple[str, ...] = ()
    checked: bool = False
    sticky: bool = False
    spare: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """What separates a backend from what it shall be.

    `commands` in order. `leaving` are servers that nobody wants any more and that are still there: deletion is among the commands, HAProxy
    refuses it while they have connections, and the next pass tries again. `changes` counts all but attempts to delete.
    """

    commands: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    changes: int = 0


def converge(wanted: BackendPlan, observed: Iterable[ObservedServer]) -> Gap:
    """The commands that bring one backend to what it shall be; none when it is there."""
    there = {server.name: server for server in observed}
    kept = {server.name for server in wanted.servers}
    ids = assign_ids(kept, {name: server.id for name, server in there.items()})
    steps = _Steps(wanted, trusting=not _serves_on(wanted.servers, there))
    for server in wanted.servers:
        now = there.get(server.name)
        if now is None:
            steps.new(server, ids[server.name])
        else:
            steps.known(server, now)
    leaving = tuple(sorted(there.keys() - kept))
    steps.outs += [f"set server {wanted.name}/{name} state maint" for name in leaving if there[name].state is not Admin.MAINT]
    changes = steps.in_order()
    return Gap(commands=(*changes, *(f"del server {wanted.name}/{name}" for name in leaving)), leaving=leaving, changes=len(changes))


class _Steps:
    """Commands for one backend by kind. `trusting`: nothing that serves now goes on serving, so new servers need not prove themselves."""

    def __init__(self, wanted: BackendPlan, *, trusting: bool) -> None:
        self._wanted = wanted
        self._trusting = trusting
        self._adds: list[str] = []
        self._admits: list[str] = []
        self._moves: list[str] = []
        self._raises: list[str] = []
        self._lowers: list[str] = []
        self._drains: list[str] = []
        self.outs: list[str] = []

    def in_order(self) -> list[str]:
        # a cookie is computed for the servers that are there when this is said: before any of the new ones takes traffic
        cookies = [f"enable dynamic-cookie backend {self._wanted.name}"] if self._wanted.sticky and self._adds else []
        return [*self._adds, *cookies, *self._admits, *self._moves, *self._raises, *self._lowers, *self._drains, *self.outs]

    def new(self, server: Server, number: int) -> None:
        at = f"{self._wanted.name}/{server.name}"
        self._adds.append(add_command(self._wanted, server, number))
        if self._wanted.checked:
            self._admits.append(f"enable health {at}")
        self._to_state(at, server, Admin.MAINT, BASE_WEIGHT)

    def known(self, server: Server, now: ObservedServer) -> None:
        at = f"{self._wanted.name}/{server.name}"
        if (now.address, now.port) != (server.address, server.port):
            self._moves.append(f"set server {at} addr {server.address} port {server.port}")
        if self._wanted.checked and now.check_state & _CHECK_CONFIGURED:
            self._admits += [f"enable health {at}"] if not now.check_state & _CHECK_ENABLED else []
            if server.check_port and now.check_port != server.check_port:
                self._moves.append(f"set server {at} check-port {server.check_port}")
        self._to_state(at, server, now.state, now.weight)
        if self._trusting and server.admin is Admin.READY and now.state is Admin.READY and not now.up and not now.judged:
            self._admits.append(f"set server {at} health up")

    def _to_state(self, at: str, server: Server, state: Admin, weight: int) -> None:
        weigh = [f"set server {at} weight {server.weight}"] if weight != server.weight else []
        match server.admin:
            case Admin.READY if state is Admin.READY:
                (self._raises if server.weight > weight else self._lowers).extend(weigh)
            case Admin.READY:
                proves_itself = state is Admin.MAINT and self._wanted.checked and not self._trusting
                down_first = [f"set server {at} state drain", f"set server {at} health down"] if proves_itself else []
                self._admits += [*weigh, *down_first, f"set server {at} state ready"]
            case Admin.DRAIN if state is not Admin.DRAIN:
                self._drains.append(f"set server {at} state drain")
            case Admin.MAINT if state is not Admin.MAINT:
                self.outs.append(f"set server {at} state maint")
            case _:
                pass


def _serves_on(servers: Sequence[Server], there: Mapping[str, ObservedServer]) -> bool:
    """Whether something that serves now goes on serving."""
    return any(
        server.admin is Admin.READY and server.weight > 0 and (now := there.get(server.name)) is not None and now.serves
        for server in servers
    )


def add_command(backend: BackendPlan, server: Server, number: int) -> str:
    """`add server`: in maintenance, with an explicit id (without, all of them would share one place on a consistent ring)."""
    words = ["add server", f"{backend.name}/{server.name}", *server_words(server, number, BASE_WEIGHT), *backend.options]
    return " ".join(words)


def server_words(server: Server, number: int, weight: int) -> list[str]:
    """What stands after a server's name, in `add server` as in the configuration, before the options of its backend."""
    words = [address_and_port(server), f"id {number}", f"weight {weight}"]
    if server.check_port:
        words.append(f"port {server.check_port}")
    return words


def address_and_port(server: Server) -> str:
    """`10.0.0.1:80`, `[2001:db8::1]:80`."""
    return f"[{server.address}]:{server.port}" if ":" in server.address else f"{server.address}:{server.port}"


LINE = 12_000
"""Bytes of commands sent as one line. HAProxy reads a line into a buffer of `tune.bufsize` (16384) and refuses a longer one."""
BATCH = 200
"""Commands of one line at most, so that other users of the socket get their turn."""


def batches(commands: Iterable[str]) -> list[tuple[str, ...]]:
    """Commands in order, grouped into lines of `a; b; c`: HAProxy works through these seven times as fast as through one line each."""
    lines: list[tuple[str, ...]] = []
    line: list[str] = []
    size = 0
    for command in commands:
        length = len(command.encode()) + 2
        if line and (size + length > LINE or len(line) >= BATCH):
            lines.append(tuple(line))
            line, size = [], 0
        line.append(command)
        size += length
    return [*lines, tuple(line)] if line else lines
