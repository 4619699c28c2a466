"""Plays recorded Marathon 1.11 exchanges against a server and says where its answers differ.

A transcript is a sequence, one JSON object a line with `request` {method, path, headers, body} and `response`
{status, headers, json|text}; a line without `response` only prepares the next one. Values that differ by nature (timestamps, ids, ports
the server picks, host names) are compared by shape; a value that a response gave and a later request uses again is replaced by the one
this server gave at the same place. A read that follows a pause is repeated until it agrees or the time is over, as the recording's reader
waited too.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
STAMP = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z"
SHAPES = (  # two texts agree when the parts that match are blanked out of both
    ("task", re.compile(r"[\w.\-]+\.(?:instance|marathon)-" + UUID + r"(?:\.[\w\-]+)*(?:\.\d+)?")),
    ("agent", re.compile(UUID + r"-S\d+")),
    ("framework", re.compile(UUID + r"-\d{4}")),
    ("uuid", re.compile(UUID)),
    ("stamp", re.compile(STAMP)),
    ("address", re.compile(r"(?:https?://)?(?:\d{1,3}(?:\.\d{1,3}){3}|localhost)(?::\d+)?")),
    ("hostport", re.compile(r"(?<=leader ')[^']+")),
)
CAPTURE = re.compile("|".join(pattern.pattern for _, pattern in SHAPES[:5]))
PORT_KEYS = frozenset({"port", "servicePort", "hostPort", "allocatedHostPort", "ports", "servicePorts"})
FREE_KEYS = frozenset(  # facts of one machine or one moment
    {
        "buildref", "version_", "frameworkId", "leader", "elected", "marathon_config", "zookeeper_config", "http_config", "host",
        "hostname", "lastUnusedOffers", "unusedOfferPercentage", "processedOffersSummary", "timeLeftSeconds", "averageSeconds",
        "medianSeconds", "lifeTime",
        "startedAt", "stagedAt", "lastResponse", "lastFailureCause", "firstSuccess", "lastSuccess", "lastFailure", "message_",
    }
)  # fmt: skip
HEADERS = frozenset(
    {"content-type", "marathon-deployment-id", "location", "allow", "x-marathon-leader", "x-marathon-via", "www-authenticate"}
)
LOW_PORT, HIGH_PORT, HOST_PORT = 10_000, 20_000, 31_000
JSON_ACCEPTED = {"Accept": "application/json"}


def blank(text: str) -> str:
    """The text with everything that differs by nature replaced by its kind."""
    for name, pattern in SHAPES:
        text = pattern.sub(f"<{name}>", text)
    return text


def _order(value: Any) -> str:
    return blank(json.dumps(value, sort_keys=True))


def _numbers(want: float, got: float, path: str, key: str) -> list[str]:
    picked = LOW_PORT <= want <= HIGH_PORT or want >= HOST_PORT
    if want == got or (key in PORT_KEYS and picked and got >= LOW_PORT):
        return []
    return [f"{path}: want {want!r}, got {got!r}"]


def _lists(want: list[Any], got: list[Any], path: str, key: str) -> list[str]:
    if key not in PORT_KEYS and len(want) == len(got) > 1 and not path.endswith("/steps"):
        want, got = sorted(want, key=_order), sorted(got, key=_order)
    if key == "versions":
        got = got[: len(want)]  # history outlives what it is about
    if len(want) != len(got):
        return [f"{path}: want {len(want)} items, got {len(got)}"]
    inner = key if key in PORT_KEYS else ""
    return [d for i, (a, b) in enumerate(zip(want, got, strict=True)) for d in differences(a, b, f"{path}({i})", inner)]


def _objects(want: dict[str, Any], got: dict[str, Any], path: str) -> list[str]:
    out = [f"{path}/{key}: missing" for key in want if key not in got and key not in FREE_KEYS]
    out += [f"{path}/{key}: not expected" for key in got if key not in want and key not in FREE_KEYS]
    for key in want.keys() & got.keys():
        if want.get("message") == "Invalid JSON" and key == "details" and isinstance(want[key], str):
            out += [] if isinstance(got[key], str) else [f"{path}/details: want a text"]  # the parser's own words
        else:
            out += differences(want[key], got[key], f"{path}/{key}", key)
    return out


def differences(want: Any, got: Any, path: str = "", key: str = "") -> list[str]:
    """Where `got` is not what `want` says, as readable lines; an empty list when they agree."""
    if key in FREE_KEYS:
        return []
    if isinstance(want, bool) or isinstance(got, bool) or want is None or got is None:
        return [] if want is got else [f"{path}: want {want!r}, got {got!r}"]
    if isinstance(want, (int, float)) and isinstance(got, (int, float)):
        return _numbers(want, got, path, key)
    if isinstance(want, str) and isinstance(got, str):
        return [] if blank(want) == blank(got) else [f"{path}: want {want!r:.160}, got {got!r:.160}"]
    if isinstance(want, list) and isinstance(got, list):
        return _lists(want, got, path, key)
    if isinstance(want, dict) and isinstance(got, dict):
        return _objects(want, got, path)
    return [f"{path}: want {type(want).__name__}, got {type(got).__name__}"]


def _aligned(node: Any) -> Any:
    """The same value with its lists in an order that does not depend on ids, so that two servers' lists can be laid side by side."""
    if isinstance(node, dict):
        return {key: _aligned(value) for key, value in node.items()}
    if isinstance(node, list):
        return sorted(map(_aligned, node), key=lambda item: re.sub(UUID + "|" + STAMP, "", json.dumps(item, sort_keys=True)))
    return node


def _texts(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _texts(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _texts(value, f"{path}({index})")
    elif isinstance(node, str):
        yield path, node


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One exchange that did not go as recorded."""

    number: int
    label: str
    request: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.number} {self.label} | {self.request}\n    " + "\n    ".join(self.lines)


@dataclass
class Player:
    """Plays transcripts against one server."""

    base: str
    max_wait: float = 10.0
    known: dict[str, str] = field(default_factory=dict)
    """recorded value -> this server's value"""

    def send(self, request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        """One request with this server's values in place of the recorded ones: status, headers, body (JSON when it is)."""
        url = urlsplit(self.base)
        connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port or 80, timeout=40)
        body = request.get("body")
        data = None if body is None else self._swapped(body).encode()
        try:
            connection.putrequest(request["method"], self._swapped(request["path"]), skip_accept_encoding=True)
            for name, value in (request.get("headers") or {}).items():
                connection.putheader(name, value)
            if data is not None or request["method"] in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(data or b"")))
            connection.endheaders(data)
            answer = connection.getresponse()
            raw = answer.read().decode(errors="replace")
            headers = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        try:
            return answer.status, headers, json.loads(raw)
        except ValueError:
            return answer.status, headers, raw

    def _swapped(self, text: str) -> str:
        return CAPTURE.sub(lambda found: self.known.get(found[0], found[0]), text)

    def settle(self, seconds: float) -> None:
        """Waits until no deployment runs, or as long as it makes sense for one that never ends."""
        deadline = time.monotonic() + seconds
        while self.send({"method": "GET", "path": "/v2/deployments", "headers": JSON_ACCEPTED})[2] and time.monotonic() < deadline:
            time.sleep(0.1)

    def _learn(self, want: Any, got: Any, want_headers: dict[str, str], headers: dict[str, str]) -> None:
        ours = dict(_texts(_aligned(got)))
        pairs = [(want_headers.get(name, ""), headers.get(name, "")) for name in HEADERS]
        pairs += [(text, ours.get(path, "")) for path, text in _texts(_aligned(want)) if "/versions" not in path]
        for theirs, mine in pairs:
            recorded, given = CAPTURE.findall(theirs), CAPTURE.findall(mine)
            if len(recorded) == len(given):
                for old, new in zip(recorded, given, strict=True):
                    self.known.setdefault(old, new)

    def step(self, record: dict[str, Any], wait: float) -> list[str]:
        """One exchange; reads are repeated for `wait` seconds while they differ."""
        want = record["response"]
        want_headers = {name.lower(): value for name, value in dict(want.get("headers") or {}).items()}
        expected = want["json"] if "json" in want else want.get("text", "")
        deadline = time.monotonic() + wait
        while True:
            status, headers, got = self.send(record["request"])
            out = [] if status == want["status"] else [f"status: want {want['status']}, got {status} {str(got)[:120]}"]
            out += _header_differences(want_headers, headers)
            if not out and not (isinstance(expected, str) and expected.lstrip().startswith("<")):
                out += differences(expected, got)
            if not out or record["request"]["method"] != "GET" or time.monotonic() > deadline:
                self._learn(expected, got, want_headers, headers)
                return out
            time.sleep(0.2)

    def play(self, transcript: Path, *, before: Callable[[int], None] = lambda _: None) -> tuple[int, list[Difference]]:
        """A whole transcript: how many exchanges it has, and those that differ. `before` gets the number of each that is next."""
        previous: float | None = None
        count, found = 0, []
        for line in filter(None, transcript.read_text(encoding="utf-8").split("\n")):
            record = json.loads(line)
            before(record["n"])
            if "response" not in record:
                self.send(record["request"])
                continue
            gap = 0.0 if previous is None else max(0.0, record.get("t", 0) - previous)
            previous = record.get("t", previous or 0)
            if gap > 0.15:
                # a read is repeated until it agrees, so that the time that the recording took is enough before the first
                self.settle(gap if record["request"]["method"] == "GET" else max(2 * gap, 2.0))
            lines = self.step(record, self.max_wait if gap > 0.15 else 0.4)
            count += 1
            if lines:
                request = record["request"]
                text = f"{request['method']} {request['path']} {(request.get('body') or '')[:120]}"
                found.append(Difference(number=record["n"], label=record["label"], request=text, lines=tuple(lines[:6])))
        return count, found


def _header_differences(want: dict[str, str], got: dict[str, str]) -> list[str]:
    out = []
    for name in sorted(HEADERS & set(want)):
        if name not in got:
            out.append(f"header {name}: missing")
            continue
        theirs, mine = want[name], got[name]
        if name == "content-type":
            theirs, mine = theirs.replace(" ", ""), mine.replace(" ", "")
        elif name == "allow":
            theirs, mine = ",".join(sorted(theirs.split(","))), ",".join(sorted(mine.split(",")))
        else:
            continue
        if theirs != mine:
            out.append(f"header {name}: want {want[name]!r}, got {got[name]!r}")
    return out
