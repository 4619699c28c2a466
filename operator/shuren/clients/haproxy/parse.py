"""Answers of HAProxy → values. Formats: management.txt §9.1 (CSV) and §9.3. Columns are found by name: versions only add some."""

from __future__ import annotations

import csv
import functools
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shuren.domain.errors import Unreachable
from shuren.domain.haproxy.converge import ObservedServer
from shuren.domain.haproxy.traffic import RowType, StatRow

_SERVER = re.compile(
    # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
    r"^\d+ (\S+) (\d+) (\S+) (\S+) (\d+) (\d+) (\d+) "
    # srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state
    r"\d+ \d+ (\d+) \d+ \d+ (\d+) \d+ "
    # bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port
    r"\d+ \d+ \S+ (\d+) \S+ \d+ (\d+) ",
    re.MULTILINE,
)


def servers(text: str) -> tuple[ObservedServer, ...]:
    """`show servers state`, format 1; several answers one after the other are read as one."""
    found = _SERVER.findall(text)
    lines = sum(line[:1].isdigit() and line != "1" for line in text.splitlines())
    if len(found) != lines or not text.startswith(("1\n", "Can't")):
        raise Unreachable(f"`show servers state` has a format that is not known: {text[:80]!r}")
    return tuple(_server(*fields) for fields in found)


@functools.lru_cache(maxsize=1 << 15)
def _server(*f: str) -> ObservedServer:
    """Most servers are as they were when they were last asked for."""
    return ObservedServer(
        backend=f[0],
        id=int(f[1]),
        name=f[2],
        address=f[3],
        operation=int(f[4]),
        admin=int(f[5]),
        weight=int(f[6]),
        check_status=int(f[7]),
        check_state=int(f[8]),
        port=int(f[9]),
        check_port=int(f[10]),
    )


_WANTED = (
    *("type", "# pxname", "svname", "scur", "qcur", "req_tot", "stot", "econ", "eresp", "wretr", "wredis", "hrsp_5xx", "ttime"),
    *("bin", "bout", "status"),
)
"""Columns in the order in which `_row` takes them."""


def statistics(text: str) -> tuple[StatRow, ...]:
    """`show stat` as CSV; several answers one after the other are read as one."""
    return tuple(_rows(text))


def _rows(text: str) -> Iterator[StatRow]:
    lines = text.splitlines()
    header = lines[0].split(",") if lines else []
    try:
        pick = operator.itemgetter(*(header.index(name) for name in _WANTED)) if lines else None
        for line in lines[1:]:
            if pick is not None and line and not line.startswith("# "):
                # the result of a check may hold a comma, and is quoted then; all other lines are split ten times as fast
                yield _row(*pick(next(csv.reader([line])) if '"' in line else line.split(",")))
    except (IndexError, ValueError) as error:
        raise Unreachable(f"`show stat` cannot be read: {error!r} in {text[:80]!r}") from error


@functools.lru_cache(maxsize=1 << 15)
def _row(kind: str, *f: str) -> StatRow:
    """Most servers have had nothing to do since they were last asked for."""
    proxy, name, *numbers, status = f
    scur, qcur, requests, stot, econ, eresp, wretr, wredis, failed, ttime, received, sent = (int(number or 0) for number in numbers)
    return StatRow(
        type=RowType(int(kind)),
        proxy=proxy,
        name=name,
        sessions=scur,
        queued=qcur,
        requests=requests or stot,
        connect_errors=econ,
        response_errors=eresp,
        retries=wretr,
        redispatches=wredis,
        server_errors=failed,
        latency=ttime,
        bytes_in=received,
        bytes_out=sent,
        status=status,
    )


def info(text: str) -> dict[str, str]:
    """`show info`: names and values."""
    return {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in text.splitlines()) if colon}


@dataclass(frozen=True, kw_only=True, slots=True)
class Processes:
    """`show proc` of the master. `workers` serve; `old` finish what they have since a reload. `failed` counts failed reloads in a row."""

    master: int
    reloads: int
    failed: int
    workers: tuple[int, ...] = ()
    old: tuple[int, ...] = ()
    version: str = ""


_PROCESS = re.compile(r"(\d+)\s+(master|worker)\s+(\d+)(?:\s+\[failed: (\d+)\])?\s+\S+\s+(\S+)")


def processes(text: str) -> Processes:
    """Unreachable when it is none."""
    master: re.Match[str] | None = None
    current: list[int] = []
    old: list[int] = []
    among = current
    for line in text.splitlines():
        if line.startswith("# old workers"):
            among = old
        match = _PROCESS.match(line)
        if match is None:
            continue
        if match[2] == "master":
            master = match
        else:
            among.append(int(match[1]))
    if master is None:
        raise Unreachable(f"`show proc` cannot be read: {text[:80]!r}")
    return Processes(
        master=int(master[1]),
        reloads=int(master[3]),
        failed=int(master[4] or 0),
        workers=tuple(current),
        old=tuple(old),
        version=master[5],
    )


_SEVERITY = re.compile(r"^(?:> )?\[(\d)\]: (.*)$", re.MULTILINE)
_ERROR = 3
"""Severities as syslog has them; what is told at 3 or below was refused."""


def refusals(text: str) -> tuple[str, ...]:
    """What was refused among the answers that follow `set severity-output number`, with HAProxy's prompt between them or without."""
    return tuple(match[2] for match in _SEVERITY.finditer(text) if int(match[1]) <= _ERROR)
