"""Every list reads about as many rows as it returns, however many there are, and however deep the page lies.

At 100,000 rows, of which one owner has half, and has them all before the others: what a planner that believes in evenly spread rows
gets wrong. The statements are those that the services send; each is planned for its parameters, and once for any.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import event

from app.core.config import DatabaseSettings
from app.core.database import Database
from app.services.api_keys import list_keys
from app.services.items import ItemFilter, list_items
from app.services.pages import Position, Slice, Sort
from app.services.users import UserFilter, list_users
from tests.conftest import make_database

ROWS = 100_000
BIG_OWNER, SMALL_OWNER, NO_OWNER = 1, 77, 99_999
LIMIT = 20
MOST_ROWS = 2 * (LIMIT + 1)
MOST_BUFFERS = 4 * (LIMIT + 1)
"""Pages of 8 KiB: one a row, which may lie anywhere, and some of the index."""

FILL = f"""
INSERT INTO users (name, email, email_key, age, created_at)
    SELECT 'name ' || lpad((n * 7919 % {ROWS})::text, 6, '0'), n || '@example.com', n || '@example.com', 1,
           '2026-01-01'::timestamptz + n * interval '1 second'
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO items (name, owner_id, created_at)
    SELECT 'name ' || lpad((n * 7919 % {ROWS})::text, 6, '0'),
           CASE WHEN n <= {ROWS // 2} THEN {BIG_OWNER} ELSE 2 + n % 20000 END,
           '2026-01-01'::timestamptz + n * interval '1 second'
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO api_keys (name, scopes, revoked_at, created_at)
    SELECT 'name ' || n * 7919 % {ROWS}, '{{}}', CASE WHEN n % 10 > 0 THEN now() END,
           '2026-01-01'::timestamptz + n * interval '1 second'
    FROM generate_series(1, {ROWS}) AS n;
ANALYZE;
"""  # noqa: S608 - the test's own words


@dataclass(frozen=True)
class Listed:
    """A list with a filter: how the service reads a page of it, and the same rows in SQL."""

    table: str
    where: str
    read: Callable[..., Awaitable[Slice]]
    which: tuple[Any, ...]
    sorts: tuple[Sort, ...] = tuple(Sort)


def users(where: str, which: UserFilter, *sorts: Sort) -> Listed:
    return Listed("users", where, list_users, (which,), sorts or tuple(Sort))


def items(where: str, which: ItemFilter, *sorts: Sort) -> Listed:
    return Listed("items", where, list_items, (which,), sorts or tuple(Sort))


BY_NAME = (Sort.name, Sort.name_descending)
NAMED = "starts_with(name, 'name 0')"

LISTS = [
    users("true", UserFilter()),
    users("email_key = '5@example.com'", UserFilter(email="5@example.com")),
    users("false", UserFilter(email="nobody@example.com")),
    users(NAMED, UserFilter(name="name 0"), *BY_NAME),
    users("true", UserFilter(name="name"), *BY_NAME),
    users("false", UserFilter(name="x"), *BY_NAME),
    users("false", UserFilter(email="5@example.com", name="x"), *BY_NAME),
    items("true", ItemFilter()),
    items(f"owner_id = {BIG_OWNER}", ItemFilter(owner_id=BIG_OWNER)),
    items(f"owner_id = {SMALL_OWNER}", ItemFilter(owner_id=SMALL_OWNER)),
    items("false", ItemFilter(owner_id=NO_OWNER)),
    items(NAMED, ItemFilter(name="name 0"), *BY_NAME),
    items("true", ItemFilter(name="name"), *BY_NAME),
    items(f"owner_id = {BIG_OWNER} AND {NAMED}", ItemFilter(BIG_OWNER, "name 0"), *BY_NAME),
    items(f"owner_id = {BIG_OWNER}", ItemFilter(BIG_OWNER, "n"), *BY_NAME),
    items(f"owner_id = {SMALL_OWNER} AND {NAMED}", ItemFilter(SMALL_OWNER, "name 0"), *BY_NAME),
    items("false", ItemFilter(BIG_OWNER, "x"), *BY_NAME),
    Listed("api_keys", "revoked_at IS NULL", list_keys, ()),
]


# One test, so that the many rows are made once, whatever the number of test processes.
async def test_a_page_reads_about_as_many_rows_as_it_returns(worker_id: str, subtests: pytest.Subtests) -> None:
    url = make_database(f"plans_{worker_id}")
    database = Database(DatabaseSettings(url=SecretStr(url)))
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute(FILL)
        with subtests.test("a statement that reads too much is noticed"):
            unfit = "SELECT id FROM items WHERE owner_id = %(owner)s ORDER BY id DESC LIMIT 20"
            read, buffers = cost(explain(connection, unfit, {"owner": BIG_OWNER}, "force_custom_plan"))
            assert read > ROWS // 2
            assert buffers > MOST_BUFFERS
        for listed, sort in ((which, sort) for which in LISTS for sort in which.sorts):
            with subtests.test(list=listed.table, filter=listed.which, sort=sort.value):
                for after in positions(connection, listed, sort):
                    statement, parameters = await sent(database, listed, sort, after)
                    for mode in ("force_custom_plan", "force_generic_plan"):
                        plan = explain(connection, statement, parameters, mode)
                        read, buffers = cost(plan)
                        assert read <= MOST_ROWS, (after, mode, plan)
                        assert buffers <= MOST_BUFFERS, (after, mode, plan)
    await database.aclose()


def positions(connection: psycopg.Connection[Any], listed: Listed, sort: Sort) -> list[Position | None]:
    """Before the first page, and as far as there are rows: after that, deep, before the last page, at the end."""
    direction = "DESC" if sort.descending else "ASC"
    key = "NULL::text, id" if sort.column == "id" else f"{sort.column}::text, id"
    rows = connection.execute(
        f"SELECT {key} FROM {listed.table} WHERE {listed.where} ORDER BY {sort.column} {direction}, id {direction}"  # noqa: S608 - ditto
    ).fetchall()
    places = {LIMIT - 1, len(rows) // 2, len(rows) - 5, len(rows) - 1}
    return [None, *(rows[place] for place in sorted(places) if 0 <= place < len(rows))]


async def sent(database: Database, listed: Listed, sort: Sort, after: Position | None) -> tuple[str, dict[str, Any]]:
    """The one statement that the service sends for a page, and its parameters."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: dict[str, Any], *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(database.engine.sync_engine, "before_cursor_execute", record)
    page = await listed.read(database, *listed.which, sort=sort, after=after, limit=LIMIT)
    event.remove(database.engine.sync_engine, "before_cursor_execute", record)
    assert len(page.rows) <= LIMIT
    ((statement, parameters),) = seen
    return statement, parameters


def explain(connection: psycopg.Connection[Any], statement: str, parameters: dict[str, Any], mode: str) -> Any:
    """The plan, as it went. The statement is prepared, as it is after some executions."""
    values: list[Any] = []

    def numbered(match: re.Match[str]) -> str:
        values.append(parameters[match[1]])
        return f"${len(values)}"

    body = re.sub(r"%\((\w+)\)s", numbered, statement)
    connection.execute(f"SET plan_cache_mode = {mode}")
    connection.execute("DEALLOCATE ALL")
    connection.execute(f"PREPARE page AS {body}")
    run = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE page({})")
    row = connection.execute(run.format(sql.SQL(", ").join(map(sql.Literal, values)))).fetchone()
    assert row is not None
    return row[0][0]["Plan"]


def cost(plan: Any) -> tuple[float, int]:
    """Rows that were read from tables and indexes, those that a filter removed included; and pages."""
    read = 0.0
    nodes = [plan]
    for node in nodes:
        nodes += node.get("Plans", [])
        if "Scan" in node["Node Type"]:
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            read += (node["Actual Rows"] + removed) * node["Actual Loops"]
    return read, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
