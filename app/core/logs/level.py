"""How important an event must be to be written, and how that changes while a server runs.

``gantry log-level`` writes a file into the private folder of the server; every process of the server looks there about once a second.
"""

import logging
import os
import tempfile
from pathlib import Path
from typing import Final

import structlog

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

FILE: Final = "log-level"

FLOORS: Final = {"psycopg": logging.INFO, "redis": logging.INFO, "urllib3": logging.INFO, "sqlalchemy": logging.WARNING}
"""Libraries that at a lower level say what goes over their connections: people's data, and addresses with what is in them."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.logs")

threshold = logging.INFO
"""Of this process, for the events of structlog and of the standard library alike."""


def set_level(level: str) -> None:
    """Write events of this level and above, from now on, in this process."""
    global threshold
    threshold = LEVELS[level]
    logging.getLogger().setLevel(threshold)
    for name, floor in FLOORS.items():
        logging.getLogger(name).setLevel(floor)


class LevelFile:
    """The level that was asked for at run time, in a server's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def read(self) -> str | None:
        """The level, if there is one."""
        try:
            level = self._path.read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
        return level if level in LEVELS else None

    def write(self, level: str | None) -> None:
        """Ask for a level, or for the configured one. Raises ``OSError`` when the folder is gone."""
        if level is None:
            self._path.unlink(missing_ok=True)
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f".{FILE}-", dir=self._path.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(level)
        Path(temporary).replace(self._path)  # nobody reads half a word


class LevelWatch:
    """Follows the file in one process. Children inherit it, with the level that is in force."""

    def __init__(self, file: LevelFile, configured: str) -> None:
        self._file = file
        self._configured = configured
        self._now = configured

    def look(self) -> None:
        """Take over what the file says: it is of a few bytes, in memory or as good as. Call it about once a second."""
        asked = self._file.read() or self._configured
        if asked == self._now:
            return
        before, self._now = self._now, asked
        # Said even when neither level lets it through.
        set_level(min(before, asked, "info", key=LEVELS.__getitem__))
        log.info("log_level_changed", before=before, now=asked)
        set_level(asked)


_watch: LevelWatch | None = None


def watch_level(folder: Path, configured: str) -> None:
    """From now on ``look_for_level()`` follows the file in the folder. Call it before the first fork."""
    global _watch
    _watch = LevelWatch(LevelFile(folder), configured)


def look_for_level() -> None:
    """Follow the file, in a process of a server; elsewhere there is none."""
    if _watch is not None:
        _watch.look()
