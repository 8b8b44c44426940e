"""Structured logs: one event a line on standard output, JSON in production and readable on a terminal.

structlog renders its own events straight to bytes, which is the cheap way and the one that requests take. What the standard library's
loggers say (gunicorn, uvicorn, Alembic, SQLAlchemy, ``warnings``) goes through the same processors, so that every line has the same shape,
and whatever is said while a request is at work carries its ids. ``app.core.logs.fields`` says what each field means.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.types import EventDict, ExcInfo, Processor, WrappedLogger

from app.core.config import LogSettings
from app.core.logs import level
from app.core.logs.writer import BufferedWriter, DirectWriter, LineWriter
from app.core.telemetry.current import current_request

_STACKS: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Without local variables: these hold keys, bodies and addresses."""


def _exception(exc_info: ExcInfo) -> list[dict[str, Any]]:
    stacks = _STACKS(exc_info)
    _cut_messages(stacks)
    return stacks


def _cut_messages(stacks: list[dict[str, Any]]) -> None:
    # What follows the first line is people's data too often: PostgreSQL's DETAIL has the row, pydantic's lines have the input.
    for stack in stacks:
        stack["exc_value"] = stack["exc_value"].partition("\n")[0]
        for group in stack["exceptions"]:
            _cut_messages(group)


TRACEBACKS: Final = structlog.processors.ExceptionRenderer(_exception)


def _json(event: EventDict) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # A lone surrogate, a number of more than 64 bits: no reason to lose the line, and less to raise in whoever says it.
        return json.dumps(event, default=repr, skipkeys=True).encode() + b"\n"


def _render_json(logger: WrappedLogger, method: str, event: EventDict) -> bytes:  # noqa: ARG001 - a processor's signature
    return _json(event)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _common(pod: str | None) -> Processor:
    """Drops what is below the level in force, and adds what every line has. One function, since each request pays for it."""
    constant = {} if pod is None else {"pod": pod}

    def add(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        # The standard library's events come without their logger, and their level has been looked at.
        record = event.get("_record")
        if record is None and _NUMBERS[method] < level.threshold:
            raise structlog.DropEvent
        line = {
            "timestamp": _now(),
            "level": method,
            "event": None,  # its place
            "logger": logger.name if record is None else record.name,
            "pid": os.getpid(),
            **constant,
        }
        request = current_request.get()
        if request is not None:
            line["request_id"] = request.request_id
            line["trace_id"] = request.trace_id
            if request.span_id:
                line["span_id"] = request.span_id
        line.update(event)
        return line

    return add


_NUMBERS: Final = level.LEVELS | {"critical": logging.CRITICAL, "notset": logging.NOTSET}


class LineLogger:
    """What structlog calls with each rendered event."""

    def __init__(self, name: str, write: Callable[[bytes], None]) -> None:
        self.name = name
        self.msg = self.debug = self.info = self.warning = self.error = self.critical = self.notset = write


class LineHandler(logging.Handler):
    """What the standard library calls with each record."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless it is below the level: a library may have set its own logger lower."""
        if record.levelno < level.threshold:
            return
        try:
            self._writer.write(self.format(record).encode())
        except Exception:  # noqa: BLE001 - as logging does it
            self.handleError(record)


_writer: LineWriter | None = None
_stream: TextIO | None = None
"""Kept: a stream that nobody has is closed, and the next socket would get its descriptor, and the lines."""


def dropped_lines() -> int:
    """Log lines that this process has not written, because standard output took none and the buffer was full, or it is gone."""
    return 0 if _writer is None else _writer.dropped


def configure_logging(settings: LogSettings, stream: TextIO | None = None, *, buffered: bool = False) -> None:
    """Set up structlog, the root logger and ``warnings`` of this process.

    ``buffered`` is for servers: lines are written by a thread of each process, so that nobody who logs waits for standard output
    (``app.core.logs.writer``). On a terminal they are written at once all the same.
    """
    global _writer, _stream
    _stream = stream = stream or sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - Python has no stdout when it is closed at start
    terminal = stream.isatty()
    readable = settings.format == "console" or (settings.format == "auto" and terminal)
    common = _common(None if terminal else os.environ.get("POD_NAME") or os.environ.get("HOSTNAME"))
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback), _to_bytes]
        if readable
        else [TRACEBACKS, _render_json]
    )
    _writer = DirectWriter(stream)
    if buffered and not terminal:
        _writer = BufferedWriter(stream.fileno(), settings.buffer_lines, _lost_note(common, render))
    write = _writer.write
    structlog.configure(
        processors=[common, *render],
        # Loggers are kept, and the level may change: `common` filters.
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=lambda *names: LineLogger(names[0] if names else "gantry", write),
        cache_logger_on_first_use=True,
    )
    handler = LineHandler(_writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, _to_text],
        )
    )
    logging.getLogger().handlers[:] = [handler]
    logging.captureWarnings(True)
    level.set_level(settings.level)


def _to_bytes(logger: WrappedLogger, method: str, text: Any) -> bytes:  # noqa: ARG001 - a processor's signature
    return str(text).encode(errors="replace") + b"\n"


def _to_text(logger: WrappedLogger, method: str, line: Any) -> str:  # noqa: ARG001 - a processor's signature
    return bytes(line).decode()  # logging has formatters return text


def _lost_note(common: Processor, render: list[Processor]) -> Callable[[int], bytes]:
    """The line that says how many were lost. Whoever asks for it is the writer, which can't log."""

    logger = LineLogger("gantry.logs", lambda _: None)

    def note(lines: int) -> bytes:
        event: Any = {
            "level": "warning",
            "event": "log_lines_dropped",
            "lines": lines,
            "reason": "standard output took no lines, and the buffer (log.buffer_lines) was full",
        }
        for processor in (common, *render):
            event = processor(logger, "critical", event)  # it is written whatever the level in force is
        return bytes(event)

    return note
