"""A real PostgreSQL for `make run` and the tests: its own data folder, TCP on 127.0.0.1, passwords.

No Unix socket: its path is limited to 107 bytes, and a checkout may be anywhere.
"""

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import psycopg
from psycopg import sql

from app.dev.binaries import PostgresBinaries, usable_by
from app.dev.errors import DevelopmentError
from app.dev.processes import Account, Child, Pause, run, stop_leftovers, tail

HOST = "127.0.0.1"
START_TIMEOUT = 60.0
"""Seconds for a start; after a crash it includes the replay of the log."""
STOP_TIMEOUT = 30.0
"""Seconds for a fast shutdown: sessions are ended, what is in memory is written."""

UNSAFE_BUT_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests: a power failure may destroy the data, a crash of PostgreSQL itself does not."""


class EmbeddedPostgres:
    """One PostgreSQL server. ``port`` is a wish: when it is not free, another one is taken and stands there.

    ``account`` (when root calls) must be able to enter the parent of ``data``; if it can't run the binaries where they are,
    a copy is made there.
    ``durable=False`` is for data that may be lost; ``settings`` are further server parameters (``-c name=value``).
    """

    def __init__(
        self,
        binaries: PostgresBinaries,
        data: Path,
        *,
        superuser_password: str,
        log: Path,
        port: int = 0,
        account: Account | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        pause: Pause = time.sleep,
    ) -> None:
        self.binaries = binaries
        self.data = data
        self.port = port
        self.child: Child | None = None
        self._superuser_password = superuser_password
        self._log = log
        self._account = account
        self._durable = durable
        self._settings = ({} if durable else UNSAFE_BUT_QUICK) | dict(settings or {})
        self._pause = pause
        self._environment = server_environment()

    @cached_property
    def _programs(self) -> Path:
        return usable_by(self._account, self.binaries, self.data.parent).directory

    def exists(self) -> bool:
        """Whether the data folder has been made."""
        return (self.data / "PG_VERSION").exists()

    def create(self) -> None:
        """Make the data folder (initdb). An interrupted attempt leaves nothing that counts."""
        unfinished = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=unfinished.parent) as password:
            password.write(self._superuser_password)
            password.flush()
            if self._account:
                os.chown(unfinished, self._account.uid, self._account.gid)
                os.chown(password.name, self._account.uid, self._account.gid)
            options = [
                "--encoding=UTF8",
                "--locale=C",
                "--username=postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password.name}",
            ]
            if not self._durable:
                options.append("--no-sync")
            command: list[str | Path] = [self._programs / "initdb", "-D", unfinished, *options]
            run("initdb", command, environment=self._environment, account=self._account, pause=self._pause)
        unfinished.rename(self.data)

    def _check_data(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != str(self.binaries.major):
            raise DevelopmentError(
                f"the data in {self.data} was made by PostgreSQL {made_by}, but {self.binaries.directory} has "
                f"{self.binaries.version}. Set GANTRY_PG_BIN to the programs of PostgreSQL {made_by}, or start anew "
                "with `make clean` (without the data)."
            )
        owner = self.data.stat().st_uid
        expected = self._account.uid if self._account else os.geteuid()
        if owner != expected:
            raise DevelopmentError(
                f"the data in {self.data} was made by another user (uid {owner}); run as that user, or remove it"
            )

    def start(self) -> None:
        """Create the data folder if needed, start the server and wait until it answers.

        Raises ``DevelopmentError`` with the end of its log when it does not.
        Stops one that a killed runner left on this data first.
        """
        stop_leftover_postgres(self.data)
        if self.exists():
            self._check_data()
        else:
            self.create()
        deadline = time.monotonic() + START_TIMEOUT
        wished = self.port
        try:
            while not self._attempt(wished, deadline):
                wished = 0
                self._pause(0.2)
        except BaseException:
            self.stop()
            raise

    def _attempt(self, wished: int, deadline: float) -> bool:
        """Start and wait for an answer; ``False`` when it ended for a reason that passes."""
        self.port = free_port(wished)
        self.child = child = self._launch()
        while not self._answers():
            if child.status is not None:
                # Another program took the port, or the sessions of a killed server are just ending.
                passing = any(sign in tail(self._log) for sign in ("Address already in use", "shared memory block"))
                if passing and time.monotonic() < deadline:
                    return False
                raise DevelopmentError(child.ended())
            if time.monotonic() > deadline:
                raise DevelopmentError(
                    f"PostgreSQL did not answer within {START_TIMEOUT:g} s; the end of {self._log}:\n{tail(self._log)}"
                )
            self._pause(0.02)
        return True

    def _launch(self) -> Child:
        parameters = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        return Child(
            "PostgreSQL",
            [
                self._programs / "postgres",
                "-D",
                self.data,
                "-h",
                HOST,
                "-p",
                str(self.port),
                "-k",
                "",
                *parameters,
            ],
            environment=self._environment,
            log=self._log,
            account=self._account,
            stop_signal=signal.SIGINT,  # fast shutdown
            hurry_signal=signal.SIGQUIT,  # immediate shutdown: the log is replayed at the next start
        )

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError as problem:
            if "password authentication failed" in str(problem):
                raise DevelopmentError(
                    f"the data in {self.data} has other passwords than those kept with it; "
                    "start anew with `make clean` (without the data)"
                ) from None
            return False
        return True

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection in autocommit mode."""
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user="postgres",
            password=self._superuser_password,
            dbname=database,
            sslmode="disable",
            gssencmode="disable",
            options="",
            connect_timeout=2,
            autocommit=True,
        )

    def ensure_database(self, name: str, password: str) -> None:
        """Have a role ``name`` with that password and a database of the same name that it owns."""
        identifier, secret = sql.Identifier(name), sql.Literal(password)
        with self.connect() as connection:
            known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).rowcount
            verb = sql.SQL("ALTER" if known else "CREATE")
            connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, identifier, secret))
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
                connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(identifier))

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """``postgresql://…`` for a client; the superuser's unless told otherwise."""
        return f"postgresql://{user}:{password or self._superuser_password}@{HOST}:{self.port}/{database}"

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop the server (fast shutdown; at once when ``hurried()``) and wait until it is gone."""
        if self.child:
            self.child.stop(STOP_TIMEOUT, hurried=hurried)


def stop_leftover_postgres(data: Path) -> int:
    """Stop a server that a killed runner left on this data, and remove its ``postmaster.pid``. Returns how many.

    With a stale file PostgreSQL refuses to start as soon as any process of its user has that pid, even a zombie.
    """
    found = stop_leftovers(f"postgres -D {data} ", signal.SIGINT)
    (data / "postmaster.pid").unlink(missing_ok=True)
    return found


def server_environment() -> dict[str, str]:
    """The environment for a database server: without what steers libpq (``PG*``) and without the app's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "GANTRY_", "LC_"))}
    return kept | {"LC_ALL": "C"}


def free_port(wished: int = 0) -> int:
    """``wished`` if nobody listens there on 127.0.0.1, else a port that is free now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wished))
        except OSError:
            probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
