"""Migrations: up, down and up again; equal to the models; one at a time; and the schema gate."""

import asyncio
import threading
import time

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from app.core.config import DatabaseSettings
from app.core.database import Database, driver_url
from app.core.schema import HEAD, OLDEST, find_schema, judge
from app.core.status import LocalStatus
from app.migrations.run import ADVISORY_LOCK, MigrationRefused, alembic_config, migrate
from app.models import Base
from tests.conftest import live, make_database, make_settings


@pytest.fixture
def empty(worker_id: str) -> DatabaseSettings:
    """A database without a schema."""
    return DatabaseSettings(url=SecretStr(make_database(f"empty_{worker_id}", "template0")), migration_lock_timeout=0.2)


def execute(settings: DatabaseSettings, statement: str) -> None:
    with psycopg.connect(settings.url.get_secret_value(), autocommit=True) as connection:
        connection.execute(statement.encode())


def tables(settings: DatabaseSettings) -> set[str]:
    with psycopg.connect(settings.url.get_secret_value()) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_up_down_and_up_again(empty: DatabaseSettings) -> None:
    assert migrate(empty) == (None, f"{HEAD:04}")
    made = tables(empty)
    assert {"users", "items", "api_keys"} <= made
    assert migrate(empty) == (f"{HEAD:04}", f"{HEAD:04}")
    assert migrate(empty, "base") == (f"{HEAD:04}", None)
    assert tables(empty) == {"alembic_version"}
    for revision in range(1, HEAD + 1):
        assert migrate(empty, f"{revision:04}")[1] == f"{revision:04}"
    assert tables(empty) == made


def test_migrations_make_what_the_models_say(empty: DatabaseSettings) -> None:
    migrate(empty)
    engine = create_engine(driver_url(empty.url.get_secret_value()))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_code_knows_the_newest_revision() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert script.get_current_head() == f"{HEAD:04}"
    assert len(script.get_heads()) == 1
    assert OLDEST <= HEAD


def test_a_newer_schema_that_accepts_this_code_is_left_alone(empty: DatabaseSettings) -> None:
    migrate(empty)
    execute(empty, "UPDATE alembic_version SET version_num = '0099'")
    assert migrate(empty) == ("0099", "0099")


def test_a_newer_schema_that_needs_newer_code_is_refused(empty: DatabaseSettings) -> None:
    migrate(empty)
    execute(
        empty, "UPDATE alembic_version SET version_num = '0099'; UPDATE schema_compatibility SET runs_code_from = 99"
    )
    with pytest.raises(MigrationRefused, match="needs code of revision 99.*deploy newer code"):
        migrate(empty)


def test_one_migrator_waits_for_another(empty: DatabaseSettings) -> None:
    with psycopg.connect(empty.url.get_secret_value(), autocommit=True) as first:
        first.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        second = threading.Thread(target=migrate, args=(empty,))
        second.start()
        time.sleep(0.5)  # longer than the lock time-out, which is not for this lock
        assert tables(empty) == set()
        first.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
        second.join(10)
    assert "users" in tables(empty)


def test_a_migration_does_not_wait_long_for_a_table(empty: DatabaseSettings) -> None:
    migrate(empty)
    with psycopg.connect(empty.url.get_secret_value()) as reader:
        reader.execute("SELECT FROM users")  # holds the table until its transaction ends
        started = time.monotonic()
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate(empty, "base")
        assert time.monotonic() - started < 2
    assert "users" in tables(empty)


@pytest.mark.parametrize(
    ("revision", "runs_code_from", "in_range", "advice"),
    [
        (None, 0, False, "run `gantry migrate`"),
        (OLDEST - 1, 0, False, "run `gantry migrate`"),
        (HEAD, 1, True, "revision"),
        (HEAD + 5, HEAD, True, "revision"),
        (HEAD + 5, HEAD + 1, False, "deploy newer code"),
    ],
)
def test_the_schema_is_judged(revision: int | None, runs_code_from: int, in_range: bool, advice: str) -> None:
    state = judge(revision, runs_code_from)
    assert state.in_range is in_range
    assert advice in state.advice


class Watched(LocalStatus):
    """A status that shows whether the schema was seen."""

    seen = False

    def schema_seen(self, revision: int) -> None:
        self.seen = revision == HEAD


async def test_the_app_waits_for_its_schema(empty: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.lifespan.SCHEMA_RETRY_SECONDS", 0.05)
    status = Watched()
    async with live(make_settings(empty.url.get_secret_value()), with_key=False, status=status) as api:
        assert not (await find_schema(api.process.database)).in_range
        async with api.client("") as client:
            assert (await client.get("/")).status_code == 200
        await asyncio.sleep(0.2)
        assert not status.seen
        await asyncio.to_thread(migrate, empty)
        async with asyncio.timeout(5):
            while not status.seen:
                await asyncio.sleep(0.02)
        assert (await find_schema(api.process.database)).in_range


async def test_a_lost_database_is_no_schema_verdict() -> None:
    database = Database(DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:1/none"), connect_timeout=2))
    with pytest.raises(OperationalError):
        await find_schema(database)
    await database.aclose()
