"""How ``gantry serve`` starts the server. Import this first: it imports nothing that counts metrics."""

import gc
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from app.core.config import Settings
from app.core.logs.level import watch_level
from app.core.server.runtime import VARIABLE, prepare_runtime

if TYPE_CHECKING:
    from app.core.server.application import AppFactory
    from app.core.server.problems import ProblemBody

__all__ = ["prepare_runtime", "run_server"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.server")

ACCELERATORS: Final = ("uvloop", "httptools")


def run_server(settings: Settings, app_factory: "AppFactory", problem_body: "ProblemBody") -> None:
    """Serve until a signal says to stop; ends with ``SystemExit``: 0 after a stop that was asked for.

    Call ``prepare_runtime`` first and configure logging. ``app_factory`` is called in each worker, after the fork. ``problem_body`` gives
    the problem documents for what is answered without the app.
    """
    _require_accelerators()
    from app.core.server.application import GantryApplication

    folder = Path(os.environ[VARIABLE])
    watch_level(folder, settings.log.level)
    application = GantryApplication(settings, app_factory, problem_body, folder)
    # What is loaded by now stays in memory that all processes share: the collector of each would write into it, and so copy it.
    gc.collect()
    gc.freeze()
    application.run()


def _require_accelerators() -> None:
    """uvicorn would do without them in silence, at several times the cost of a request."""
    for name in ACCELERATORS:
        try:
            importlib.import_module(name)
        except ImportError as error:
            log.critical(
                "accelerator_missing", module=name, reason=str(error), remedy="install Gantry's dependencies: uv sync"
            )
            sys.exit(1)
