"""Single rows by id, gathered: those asked for in one turn of the event loop are read by one statement.

A worker under load has many requests at hand when its loop turns. Each read by itself pays for a connection of the pool, a statement and
two wake-ups; together they pay once. A read that is alone goes out in the same turn, so nobody waits for company.
What a statement sees is committed when it starts, which is after the last of its readers asked: no read is older than it would be alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

type Row = tuple[Any, ...]
type FetchRows = Callable[[list[int]], Awaitable[Sequence[Row]]]

MAX_ROWS: Final = 100
"""Rows of one statement: a burst is spread over several connections."""


class GatheredRows:
    """Reads rows of one table. Belongs to one event loop."""

    def __init__(self, fetch: FetchRows, id_position: int) -> None:
        """``fetch`` reads the rows of some ids, in any order; ``id_position`` is where a row has its id."""
        self._fetch = fetch
        self._id_position = id_position
        self._asked: dict[int, asyncio.Future[Row | None]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def read(self, row_id: int) -> Row | None:
        """The row, or ``None``. Raises what ``fetch`` raises."""
        answer = self._asked.get(row_id)
        if answer is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(self._send)
            answer = self._asked[row_id] = loop.create_future()
            if len(self._asked) == MAX_ROWS:
                self._send()
        # A reader that is cancelled takes neither the statement nor the other readers of the row with it.
        return await asyncio.shield(answer)

    def _send(self) -> None:
        asked, self._asked = self._asked, {}
        if asked:
            task = asyncio.get_running_loop().create_task(self._answer(asked))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _answer(self, asked: dict[int, asyncio.Future[Row | None]]) -> None:
        try:
            rows = {row[self._id_position]: row for row in await self._fetch(list(asked))}
        except BaseException as error:
            for answer in asked.values():
                if isinstance(error, Exception):
                    answer.set_exception(error)
                    answer.exception()  # seen, even if all its readers are gone
                else:
                    answer.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            for row_id, answer in asked.items():
                answer.set_result(rows.get(row_id))
