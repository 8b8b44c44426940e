"""Single rows by id, gathered: those asked for in one turn of the event loop are read by one statement.

A worker under load has many requests at hand when its loop turns. Each read by itself pays for a connection of the pool, a statement and
two wake-ups; together they pay once. A read that is alone goes out in the same turn, so nobody waits for company.
What a statement sees is committed when it starts, which is after the last of its readers asked: no read is older than it would be alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from app.core.pool import Waiters, waiters

type Row = tuple[Any, ...]
type FetchRows = Callable[[list[int]], Awaitable[Sequence[Row]]]

MAX_ROWS: Final = 100
"""Rows of one statement: a burst is spread over several connections."""


class _Batch(Waiters):
    """The reads of one turn: what they wait for, how many still do, and the statement once it is under way."""

    __slots__ = ("answers", "statement")

    def __init__(self) -> None:
        super().__init__(0)
        self.answers: dict[int, asyncio.Future[Row | None]] = {}
        self.statement: asyncio.Task[None] | None = None


class GatheredRows:
    """Reads rows of one table. Belongs to one event loop."""

    def __init__(self, fetch: FetchRows, id_position: int) -> None:
        """``fetch`` reads the rows of some ids, in any order; ``id_position`` is where a row has its id."""
        self._fetch = fetch
        self._id_position = id_position
        self._open: _Batch | None = None

    async def read(self, row_id: int) -> Row | None:
        """The row, or ``None``. Raises what ``fetch`` raises."""
        loop = asyncio.get_running_loop()
        batch = self._open
        if batch is None:
            batch = self._open = _Batch()
            loop.call_soon(self._send, batch)
        answer = batch.answers.get(row_id)
        if answer is None:
            answer = batch.answers[row_id] = loop.create_future()
            if len(batch.answers) == MAX_ROWS:
                self._open = None
        batch.requests += 1
        try:
            # A reader that is cancelled takes neither the statement nor the other readers with it ...
            return await asyncio.shield(answer)
        finally:
            batch.requests -= 1
            if batch.requests == 0 and batch.statement is not None:
                batch.statement.cancel()  # ... unless it was the last: nobody is left to wait for a query that hangs

    def _send(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = None
        if batch.requests:
            batch.statement = asyncio.get_running_loop().create_task(self._answer(batch))

    async def _answer(self, batch: _Batch) -> None:
        answers = batch.answers
        waiters.set(batch)  # in this task alone
        try:
            rows = {row[self._id_position]: row for row in await self._fetch(list(answers))}
        except Exception as error:  # noqa: BLE001 - whatever it is, the readers get it
            for answer in answers.values():
                answer.set_exception(error)
                answer.exception()  # seen, even if all its readers are gone
        except asyncio.CancelledError:
            for answer in answers.values():
                answer.cancel()
            raise
        else:
            for row_id, answer in answers.items():
                answer.set_result(rows.get(row_id))
