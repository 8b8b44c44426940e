"""The app as `make run` drives it: the commands of its CLI, each a process of its own with the prepared settings."""

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg

from app.core.scopes import Scope
from app.dev import web
from app.dev.errors import DevelopmentError
from app.dev.processes import Child, Pause, run, stop_leftovers

CLI = ("-m", "app.cli")
"""The command ``gantry``, as arguments of the Python interpreter."""

MIGRATIONS = Path(__file__).parents[1] / "migrations" / "versions"
MIGRATION_TIMEOUT = 3600.0
"""Seconds for all migrations; each of their statements has a limit of its own."""
READY_TIMEOUT = 60.0
"""Seconds for gunicorn and its workers to become ready."""
STOP_TIMEOUT = 40.0
"""Seconds gunicorn gets for requests in flight: a little more than it takes itself at most."""


class Application:
    """The app with ``environment`` as its settings; ``state`` marks its processes, to know leftovers again."""

    def __init__(
        self, environment: Mapping[str, str], state: Path, *, cli: Sequence[str] = CLI, pause: Pause = time.sleep
    ) -> None:
        self.child: Child | None = None
        self._environment = environment
        self._state = state
        self._cli = cli
        self._pause = pause

    def is_migrated(self) -> bool:
        """Whether the database says that it has the newest schema. ``migrate`` finds that out too, but takes seconds for it."""
        name = "GANTRY_DATABASE__DIRECT_URL"
        try:
            url = self._environment.get(name) or self._environment["GANTRY_DATABASE__URL"]
            with psycopg.connect(url, connect_timeout=5) as connection:
                found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        except (KeyError, psycopg.Error):
            return False
        return found == [(newest_revision(),)]

    def migrate(self) -> None:
        """Bring the database to the newest schema."""
        command = [sys.executable, *self._cli, "migrate"]
        run("gantry migrate", command, environment=self._environment, timeout=MIGRATION_TIMEOUT, pause=self._pause)

    def create_key(self) -> str:
        """Make an API key with every scope and return it."""
        scopes = [part for scope in Scope for part in ("--scope", scope.value)]
        command = [sys.executable, *self._cli, "keys", "create", "--name", "development", *scopes]
        return run("gantry keys create", command, environment=self._environment, pause=self._pause).strip()

    def start(self, admin: str) -> None:
        """Start gunicorn and wait until ``/readyz`` of the admin origin says 200. It logs to the terminal.

        Raises ``DevelopmentError`` when gunicorn ends or does not become ready.
        """
        # Python ignores an -X option that it does not know: the mark only shows in the processes' command lines.
        command = [sys.executable, "-X", _mark(self._state), *self._cli, "serve"]
        self.child = Child("gunicorn", command, environment=self._environment)
        deadline = time.monotonic() + READY_TIMEOUT
        while (status := web.status(admin, "/readyz")) != 200:
            if self.child.status is not None:
                raise DevelopmentError(self.child.ended())
            if time.monotonic() > deadline:
                raise DevelopmentError(
                    f"gunicorn is not ready after {READY_TIMEOUT:g} s: {admin}/readyz says {status or 'nothing'}"
                )
            self._pause(0.05)

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop gunicorn: it finishes the requests in flight, unless ``hurried()``."""
        if self.child:
            self.child.stop(STOP_TIMEOUT, hurried=hurried)


def newest_revision() -> str:
    """The revision of the newest migration: the number its file begins with."""
    return max(path.name.partition("_")[0] for path in MIGRATIONS.glob("[0-9]*.py"))


def _mark(state: Path) -> str:
    return f"gantry-state={state}"


def stop_leftover_application(state: Path) -> int:
    """Stop the gunicorn that a killed runner left. Returns how many processes there were."""
    return stop_leftovers(f"-X {_mark(state)} ", signal.SIGTERM)
