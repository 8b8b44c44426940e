"""Prepared statements: used where they work, found out at the start, off where a pooler mixes clients up."""

import psycopg
import pytest
from pydantic import SecretStr

from app.core.config import DatabaseSettings
from app.core.database import PREPARE_AFTER, Database
from app.core.prepared import prepared_statements_work, statements_stay_apart


async def prepared(database: Database) -> int:
    """How many statements the server keeps for a connection that ran one often."""
    for _ in range(PREPARE_AFTER + 2):
        await database.fetch_rows("SELECT 42", ())
    ((number,),) = await database.fetch_rows(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 42'", ()
    )
    return int(number)


def settings(url: str, **fields: object) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"url": SecretStr(url), "pool_size": 1} | fields)


async def test_they_work_on_postgresql_itself(database_url: str) -> None:
    assert await prepared_statements_work(database_url, 3)


async def test_a_pooler_that_gives_two_clients_one_connection_is_found_out(database_url: str) -> None:
    # What pgbouncer before 1.22 does in transaction pooling: the second client speaks on the first one's server connection.
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as first:
        second: psycopg.AsyncConnection = psycopg.AsyncConnection(first.pgconn)
        await second.set_autocommit(True)
        assert not await statements_stay_apart(first, second)


async def test_they_are_off_with_an_old_libpq(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.prepared.capabilities.has_send_close_prepared", lambda: False)
    assert not await prepared_statements_work(database_url, 3)


@pytest.mark.parametrize(("setting", "before", "after"), [("auto", 0, 1), ("on", 1, 1), ("off", 0, 0)])
async def test_the_setting_decides(database_url: str, setting: str, before: int, after: int) -> None:
    database = Database(settings(database_url, prepared_statements=setting))
    try:
        assert await prepared(database) == before
        await database.settle_prepared_statements()
        assert await prepared(database) == after
    finally:
        await database.aclose()


async def test_a_database_that_is_away_settles_nothing() -> None:
    database = Database(settings("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(psycopg.OperationalError):
        await database.settle_prepared_statements()
    assert not database.prepares
    await database.aclose()
