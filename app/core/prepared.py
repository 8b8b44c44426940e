"""Whether prepared statements work on the way to this PostgreSQL: asked once at the start, because a pooler does not say.

Two things are needed (psycopg's manual, "Prepared statements"). Our libpq must be able to close a statement by protocol (>= 17). And what
stands between must keep each client's statements apart: pgbouncer does from 1.22, with ``max_prepared_statements`` above 0. One that does
not lets two clients meet on one server connection, where the second finds its statement's name taken.
"""

from contextlib import AsyncExitStack
from typing import Final, LiteralString

import psycopg
from psycopg import capabilities

STATEMENTS: Final[tuple[LiteralString, ...]] = ("SELECT 1", "SELECT 2", "SELECT 3")
"""Several, in case the pooler happens to give the two clients two server connections at first."""


async def prepared_statements_work(url: str, connect_timeout: int) -> bool:
    """Try it with two clients. Raises ``psycopg.OperationalError`` when the database can't be reached."""
    if not capabilities.has_send_close_prepared():
        return False
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=connect_timeout)
            )
            for _ in range(2)
        ]
        return await statements_stay_apart(*clients)


async def statements_stay_apart(*clients: psycopg.AsyncConnection) -> bool:
    """Whether each client can prepare and run its own statements, while the others do."""
    try:
        for statement in STATEMENTS:
            for client in clients:
                await client.execute(statement, prepare=True)
    except (psycopg.errors.DuplicatePreparedStatement, psycopg.errors.InvalidSqlStatementName):
        return False
    return True
