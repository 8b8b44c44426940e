"""A migration never makes the application wait for long: what it does about locks, on a real PostgreSQL, while others use the tables."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from app.core.config import DatabaseSettings
from app.core.schema import HEAD
from app.migrations.run import migrate
from tests.conftest import make_database

LOCK_TIMEOUT = 1.5


@pytest.fixture
def settings(worker_id: str) -> DatabaseSettings:
    """A database with the newest schema."""
    url = make_database(f"locks_{worker_id}")
    return DatabaseSettings(url=SecretStr(url), migration_lock_timeout=LOCK_TIMEOUT)


def waiting_for_locks(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'").fetchone()
    assert row is not None
    return int(row[0])


def until(connection: psycopg.Connection, waiting: int) -> None:
    deadline = time.monotonic() + 5
    while waiting_for_locks(connection) < waiting:
        assert time.monotonic() < deadline, f"nobody came to wait: {waiting_for_locks(connection)} of {waiting}"
        time.sleep(0.02)


def test_a_reader_behind_a_waiting_migration_goes_on_when_it_gives_up(settings: DatabaseSettings) -> None:
    url = settings.url.get_secret_value()
    with (
        ThreadPoolExecutor() as pool,  # outermost: a migration that does not give up ends when the holder is gone
        psycopg.connect(url, autocommit=True) as reader,
        psycopg.connect(url, autocommit=True) as observer,
        psycopg.connect(url) as holder,
    ):
        holder.execute("SELECT FROM users")  # a long transaction: its lock stays until the end of this block
        started = time.monotonic()
        migration = pool.submit(migrate, settings, "base")
        until(observer, waiting=1)
        read = pool.submit(lambda: reader.execute("SELECT count(*) FROM users").fetchone())
        until(observer, waiting=2)  # the reader conflicts with nobody but the migration that waits before it
        assert read.result(LOCK_TIMEOUT + 3) == (0,)
        waited = time.monotonic() - started
        with pytest.raises(OperationalError, match="lock timeout"):
            migration.result(5)
    assert waited < LOCK_TIMEOUT + 1.5
    assert migrate(settings) == (f"{HEAD:04}", f"{HEAD:04}")  # all as before: the next try finds no half-done work


def test_migrators_at_the_same_time_do_the_work_once(worker_id: str) -> None:
    url = make_database(f"locks_{worker_id}", "template0")
    settings = DatabaseSettings(url=SecretStr(url))
    together = threading.Barrier(4)

    def start() -> tuple[str | None, str | None]:
        together.wait(5)
        return migrate(settings)

    with ThreadPoolExecutor(4) as pool:
        results = [future.result(30) for future in [pool.submit(start) for _ in range(4)]]
    head = f"{HEAD:04}"
    assert sorted(results, key=str) == [(head, head)] * 3 + [(None, head)]


def test_another_type_breaks_prepared_statements_for_good(settings: DatabaseSettings) -> None:
    """Why the linter refuses every change of a type: even this one, which writes nothing anew."""
    url = settings.url.get_secret_value()
    with psycopg.connect(url, autocommit=True) as migrating, psycopg.connect(url, autocommit=True) as running:
        migrating.execute("CREATE TABLE t (a varchar(10))")
        running.execute("SELECT a FROM t", prepare=True)
        migrating.execute("ALTER TABLE t ALTER COLUMN a TYPE varchar(20)")
        for _ in range(2):
            with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan must not change result type"):
                running.execute("SELECT a FROM t", prepare=True)
