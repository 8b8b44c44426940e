"""PostgreSQL: one engine and pool a worker, sessions of two types, and the driver-level read of one row.

Connections rest in autocommit. A read is then one round trip (no BEGIN, no ROLLBACK), holds no snapshot and pins no server
connection of pgbouncer between statements; a write asks for a transaction, and gets one.
"""

import select
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, LiteralString, cast

import psycopg
from opentelemetry.trace import Tracer
from sqlalchemy import QueuePool, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.util import greenlet_spawn

from app.core.config import DatabaseSettings
from app.core.gathered import GatheredRows
from app.core.pool import PoolObserver, measured_pool
from app.core.prepared import prepared_statements_work
from app.core.telemetry.client_spans import UNTRACED

PREPARE_AFTER: Final = 5
"""Executions after which psycopg prepares a statement (its own default)."""


class ReadSession(AsyncSession):
    """For reads alone: each statement sees what is committed when it starts. Could go to a replica."""


class WriteSession(AsyncSession):
    """Inside one transaction that a service opened: READ COMMITTED, committed when the service's block ends."""


def driver_url(url: str) -> str:
    """The URL with the driver spelled out; raises ``ValueError`` when it is no PostgreSQL URL."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise ValueError("a database URL begins with postgresql://")
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _refuse_dead(dbapi_connection: Any, *_: object) -> None:
    """Have the pool replace a connection that the other side has closed (a restarted server or pooler), before anything is asked of it.

    One that rests has nothing to read but the news of its end. Looking is one system call; a ping would be a round trip.
    """
    connection: psycopg.AsyncConnection[Any] = dbapi_connection.driver_connection
    poll = select.poll()
    if not connection.closed:
        poll.register(connection.fileno(), select.POLLIN)
    if connection.closed or poll.poll(0):
        raise DisconnectionError("closed by the other side")


class Database:
    """The pool of one worker process. Made after the fork, closed with the worker."""

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        application_name: str = "gantry",
        observer: PoolObserver | None = None,
        tracer: Tracer = UNTRACED,
    ) -> None:
        """``observer`` is told who waits for a connection; ``tracer`` makes spans of what SQLAlchemy does not see."""
        self.tracer: Final = tracer
        self.prepares = settings.prepared_statements == "on"
        """Whether statements are prepared on the server; with ``auto`` not before ``settle_prepared_statements`` found that it works."""
        self._settings = settings
        self._gathered: dict[str, GatheredRows] = {}
        self.engine: Final[AsyncEngine] = create_async_engine(
            driver_url(settings.url.get_secret_value()),
            poolclass=measured_pool(observer) if observer else None,
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.pool_timeout,
            pool_recycle=settings.pool_recycle,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            hide_parameters=True,  # an error's text goes to the log, and parameters are people's data
            connect_args={
                "connect_timeout": settings.connect_timeout,
                "application_name": application_name,
            },
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_dead)
        event.listen(self.engine.sync_engine, "checkout", self._set_preparing)
        transactional = self.engine.execution_options(isolation_level="READ COMMITTED")
        self._read = async_sessionmaker(self.engine, class_=ReadSession, expire_on_commit=False, autoflush=False)
        self._write = async_sessionmaker(transactional, class_=WriteSession, expire_on_commit=False, autoflush=False)

    def read(self) -> ReadSession:
        """A session for reads: ``async with database.read() as session``."""
        return self._read()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WriteSession]:
        """A session in a transaction, committed at the end of the block and rolled back when the block raises."""
        async with self._write() as session, session.begin():
            yield session

    async def fetch_rows(self, sql: LiteralString, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows of a read-only statement, by the driver itself: what SQLAlchemy adds costs more than the query.

        Connections of the pool that turn out to be dead (a restarted pooler) are dropped, and the statement repeated on the next.
        Raises ``psycopg.OperationalError`` or ``sqlalchemy.exc.DBAPIError`` when the database is out of reach,
        ``sqlalchemy.exc.TimeoutError`` when no connection of the pool became free in time.
        """
        tries_left = self._settings.pool_size
        while True:
            pooled = await greenlet_spawn(self.engine.sync_engine.pool.connect)
            connection = cast(psycopg.AsyncConnection[tuple[Any, ...]], pooled.driver_connection)
            try:
                cursor = await connection.execute(sql, parameters)
                return await cursor.fetchall()
            except psycopg.OperationalError:
                if not connection.closed or tries_left == 0:
                    raise
                tries_left -= 1
                await greenlet_spawn(pooled.invalidate)
            finally:
                await greenlet_spawn(pooled.close)

    @property
    def pool_state(self) -> tuple[int, int]:
        """Connections of the pool that are in use, and idle ones."""
        pool = self.engine.sync_engine.pool
        return (pool.checkedout(), pool.checkedin()) if isinstance(pool, QueuePool) else (0, 0)

    def gathered(self, sql: LiteralString, id_position: int) -> GatheredRows:
        """The gathered reads by this statement, whose one parameter is the list of ids; ``id_position`` is where a row has its id."""
        reads = self._gathered.get(sql)
        if reads is None:

            def fetch(ids: list[int]) -> Awaitable[Sequence[tuple[Any, ...]]]:
                return self.fetch_rows(sql, (ids,))

            reads = self._gathered[sql] = GatheredRows(fetch, id_position)
        return reads

    async def settle_prepared_statements(self) -> None:
        """With ``auto``: find out whether prepared statements work here, and use them from now on if so.

        Raises ``psycopg.OperationalError`` when the database can't be reached.
        """
        if self._settings.prepared_statements == "auto":
            url = self._settings.url.get_secret_value()
            self.prepares = await prepared_statements_work(url, self._settings.connect_timeout)

    def _set_preparing(self, dbapi_connection: Any, *_: object) -> None:
        connection: psycopg.AsyncConnection[Any] = dbapi_connection.driver_connection
        connection.prepare_threshold = PREPARE_AFTER if self.prepares else None

    async def aclose(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
