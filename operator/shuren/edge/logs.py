"""Log lines of what runs beside traffic: JSON for collectors, or text for people. No secret value ever reaches a log call."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from enum import Enum


class LogFormat(Enum):
    """JSON for collectors, CONSOLE for people."""

    JSON = "json"
    CONSOLE = "console"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ConsoleLines(logging.Formatter):
    """Time, level and message."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        text = f"{time} {record.levelname[:4]} {record.name.removeprefix('shuren.')}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up(log_format: LogFormat, level: str) -> None:
    """Send everything to standard error in the chosen form; libraries speak from WARNING on, kazoo from ERROR on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else ConsoleLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("kazoo").setLevel(logging.ERROR)
    logging.getLogger("shuren").setLevel(level)
