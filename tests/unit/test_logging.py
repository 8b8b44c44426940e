"""Logs: one event a line, whoever says it, and no secret in a traceback."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app.core.config import LogSettings
from app.core.logging import configure_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


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
