"""Safe retries: the answer to a request with an ``Idempotency-Key`` is written in the transaction of its effect.

The key's row is claimed first, inside the transaction. A concurrent twin waits on that row; when the first commits, it finds the answer;
when the first rolls back (or its process dies) the row never was, and the twin goes on. So no state "in progress" can be left behind.
After draft-ietf-httpapi-idempotency-key-header-06: 409 for a twin that waited in vain, 422 for another payload.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import errors as pg
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import OperationalError

from app.core.config import RetrySettings
from app.core.database import Database, WriteSession
from app.models import IdempotencyRecord
from app.services.errors import IdempotencyKeyReused, RetryInProgress

Record = IdempotencyRecord


type Result = Literal["first", "replayed", "in_progress", "reused"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told: status, the headers that belong to the answer, body. ``stored_body`` replaces a body that holds a secret."""

    status: int
    headers: dict[str, str]
    body: bytes
    stored_body: bytes | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """One request's key, with all that it is scoped to and the SHA-256 of its payload."""

    caller_id: int
    operation: str
    key: str
    fingerprint: bytes


# The wait for a twin is bounded inside the same statement: no round trip more, and nothing left behind in a pooled connection.
CLAIM = text(
    """
    INSERT INTO idempotency_records AS record (caller_id, operation, key, fingerprint, expires_at)
    SELECT :caller_id, :operation, :key, :fingerprint, now() + make_interval(secs => :keep)
    FROM (SELECT set_config('lock_timeout', :wait, true)) AS patience
    ON CONFLICT (caller_id, operation, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, expires_at = excluded.expires_at, created_at = now(),
            status = NULL, headers = NULL, body = NULL
        WHERE record.expires_at <= now()
    RETURNING true
    """
)


@dataclass(frozen=True, slots=True)
class Once[T]:
    """Runs an effect once for an ``Idempotency-Key``, and just runs it when there is none. ``render`` makes the answer of its row."""

    key: IdempotencyKey | None
    settings: RetrySettings
    render: Callable[[T], Answer]
    on_result: Callable[[Result], None] = lambda _: None
    """Told what became of a request that has a key, to be counted."""

    async def __call__(self, session: WriteSession, effect: Callable[[WriteSession], Awaitable[T]]) -> Answer:
        """Inside the caller's transaction. Raises ``IdempotencyKeyReused``, ``RetryInProgress``, and what the effect raises."""
        if self.key is None:
            return self.render(await effect(session))
        if not await self._claim(session, self.key):
            return await self._replay(session, self.key)
        answer = self.render(await effect(session))
        await self._remember(session, self.key, answer)
        self.on_result("first")
        return answer

    async def _claim(self, session: WriteSession, key: IdempotencyKey) -> bool:
        parameters = {
            "caller_id": key.caller_id,
            "operation": key.operation,
            "key": key.key,
            "fingerprint": key.fingerprint,
            "keep": self.settings.keep_seconds,
            "wait": f"{round(self.settings.wait_seconds * 1000)}ms",
        }
        try:
            return (await session.execute(CLAIM, parameters)).one_or_none() is not None
        except OperationalError as error:
            if isinstance(error.orig, pg.LockNotAvailable):
                self.on_result("in_progress")
                raise RetryInProgress from error
            raise

    async def _replay(self, session: WriteSession, key: IdempotencyKey) -> Answer:
        row = (
            await session.execute(
                select(Record.fingerprint, Record.status, Record.headers, Record.body).where(*_is(key))
            )
        ).one()
        if row.fingerprint != key.fingerprint:
            self.on_result("reused")
            raise IdempotencyKeyReused
        self.on_result("replayed")
        return Answer(row.status, row.headers, row.body, replayed=True)

    async def _remember(self, session: WriteSession, key: IdempotencyKey, answer: Answer) -> None:
        body = answer.body if answer.stored_body is None else answer.stored_body
        values = {"status": answer.status, "headers": answer.headers, "body": body}
        await session.execute(update(Record).where(*_is(key)).values(values))


def _is(key: IdempotencyKey) -> tuple[Any, ...]:
    return Record.caller_id == key.caller_id, Record.operation == key.operation, Record.key == key.key


async def forget_expired(database: Database, batch: int = 1000) -> int:
    """Delete the records whose time is over, ``batch`` in a transaction, passing by those that somebody holds. Returns how many."""
    expired = (
        select(Record.caller_id, Record.operation, Record.key)
        .where(Record.expires_at <= text("now()"))
        .limit(batch)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    statement = (
        delete(Record)
        .where(
            Record.caller_id == expired.c.caller_id,
            Record.operation == expired.c.operation,
            Record.key == expired.c.key,
        )
        .returning(Record.key)
    )
    total = 0
    while True:
        async with database.transaction() as session:
            deleted = len((await session.execute(statement)).all())
        total += deleted
        if deleted < batch:
            return total
