"""Logs: one event a line, whoever says it, and no secret in a traceback."""

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from pydantic import BaseModel, EmailStr

from app.core.config import LogSettings
from app.core.logging import configure_logging
from app.core.logs import level
from app.core.logs.fields import COMMON
from app.core.logs.level import LevelFile, LevelWatch, set_level
from app.core.telemetry.current import CurrentRequest, current_request

WORKING = CurrentRequest("r-1", "a" * 32, "b" * 16)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before, root = structlog.get_config(), logging.getLogger()
    handlers, root_level, threshold = list(root.handlers), root.level, level.threshold
    floors = {name: logging.getLogger(name).level for name in level.FLOORS}
    yield
    structlog.configure(**before)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(root_level)
    level.threshold = threshold
    for name, floor in floors.items():
        logging.getLogger(name).setLevel(floor)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_of_both_kinds_have_one_shape() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    structlog.get_logger("gantry.test").info("said", answer=42)
    logging.getLogger("uvicorn.error").warning("worker %s", "left")
    ours, theirs = lines(stream)
    assert (ours["event"], ours["level"], ours["logger"], ours["answer"]) == ("said", "info", "gantry.test", 42)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("worker left", "warning", "uvicorn.error")
    assert ours["timestamp"].endswith("Z")
    assert theirs["timestamp"].endswith("Z")


def test_an_unnamed_logger_is_ours_and_what_json_does_not_know_is_shown() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(format="json"), stream)
    structlog.get_logger().info("said", thing={1, 2})
    assert lines(stream)[0]["logger"] == "gantry"
    assert lines(stream)[0]["thing"] == "{1, 2}"


def test_the_level_holds_for_both() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="warning"), stream)
    structlog.get_logger("gantry.test").info("not said")
    logging.getLogger("somebody").info("not said")
    assert not stream.getvalue()


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    configure_logging(LogSettings(), stream)
    structlog.get_logger("gantry.test").info("said", answer=42)
    assert not stream.getvalue().startswith("{")
    assert "said" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("standard", [False, True])
def test_a_traceback_shows_no_local_variable(form: str, standard: bool) -> None:
    stream = io.StringIO()
    configure_logging(LogSettings.model_validate({"format": form}), stream)
    secret = "".join(["do-not-", "log-this"])
    logger = logging.getLogger("somebody") if standard else structlog.get_logger("gantry.test")
    try:
        raise RuntimeError(len(secret))
    except RuntimeError:
        logger.exception("failed")
    assert "RuntimeError" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_every_source_has_the_common_fields_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "gantry-api-1")
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    structlog.get_logger("gantry.test").info("said")
    sources = ["gunicorn.error", "uvicorn.error", "alembic.runtime.migration", "sqlalchemy.pool", "opentelemetry.sdk"]
    for name in (*sources, "somebody.else"):
        logging.getLogger(name).warning("said by %s", name)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging(LogSettings(), stream)  # once more, beside pytest's own capture of warnings
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    said = lines(stream)
    assert [line["logger"] for line in said] == ["gantry.test", *sources, "somebody.else", "py.warnings"]
    assert "DeprecationWarning: old ways" in said[-1]["event"]
    for line in said:
        assert list(line) == ["timestamp", "level", "event", "logger", "pid", "pod"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
        assert (line["pid"], line["pod"]) == (os.getpid(), "gantry-api-1")
        assert line.keys() <= COMMON.keys()


def test_the_pod_is_the_host_unless_a_person_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAME", raising=False)
    monkeypatch.setenv("HOSTNAME", "host-1")
    stream, terminal = io.StringIO(), Terminal()
    for where in (stream, terminal):
        configure_logging(LogSettings(), where)
        structlog.get_logger("gantry.test").info("said")
    assert lines(stream)[0]["pod"] == "host-1"
    assert "host-1" not in terminal.getvalue()
    monkeypatch.delenv("HOSTNAME")
    configure_logging(LogSettings(), stream)
    structlog.get_logger("gantry.test").info("said")
    assert "pod" not in lines(stream)[1]


def test_what_is_said_during_a_request_has_its_ids() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)

    def work(request: CurrentRequest) -> None:
        current_request.set(request)
        logging.getLogger("somebody").warning("theirs")
        structlog.get_logger("gantry.test").info("ours")
        structlog.get_logger("gantry.test").info("ours", request_id="r-2", trace_id="c" * 32, span_id="d" * 16)

    copy_context().run(work, WORKING)
    copy_context().run(work, CurrentRequest("r-3", "e" * 32))
    logging.getLogger("somebody").warning("afterwards")
    ids = [(e.get("request_id"), e.get("trace_id"), e.get("span_id")) for e in lines(stream)]
    own = ("r-2", "c" * 32, "d" * 16)
    assert ids[:3] == [("r-1", "a" * 32, "b" * 16)] * 2 + [own]
    assert ids[3:6] == [("r-3", "e" * 32, None)] * 2 + [own]
    assert ids[6] == (None, None, None)


class Person(BaseModel):
    email: EmailStr


@pytest.mark.parametrize("standard", [False, True])
def test_an_exceptions_message_is_cut_before_the_data(standard: bool) -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    logger = logging.getLogger("somebody") if standard else structlog.get_logger("gantry.test")
    detail = "duplicate key value violates a constraint\nDETAIL:  Key (email)=(ada@example.com) already exists."
    try:
        try:
            Person.model_validate({"email": "ada@example.com@"})
        except ValueError as error:
            raise ExceptionGroup("two", [psycopg.errors.UniqueViolation(detail), error]) from error
    except ExceptionGroup:
        logger.exception("failed")
    assert "duplicate key value violates a constraint" in stream.getvalue()
    assert "1 validation error for Person" in stream.getvalue()
    assert "ada@" not in stream.getvalue()


def test_nothing_that_is_said_raises_or_is_lost() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(format="json"), stream)
    structlog.get_logger("gantry.test").info("said", path="\udcff", number=2**70)
    logging.getLogger("somebody").warning("said \udcff\nand more")
    first, second = lines(stream)
    assert (first["path"], first["number"]) == ("\udcff", 2**70)
    assert second["event"] == "said \udcff\nand more"


def test_the_level_changes_for_loggers_that_were_used_before() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    ours, theirs, own = (
        structlog.get_logger("gantry.test"),
        logging.getLogger("somebody"),
        logging.getLogger("somebody.verbose"),
    )
    own.setLevel(logging.DEBUG)

    def say() -> list[str]:
        stream.seek(0)
        stream.truncate()
        for logger in (ours, theirs, own):
            for name in level.LEVELS:
                getattr(logger, name)(name)
        return [line["event"] for line in lines(stream)]

    for count, name in enumerate(reversed(level.LEVELS), start=1):
        set_level(name)
        assert say() == [*level.LEVELS][-count:] * 3
    own.setLevel(logging.NOTSET)


def test_libraries_that_would_tell_peoples_data_do_not_at_any_level() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="debug"), stream)
    for name in ("psycopg", "redis.asyncio", "urllib3.connectionpool", "sqlalchemy.engine.Engine"):
        logging.getLogger(name).debug("SELECT 's3cret'")
    logging.getLogger("sqlalchemy.engine.Engine").info("SELECT 's3cret'")
    assert not stream.getvalue()


@pytest.mark.parametrize(("before", "after"), [("info", "error"), ("error", "warning"), ("error", "debug")])
def test_a_change_of_level_is_said_once_whatever_the_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    monkeypatch.setattr(level, "log", structlog.get_logger("gantry.logs"))  # the other keeps the first test's stream
    stream = io.StringIO()
    configure_logging(LogSettings.model_validate({"level": before}), stream)
    file = LevelFile(tmp_path)
    watch = LevelWatch(file, before)
    for asked, now in ((after, after), (None, before)):
        file.write(asked)
        stream.truncate(0)
        stream.seek(0)
        for _ in range(2):
            watch.look()
        (line,) = lines(stream)
        assert (line["event"], line["now"]) == ("log_level_changed", now)
        assert level.threshold == logging.getLogger().level == level.LEVELS[now]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"loud", b"\xff"])
def test_a_file_that_names_no_level_changes_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / level.FILE).write_bytes(content)
    assert LevelFile(tmp_path).read() is None
