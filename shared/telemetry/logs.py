"""Logs: one line per entry on standard error, as text or as JSON, with the request's and the trace's id."""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from shared.times import rfc3339

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]

REQUEST: Final[ContextVar[tuple[str, str] | None]] = ContextVar("request", default=None)
"""Id and traceparent of the request being handled."""

_QUIET: Final = {
    "aiokafka": logging.CRITICAL,  # each attempt to connect; its users log once that Kafka is unavailable
    "faststream": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "opentelemetry": logging.ERROR,
    "psycopg": logging.ERROR,
    "psycopg.pool": logging.ERROR,
    "pymongo": logging.WARNING,
    "urllib3": logging.WARNING,
    "uvicorn.access": logging.ERROR,
    "uvicorn.error": logging.WARNING,
}
"""Libraries that log every call, or addresses and parts of statements."""


class JsonFormatter(logging.Formatter):
    """An entry as one JSON object: time, level, service, logger, message and any further fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """One line; a stack trace is a string of several lines in it."""
        entry: dict[str, Any] = {
            "time": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = REQUEST.get()
        if request is not None:
            entry["requestId"], entry["traceparent"] = request
            entry["traceId"] = request[1][3:35]
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


class TextFormatter(logging.Formatter):
    """An entry for human readers."""

    def format(self, record: logging.LogRecord) -> str:
        """The time of day, level, logger and message, then the request's id, if there is one."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        line = f"{moment} {record.levelname.lower():7} {record.name}: {record.getMessage()}"
        request = REQUEST.get()
        if request is not None:
            line += f" [{request[0]} {request[1]}]"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure_logging(level: LogLevel, fmt: LogFormat, *, service: str) -> None:
    """Set up the root logger, once at the start of a process. No library logs tokens or statements."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service) if fmt == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))
