"""Reads of one row by the driver agree with SQLAlchemy's; and connections that died while they rested harm no request."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy import insert, select, text
from sqlalchemy.pool import QueuePool

from app.core.database import Database
from app.models import Item, User
from app.models.base import VersionedRow
from app.schemas.types import INT64_MAX
from app.services.errors import NotFound
from app.services.point_reads import PointRead, read_item, read_user
from tests.conftest import CURSOR_KEY, PEPPER, Api, live, make_settings
from tests.integration.make import ITEMS, USERS, make_item, make_user
from tests.integration.tools import ADA, RING, check_problem, eventually, execute

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - as hypothesis has it
versioned = {
    "id": st.integers(1, INT64_MAX),
    "version": st.integers(1, INT64_MAX),
    "created_at": moments,
    "updated_at": moments,
    "name": texts,
}
user_rows = st.fixed_dictionaries(versioned | {"email": texts, "email_key": texts, "age": st.integers(0, 150)})
item_rows = st.fixed_dictionaries(versioned | {"description": st.none() | texts, "owner_id": st.just(None)})


# --- both ways agree --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=user_rows, item=item_rows)
async def test_the_driver_reads_what_sqlalchemy_reads(
    database: Database, user: dict[str, Any], item: dict[str, Any]
) -> None:
    reads: list[tuple[type[VersionedRow], dict[str, Any], PointRead]] = [
        (User, user, read_user),
        (Item, item, read_item),
    ]
    for model, values, read in reads:
        columns = model.__table__.columns
        async with database.transaction() as session:
            await session.execute(text(f"DELETE FROM {model.__tablename__}"))  # noqa: S608 - a table of ours
            await session.execute(insert(model).values(values))
        async with database.read() as session:
            expected = (await session.execute(select(*columns).where(model.id == values["id"]))).one()
        row = await read(database, values["id"])
        assert row._asdict() == expected._asdict() == values
        assert [type(value) for value in row] == [type(value) for value in expected]
        assert list(row._fields) == columns.keys()


@pytest.mark.parametrize("read", [read_user, read_item])
async def test_a_row_that_is_not_there(database: Database, read: PointRead) -> None:
    for absent in (1, INT64_MAX):
        with pytest.raises(NotFound):
            await read(database, absent)


async def test_rows_that_are_read_at_the_same_moment_are_not_mixed_up(database: Database, database_url: str) -> None:
    execute(database_url, "INSERT INTO items (name) SELECT 'item ' || n FROM generate_series(1, 150) AS n")
    ids = [*range(200, 0, -1), *range(1, 201)]
    rows = await asyncio.gather(*(read_item(database, row_id) for row_id in ids), return_exceptions=True)
    for row_id, row in zip(ids, rows, strict=True):
        if isinstance(row, BaseException):
            assert isinstance(row, NotFound)
            assert row_id > 150
        else:
            assert (row.id, row.name) == (row_id, f"item {row_id}")


# --- connections that died --------------------------------------------------------------------------------------------


def pool_of(database: Database) -> QueuePool:
    """The pool, with its numbers."""
    pool = database.engine.pool
    assert isinstance(pool, QueuePool)
    return pool


def checked_out(database: Database) -> int:
    """Connections that somebody has."""
    return pool_of(database).checkedout()


async def fill_pool(database: Database) -> int:
    """Open all connections of the pool. Returns how many there are."""
    size = pool_of(database).size()

    async def occupy() -> None:
        async with database.read() as session:
            await session.execute(text("SELECT pg_sleep(0.1)"))

    await asyncio.gather(*(occupy() for _ in range(size)))
    assert pool_of(database).checkedin() == size
    return size


async def end_backends(url: str) -> int:
    """End every other connection to the database, as a restart of the server or the pooler would. Returns how many there were."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(f"SELECT pg_terminate_backend(pid) {others}").fetchall()
        await eventually(lambda: connection.execute(f"SELECT count(*) = 0 {others}").fetchone() == (True,))
    return len(ended)


async def test_no_request_meets_connections_that_died_while_they_rested(database_url: str) -> None:
    security = {"key_peppers": [PEPPER], "cursor_keys": [CURSOR_KEY], "key_cache_seconds": 0}  # the caller is read, too
    async with live(make_settings(database_url, security=security)) as api, api.client() as client:
        database = api.process.database
        user, item = await make_user(client), await make_item(client)
        requests: list[tuple[str, str, Any, int]] = [
            ("GET", f"{USERS}/{user['id']}", None, 200),
            ("GET", USERS, None, 200),
            ("GET", f"{ITEMS}/export?format=csv", None, 200),
            ("POST", USERS, ADA, 201),
            ("PATCH", f"{ITEMS}/{item['id']}", {"name": "new"}, 200),
            ("DELETE", f"{ITEMS}/{item['id']}", None, 204),
        ]
        for method, target, body, status in requests:
            size = await fill_pool(database)
            assert await end_backends(database_url) == size
            answer = await client.request(method, target, json=body)
            assert answer.status_code == status, (method, target, answer.text)

        await fill_pool(database)
        await end_backends(database_url)
        answers = await asyncio.gather(*(client.get(f"{USERS}/{user['id']}") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}


def sleeping(url: str, function: str) -> list[int]:
    """Call the function of PostgreSQL for each backend of the database that sleeps. Returns their process ids."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        ).fetchall()
        for backend in found:
            connection.execute(sql.SQL("SELECT {}(%s)").format(sql.Identifier(function)), backend)
    return [pid for (pid,) in found]


async def test_a_point_read_that_is_cut_is_repeated(database: Database, database_url: str) -> None:
    reading = asyncio.create_task(database.fetch_rows("SELECT pg_backend_pid() FROM pg_sleep(%s)", (0.5,)))
    ended = await eventually(lambda: sleeping(database_url, "pg_terminate_backend"))
    ((backend, *_),) = await reading
    assert backend not in ended
    assert checked_out(database) == 0


async def test_other_work_that_is_cut_is_refused_and_not_repeated(api: Api, database_url: str) -> None:
    """A list might be read again, but a write may have been made: the client is told to come back."""
    async with api.client() as client:
        user = await make_user(client)
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("LOCK TABLE users")
            waiting = [
                asyncio.create_task(client.get(USERS)),
                asyncio.create_task(client.post(USERS, json=ADA)),
                asyncio.create_task(client.patch(f"{USERS}/{user['id']}", json={"age": 1})),
            ]
            await eventually(lambda: end_waiting(database_url, len(waiting)))
            for answer in await asyncio.gather(*waiting):
                check_problem(answer, 503, "service-unavailable")
        assert (await client.get(f"{USERS}/{user['id']}")).json() == user
        assert (await client.get(USERS)).json()["items"] == [user]


def end_waiting(url: str, number: int) -> bool:
    """End the connections that wait for a lock, once there are so many. Returns whether there were."""
    with psycopg.connect(url, autocommit=True) as connection:
        waiting = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchall()
        if len(waiting) < number:
            return False
        connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [[p for (p,) in waiting]])
    return True


async def test_an_error_that_is_no_lost_connection_is_not_repeated(database: Database, database_url: str) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await database.fetch_rows("SELECT 1 / %s::int", (0,))
    reading = asyncio.create_task(database.fetch_rows("SELECT pg_sleep(%s)", (30,)))
    await eventually(lambda: sleeping(database_url, "pg_cancel_backend"))
    with pytest.raises(psycopg.errors.QueryCanceled):
        await reading
    assert checked_out(database) == 0


async def test_a_database_that_is_away_is_503(subtests: pytest.Subtests) -> None:
    settings = make_settings("postgresql://nobody@127.0.0.1:1/none")
    async with live(settings, with_key=False) as api:
        with pytest.raises(psycopg.OperationalError):
            await read_user(api.process.database, 1)
        async with api.client(RING.mint(1).get_secret_value()) as client:
            for method, target in (("GET", f"{USERS}/1"), ("GET", USERS), ("POST", USERS), ("GET", f"{ITEMS}/export")):
                with subtests.test(method=method, target=target):
                    answer = await client.request(method, target)
                    check_problem(answer, 503, "service-unavailable")
