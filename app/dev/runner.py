"""`make run`: PostgreSQL, Valkey, migrations, a key, gunicorn; until Ctrl-C, and then all of it back in order."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from app.dev import web
from app.dev.application import CLI, Application, stop_leftover_application
from app.dev.binaries import find_postgres, find_valkey
from app.dev.console import complain, say, step
from app.dev.environment import PREFIX, fill_in, given_settings
from app.dev.errors import DevelopmentError, StopRequested
from app.dev.place import data_folder, outside_path
from app.dev.postgres import EmbeddedPostgres, stop_leftover_postgres
from app.dev.processes import Child
from app.dev.signals import Signals
from app.dev.state import Running, State
from app.dev.unprivileged import server_account
from app.dev.valkey import EmbeddedValkey, stop_leftover_valkey

SECRET_PREFIX = "development-only-"  # noqa: S105 - the beginning of one
"""``app.core.config.DEVELOPMENT_SECRET_PREFIX`` (a test says so); importing that module takes longer than starting PostgreSQL."""

DATABASE = "gantry"
"""Name of the database and of the role that owns it."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for. ``cli``: the arguments of Python that run the command ``gantry``."""

    state: Path
    port: int = 8000
    admin_port: int = 9000
    cli: Sequence[str] = CLI
    trace_console: bool = False


EVERY_SPAN = {"GANTRY_TRACING__CONSOLE": "true", "GANTRY_TRACING__SAMPLE_RATIO": "1"}


class Server(Protocol):
    """What is stopped at the end."""

    child: Child | None

    def stop(self, hurried: Callable[[], bool]) -> None:
        """Stop it and wait until it is gone."""


class Runner:
    """One run. Needs the lock of ``state``."""

    def __init__(self, options: Options, state: State, signals: Signals) -> None:
        self._options = options
        self._state = state
        self._signals = signals
        self._given = given_settings()
        self._servers: list[Server] = []

    def run(self) -> int:
        """Start, watch, stop; see ``commands.run``."""
        try:
            self._start()
            self._watch()
        except StopRequested:
            say("\nStopping (Ctrl-C once more to hurry)")
            return 0
        except DevelopmentError as problem:
            complain(f"\nmake run: {problem}")
            return 1
        finally:
            for server in reversed(self._servers):
                self._stop(server)
            self._state.describe(None)

    def _start(self) -> None:
        say(f"Gantry: preparing, data in {self._state.directory}")
        stop_leftovers(self._state)
        public = self._address("", self._options.port, "PORT")
        admin = self._address("ADMIN_", self._options.admin_port, "ADMIN_PORT")
        self._state.describe(Running(os.getpid(), public))

        own_database = "GANTRY_DATABASE__URL" in self._given
        settings = self._settings() | ({} if own_database else self._start_postgres())
        if "GANTRY_LIMITS__URL" not in self._given:
            settings |= self._start_valkey()
        # What steers libpq in the user's shell (PGOPTIONS, PGSSLMODE, ...) is meant for servers of his own.
        kept = {name: value for name, value in os.environ.items() if own_database or not name.startswith("PG")}
        environment = kept | fill_in(settings, self._given)

        app = Application(environment, self._state.directory, cli=self._options.cli, pause=self._signals.pause)
        if not app.is_migrated():
            with step("apply the migrations"):
                app.migrate()
        key = self._first_key(app)
        self._servers.append(app)
        say("  start gunicorn")
        with step("gunicorn is ready", preview=False):
            app.start(admin)
        recorded = {name: value for name, value in environment.items() if name.upper().startswith((PREFIX, "PG"))}
        self._state.describe(Running(os.getpid(), public, recorded))
        greet(public, admin, key)

    def _settings(self) -> dict[str, str]:
        """The app's settings apart from the servers' addresses."""
        secret = self._state.secret
        return {
            "GANTRY_ENVIRONMENT": "development",
            "GANTRY_SECURITY__KEY_PEPPERS": json.dumps([secret("key_pepper", SECRET_PREFIX)]),
            "GANTRY_SECURITY__CURSOR_KEYS": json.dumps([secret("cursor_key", SECRET_PREFIX)]),
            "GANTRY_SERVER__HOST": web.LOOPBACK,
            "GANTRY_SERVER__PORT": str(self._options.port),
            "GANTRY_SERVER__ADMIN_HOST": web.LOOPBACK,
            "GANTRY_SERVER__ADMIN_PORT": str(self._options.admin_port),
            "GANTRY_SERVER__WORKERS": "2",
        } | (EVERY_SPAN if self._options.trace_console else {})

    def _address(self, kind: str, port: int, variable: str) -> str:
        """The origin of the public or the admin side, whose port is free."""
        host = self._given.get(f"GANTRY_SERVER__{kind}HOST", web.LOOPBACK)
        chosen = self._given.get(f"GANTRY_SERVER__{kind}PORT", str(port))
        web.require_free(host, chosen, f"`make run {variable}=...`")
        return web.origin(host, int(chosen))

    def _start_postgres(self) -> dict[str, str]:
        account = server_account()
        binaries = find_postgres()
        data = data_folder(self._state, account)
        if data.parent != self._state.directory:
            say(f"  (PostgreSQL can't run as root, and nobody else may enter the checkout: its data is in {data})")
        server = EmbeddedPostgres(
            binaries,
            data,
            superuser_password=self._state.secret("superuser_password"),
            log=self._state.logs / "postgres.log",
            port=self._state.number("postgres_port"),
            account=account,
            pause=self._signals.pause,
        )
        self._servers.append(server)
        if not server.exists():
            with step(f"create a PostgreSQL {binaries.version} cluster"):
                server.create()
            self._state.remember("has_key", "")
        password = self._state.secret("database_password")
        with step(f"start PostgreSQL {binaries.version}"):
            server.start()
            server.ensure_database(DATABASE, password)
        self._state.remember("postgres_port", server.port)
        url = server.url(DATABASE, DATABASE, password)
        return {"GANTRY_DATABASE__URL": url, "GANTRY_DATABASE__DIRECT_URL": url}

    def _start_valkey(self) -> dict[str, str]:
        server = EmbeddedValkey(
            find_valkey(),
            self._state.directory / "valkey",
            password=self._state.secret("valkey_password"),
            log=self._state.logs / "valkey.log",
            port=self._state.number("valkey_port"),
            pause=self._signals.pause,
        )
        self._servers.append(server)
        with step("start Valkey"):
            server.start()
        self._state.remember("valkey_port", server.port)
        return {"GANTRY_LIMITS__URL": server.url()}

    def _first_key(self, app: Application) -> str | None:
        """A development key, if this database never got one from here. Only its hash is kept, in the database."""
        database = self._given.get("GANTRY_DATABASE__URL", "embedded")
        identity = hashlib.sha256(database.encode()).hexdigest()
        if self._state.text("has_key") == identity:
            return None
        with step("make a development key"):
            key = app.create_key()
        self._state.remember("has_key", identity)
        return key

    def _watch(self) -> NoReturn:
        """Wait until a stop is asked for (``StopRequested``) or a server ends (``DevelopmentError``)."""
        while True:
            for server in self._servers:
                if server.child and server.child.status is not None:
                    raise DevelopmentError(server.child.ended())
            self._signals.pause(None)

    def _stop(self, server: Server) -> None:
        if server.child is None:
            return
        if server.child.status is None:
            with step(f"stop {server.child.name}", preview=False):
                server.stop(self._signals.hurried)
        else:
            server.stop(self._signals.hurried)  # it ended by itself: only what is left of its session


def greet(public: str, admin: str, key: str | None) -> None:
    """Say where everything is. ``key``: a new one, shown this once."""
    say(f"\n  API     {public}\n  Docs    {public}/docs\n  Health  {admin}/readyz\n  Metrics {admin}/metrics")
    shown = f"{key}  (shown this once)" if key else "the one of the first run; `make key` prints a fresh one"
    say(f"  Key     {shown}")
    say("\nCtrl-C stops everything and keeps the data.\n")


def stop_leftovers(state: State) -> None:
    """Stop what a killed run of this state left running, in the order of a normal stop."""
    found = stop_leftover_application(state.directory)
    found += stop_leftover_valkey(state.directory / "valkey")
    for folder in (state.directory, outside_path(state)):
        found += stop_leftover_postgres(folder / "postgres")
    if found:
        say("  (an earlier run was killed; what it left running has been stopped)")
