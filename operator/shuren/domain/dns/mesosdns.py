"""Names as Mesos-DNS makes them (docs/docs/naming.md and records/generator.go of mesosphere/mesos-dns)."""

from __future__ import annotations

import hashlib
import re

_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
"""zbase32, made for people's eyes."""
_LONGEST = 63
_BAD = re.compile(r"[^-a-z0-9]")


def label(text: str) -> str:
    """A DNS label (RFC 1123): lower case, dots as dashes, other characters dropped, no dash at the ends, 63 characters at most."""
    plain = _BAD.sub("", text.lower().replace(".", "-").replace("_", "-")).strip("-")
    return plain[:_LONGEST].rstrip("-")


def framework(text: str) -> str:
    """A framework's name keeps its dots: each part is a label."""
    return ".".join(part for part in (label(piece) for piece in text.split(".")) if part)


def task_label(app_id: str) -> str:
    """The label of an app's tasks: Marathon names the tasks of `/a/b/c` `c.b.a`, which becomes `c-b-a`."""
    return label("-".join(reversed(app_id.strip("/").split("/"))))


def canonical_label(app_id: str, task_id: str, agent_id: str) -> str:
    """The label of a single task: `<task>-<5 characters of its id's hash>-<end of the agent's id>`."""
    mark = zbase32(hashlib.sha1(task_id.encode(), usedforsecurity=False).digest())[:5]
    tail = label(agent_id.rpartition("-")[2])
    room = _LONGEST - len(mark) - len(tail) - 2
    return f"{task_label(app_id)[:room].rstrip('-')}-{mark}-{tail}"


def zbase32(data: bytes) -> str:
    """The bytes in zbase32."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(_ALPHABET[int(bits[i : i + 5], 2)] for i in range(0, len(bits), 5))
