"""Log lines with the resource and the pass that they belong to, as JSON or for people. No secret value ever reaches a log call."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from shuren.operator.settings import LogFormat
from shuren.runtime.workers import CURRENT_PASS


def _context() -> dict[str, str | int]:
    info = CURRENT_PASS.get()
    if info is None:
        return {}
    context: dict[str, str | int] = {"resource": str(info.key)}
    if info.number:
        context["pass"] = info.number
    if info.generation:
        context["generation"] = info.generation
    return context


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, resource, generation, pass, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_context(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ConsoleLines(logging.Formatter):
    """Time, level, message, and in brackets the resource, its generation and the number of the pass."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        context = _context()
        generation = f" generation {context['generation']}" if "generation" in context else ""
        number = f" #{context['pass']}" if "pass" in context else ""
        where = f" [{context['resource']}{generation}{number}]" if context else ""
        text = f"{time} {record.levelname[:4]} {record.name.removeprefix('shuren.')}: {record.getMessage()}{where}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _expected(record: logging.LogRecord) -> bool:
    """Drop what kopf says of things that are as they should be.

    It warns when it runs in a thread, which is where it runs. It calls each try at an API server that is away an error: the first is told,
    as a warning, for it tries again by itself.
    """
    if not record.name.startswith("kopf"):
        return True
    text = record.getMessage()
    if "failed; will retry" in text:
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return "attempt #1 " in text
    return "OS signals are ignored" not in text


def set_up(log_format: LogFormat, level: str) -> None:
    """Send everything to standard error in the chosen form; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else ConsoleLines())
    handler.addFilter(_expected)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("shuren").setLevel(level)
    # each attempt to connect is a warning to kazoo; that ZooKeeper is away, and why, is told once by whoever reads from it
    logging.getLogger("kazoo").setLevel(logging.ERROR)
