"""What all servers of a benchmark share: one PostgreSQL with one table of items, one Valkey, one API key."""

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import Connection

from app.core.scopes import Scope
from app.dev.processes import run
from app.dev.temporary import temporary_postgres, temporary_valkey
from loadtests.paired.workloads import ITEMS, OWNERS

UNLIMITED = "1000000000/minute"
"""The rate limit is counted as always, and never reached."""


@dataclass(frozen=True)
class Backing:
    """Where the servers find what they need."""

    database_url: str
    valkey_url: str
    key: str
    settings: dict[str, str]
    """Gantry's settings, as environment variables, without ports and without the shared store of limits."""
    postgres_version: str


@contextmanager
def backing() -> Iterator[Backing]:
    """Start the servers on the present CPU, migrate, fill the table; all is gone after the block."""
    password = secrets.token_urlsafe(16)
    with temporary_postgres() as postgres, temporary_valkey() as valkey:
        postgres.ensure_database("gantry", password)
        url = postgres.url("gantry", "gantry", password)
        settings = {
            "GANTRY_DATABASE__URL": url,
            "GANTRY_SECURITY__KEY_PEPPERS": json.dumps([secrets.token_urlsafe(32)]),
            "GANTRY_SECURITY__CURSOR_KEYS": json.dumps([secrets.token_urlsafe(32)]),
            "GANTRY_LIMITS__DEFAULT": UNLIMITED,
            "GANTRY_LOG__FORMAT": "json",
        }
        gantry("migrate", settings=settings)
        with postgres.connect("gantry") as connection:
            fill(connection)
        scopes = ("--scope", Scope.items_read, "--scope", Scope.items_write)
        key = gantry("keys", "create", "--name", "benchmark", *scopes, settings=settings)
        yield Backing(url, valkey.url(), key.strip(), settings, postgres.binaries.version)


def clean_environment() -> dict[str, str]:
    """This process's environment without what would steer a server: ``GANTRY_*``, ``PG*``, gunicorn's, Python's and the like."""
    steering = (
        "GANTRY_",
        "PG",
        "OTEL_",
        "PROMETHEUS_",
        "GUNICORN_",
        "PYTHON",
        "WEB_CONCURRENCY",
        "FORWARDED_ALLOW_IPS",
    )
    return {name: value for name, value in os.environ.items() if not name.startswith(steering)}


def gantry(*arguments: str, settings: dict[str, str]) -> str:
    """Run a command of Gantry's CLI and return what it printed. Raises ``DevelopmentError`` when it fails."""
    command = [sys.executable, "-m", "app.cli", *arguments]
    return run(f"gantry {arguments[0]}", command, environment=clean_environment() | settings)


def fill(connection: Connection[tuple[object, ...]]) -> None:
    """Fill an empty table with the items that ``workloads.expected_item`` expects."""
    connection.execute(
        "INSERT INTO users (name, email, email_key, age) SELECT 'User ' || n, format('u%%s@example.com', n), "
        "format('u%%s@example.com', n), 36 FROM generate_series(1, %s) AS n",
        [OWNERS],
    )
    connection.execute(
        "INSERT INTO items (name, description, owner_id) SELECT 'Item ' || n, "
        "format('Bronze, with a crank, number %%s of its series', n), n %% %s + 1 FROM generate_series(1, %s) AS n",
        [OWNERS, ITEMS],
    )
    # So that no autovacuum comes while a read is measured.
    connection.execute("VACUUM ANALYZE users, items")
