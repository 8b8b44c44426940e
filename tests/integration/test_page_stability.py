"""What keyset pages promise, whatever happens between them; and that names sort and match by code point.

Properties over a real PostgreSQL: hypothesis makes the rows, and what others do to them while a client walks through the pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.core.database import Database
from app.services.items import ItemFilter, list_items
from app.services.pages import Position, Sort
from app.services.users import UserFilter, list_users

LETTERS = "ab~é\u0301 \ud7ff\ue000\uffff\U00010000\U0001f600\U0010ffff"
"""Where orders differ: by locale, by UTF-16, before and after the surrogates, at the end."""

names = st.text(LETTERS, min_size=1, max_size=3)
any_names = names | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)
moments = st.integers(0, 3).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
places = st.integers(0, 30)

PER_EXAMPLE = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@dataclass(frozen=True)
class Insert:
    """Somebody makes a row."""

    name: str
    created_at: datetime


@dataclass(frozen=True)
class Delete:
    """Somebody deletes a row, counted from the first."""

    place: int


@dataclass(frozen=True)
class Rename:
    """Somebody gives a row another name: it moves in the order of names alone."""

    place: int
    name: str


@dataclass(frozen=True)
class Touch:
    """Somebody changes what no order knows."""

    place: int


type Event = Insert | Delete | Rename | Touch

rows = st.builds(Insert, names, moments)
events = rows | st.builds(Delete, places) | st.builds(Rename, places, names) | st.builds(Touch, places)


class Others:
    """The other clients: they change the table, and know which of its first rows were left where they are."""

    def __init__(self, connection: psycopg.Connection[Any], first: Sequence[Insert], sort: Sort) -> None:
        self.connection = connection
        self.sort = sort
        connection.execute("DELETE FROM users")
        self.present = [self.insert(row) for row in first]
        self.unmoved = set(self.present)

    def insert(self, row: Insert) -> int:
        """Make a row. Returns its id."""
        made = self.connection.execute(
            "INSERT INTO users (name, created_at, age, email, email_key) SELECT %s, %s, 1, key, key "
            "FROM (SELECT gen_random_uuid()::text AS key) AS unique_key RETURNING id",
            [row.name, row.created_at],
        ).fetchone()
        assert made is not None
        return int(made[0])

    def do(self, event: Event) -> None:
        """Let it happen."""
        if isinstance(event, Insert):
            self.present.append(self.insert(event))
            return
        if not self.present:
            return
        row_id = self.present[event.place % len(self.present)]
        match event:
            case Delete():
                self.connection.execute("DELETE FROM users WHERE id = %s", [row_id])
                self.present.remove(row_id)
                self.unmoved.discard(row_id)
            case Rename(name=name):
                self.connection.execute("UPDATE users SET name = %s WHERE id = %s", [name, row_id])
                if self.sort.column == "name":
                    self.unmoved.discard(row_id)
            case Touch():
                self.connection.execute("UPDATE users SET age = age + 1, version = version + 1 WHERE id = %s", [row_id])


@settings(max_examples=150, **PER_EXAMPLE)  # type: ignore[arg-type]  # of several types
@given(
    first=st.lists(rows, max_size=10),
    between=st.lists(st.lists(events, max_size=3), max_size=12),
    sort=st.sampled_from(Sort),
    limit=st.integers(1, 4),
)
async def test_what_stays_where_it_is_is_met_exactly_once(
    database: Database, database_url: str, first: list[Insert], between: list[list[Event]], sort: Sort, limit: int
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        others = Others(connection, first, sort)
        met = []
        after: Position | None = None
        for happening in [*between, *([[]] * 30)]:
            page = await list_users(database, UserFilter(), sort=sort, after=after, limit=limit)
            met += [(getattr(row, sort.column), row.id) for row in page.rows]
            assert len(page.rows) <= limit
            after = page.next_after
            if after is None:
                break
            assert len(page.rows) == limit
            for event in happening:
                others.do(event)
        assert after is None, "the walk came to no end"
    assert met == sorted(set(met), reverse=sort.descending)
    ids = [row_id for _, row_id in met]
    assert all(ids.count(row_id) == 1 for row_id in others.unmoved)


@settings(max_examples=80, **PER_EXAMPLE)  # type: ignore[arg-type]  # of several types
@given(
    held=st.lists(st.tuples(any_names, st.sampled_from([1, 2, None])), max_size=20),
    prefix=any_names,
    owner=st.sampled_from([1, None]),
    sort=st.sampled_from([Sort.name, Sort.name_descending]),
)
@example([("\ud7ffx", 1), ("\ue000", 1), ("\ud7ff", 1)], "\ud7ff", 1, Sort.name)
@example([("a\U0010ffff", 1), ("a\U0010ffffz", 1), ("b", 1), ("a", 1)], "a\U0010ffff", 1, Sort.name_descending)
@example([("\U0010ffff", 1), ("\U0010ffff\U0010ffffa", None)], "\U0010ffff", None, Sort.name)
async def test_a_prefix_matches_as_in_python(
    database: Database,
    database_url: str,
    held: list[tuple[str, int | None]],
    prefix: str,
    owner: int | None,
    sort: Sort,
) -> None:
    # The prefix of one of them is likelier to match than any.
    prefixes = {prefix, *(name[:1] for name, _ in held[:2]), *(name for name, _ in held[:1])}
    with psycopg.connect(database_url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM items")
        cursor.execute(
            "INSERT INTO users (id, name, email, email_key, age) OVERRIDING SYSTEM VALUE "
            "SELECT id, 'x', id, id, 1 FROM generate_series(1, 2) AS id ON CONFLICT DO NOTHING"
        )
        cursor.executemany("INSERT INTO items (name, owner_id) VALUES (%s, %s)", held)
    for beginning in prefixes:
        found: list[str] = []
        after: Position | None = None
        while True:
            page = await list_items(database, ItemFilter(owner, beginning), sort=sort, after=after, limit=3)
            found += [row.name for row in page.rows]
            if (after := page.next_after) is None:
                break
        matching = [name for name, of in held if name.startswith(beginning) and owner in (None, of)]
        assert found == sorted(matching, reverse=sort.descending)


def test_the_order_of_names_is_their_column_s_own(database_url: str) -> None:
    """The server of these tests sorts everything by code point; others don't, and must not need to."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        collations = connection.execute(
            "SELECT DISTINCT collation_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND column_name IN ('name', 'email_key')"
        ).fetchall()
    assert collations == [("C",)]


@pytest.mark.parametrize("sort", [Sort.name, Sort.name_descending])
async def test_names_sort_by_code_point(database: Database, database_url: str, sort: Sort) -> None:
    every = sorted({a + b for a in LETTERS for b in ["", *LETTERS]})
    with psycopg.connect(database_url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO items (name) VALUES (%s)", [(name,) for name in reversed(every)])
    page = await list_items(database, ItemFilter(), sort=sort, after=None, limit=len(every))
    assert [row.name for row in page.rows] == (every[::-1] if sort.descending else every)
