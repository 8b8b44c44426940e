"""Runs a migration on a real PostgreSQL and records its statements, with what each of them did there.

What can be seen is not guessed: whether a table was written anew shows in its file's number, a lock time-out in the setting itself.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import Script
from pglast import ast, parse_sql
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

FILES = """
SELECT c.oid, coalesce(t.relname, c.relname), c.relfilenode
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i', 'm', 'p', 'v', 'S')
"""
NEVER_NULL = r"""
SELECT t.relname, a.attname
FROM pg_constraint k
JOIN pg_class t ON t.oid = k.conrelid
JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
WHERE k.contype = 'c' AND k.convalidated AND pg_get_constraintdef(k.oid) ~ '^CHECK \(\([^()]+ IS NOT NULL\)\)$'
"""
LOCK_TIMEOUT = "SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'"
COMPATIBILITY = "SELECT max(runs_code_from) FROM schema_compatibility"
PARAMETER = re.compile(r"%\(\w+\)s|%s")


@dataclass(frozen=True, slots=True)
class Facts:
    """The database at one moment: its files by object, columns that a valid CHECK keeps from being NULL, and the lock time-out in ms."""

    files: dict[int, tuple[str, int]]
    never_null: frozenset[tuple[str, str]]
    lock_timeout: int

    @property
    def relations(self) -> frozenset[str]:
        """Names of tables, views and sequences; of an index that of its table."""
        return frozenset(name for name, _ in self.files.values())


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement: parsed, the number of its transaction (None: it ran by itself), and the database before and after."""

    sql: str
    node: ast.Node
    transaction: int | None
    before: Facts
    after: Facts

    @property
    def rewritten(self) -> frozenset[str]:
        """Tables that were there before and have a new file, or an index that has."""
        return frozenset(
            name
            for oid, (name, file) in self.before.files.items()
            if self.after.files.get(oid, (name, file))[1] != file
        )


@dataclass(frozen=True, slots=True)
class Recording:
    """A migration as it ran. ``error`` is what PostgreSQL refused, ``runs_code_from`` the number before and after."""

    revision: str
    previous: str | None
    statements: list[Statement]
    existing: frozenset[str]
    runs_code_from: tuple[int | None, int | None]
    error: str | None


def facts(connection: Connection) -> Facts:
    """Look, by a cursor that no event hears of."""
    cursor = connection.connection.cursor()
    try:
        return Facts(
            files={oid: (name, file) for oid, name, file in cursor.execute(FILES)},
            never_null=frozenset(cursor.execute(NEVER_NULL)),
            lock_timeout=cursor.execute(LOCK_TIMEOUT).fetchone()[0],
        )
    finally:
        cursor.close()


class _Recorder:
    """Hears of each statement before it runs."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int | None, Facts]] = []
        self.transaction = 0

    def begin(self, _connection: Connection) -> None:
        self.transaction += 1

    def statement(self, connection: Connection, _cursor: Any, sql: str, *_rest: Any) -> None:
        autocommit = connection.connection.dbapi_connection.autocommit  # type: ignore[union-attr]  # psycopg's
        self.seen.append((sql, None if autocommit else self.transaction, facts(connection)))

    def statements(self, last: Facts) -> Iterator[Statement]:
        afters = [before for _, _, before in self.seen[1:]] + [last]
        for (sql, transaction, before), after in zip(self.seen, afters, strict=True):
            readable = PARAMETER.sub("NULL", sql).replace("%%", "%")
            for raw in parse_sql(readable):
                if raw.stmt is not None and "alembic_version" not in _targets(raw.stmt):
                    yield Statement(" ".join(readable.split()), raw.stmt, transaction, before, after)


def _targets(node: ast.Node) -> set[str | None]:
    relation = getattr(node, "relation", None)
    return {relation.relname} if isinstance(relation, ast.RangeVar) else set()


@contextmanager
def _listening(engine: Engine, recorder: _Recorder) -> Iterator[None]:
    listeners = (("begin", recorder.begin), ("before_cursor_execute", recorder.statement))
    for name, heard in listeners:
        event.listen(engine, name, heard)
    try:
        yield
    finally:
        for name, heard in listeners:
            event.remove(engine, name, heard)


def _compatibility(connection: Connection) -> int | None:
    known = connection.execute(text("SELECT to_regclass('schema_compatibility')")).scalar_one()
    number = connection.execute(text(COMPATIBILITY)).scalar_one() if known else None
    connection.commit()
    return number


def record(config: Config, engine: Engine, script: Script, lock_timeout_ms: int) -> Recording:
    """Run one migration, as ``gantry migrate`` runs it. The database is at the revision before."""
    recorder = _Recorder()
    error = None
    with engine.connect() as connection:
        connection.execute(text("SELECT set_config('lock_timeout', :value, false)"), {"value": f"{lock_timeout_ms}ms"})
        existing = facts(connection).relations
        connection.commit()
        before = _compatibility(connection)
        config.attributes["connection"] = connection
        with _listening(engine, recorder):
            try:
                command.upgrade(config, script.revision)
            except DBAPIError as refused:
                error = str(refused.orig).strip().splitlines()[0]
                connection.rollback()
        last = facts(connection)
        connection.rollback()
        after = _compatibility(connection)
    previous = script.down_revision
    return Recording(
        revision=script.revision,
        previous=previous if isinstance(previous, str) else None,
        statements=list(recorder.statements(last)),
        existing=existing,
        runs_code_from=(before, after),
        error=error,
    )
