"""Gathered reads: one statement for those of one turn of the loop, and nobody pays for another's cancellation or failure."""

import asyncio
from collections.abc import Sequence

import pytest

from app.core.gathered import MAX_ROWS, GatheredRows

type Row = tuple[int, str]


class Table:
    """Rows, and what was asked of them."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.error: BaseException | None = None

    async def fetch(self, ids: list[int]) -> Sequence[Row]:
        self.asked.append(ids)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return [(row_id, f"row {row_id}") for row_id in reversed(ids) if row_id < 1000]


async def test_reads_of_one_turn_are_one_statement() -> None:
    table = Table()
    reads = GatheredRows(table.fetch, 0)
    rows = await asyncio.gather(reads.read(1), reads.read(2), reads.read(1), reads.read(1001))
    assert list(rows) == [(1, "row 1"), (2, "row 2"), (1, "row 1"), None]
    assert table.asked == [[1, 2, 1001]]


async def test_a_later_turn_is_another_statement_and_does_not_wait() -> None:
    table = Table()
    table.go.clear()
    reads = GatheredRows(table.fetch, 0)
    first = asyncio.create_task(reads.read(1))
    while not table.asked:
        await asyncio.sleep(0)
    second = asyncio.create_task(reads.read(1))  # it may have been changed since the first asked
    while len(table.asked) < 2:
        await asyncio.sleep(0)
    table.go.set()
    assert list(await asyncio.gather(first, second)) == [(1, "row 1"), (1, "row 1")]
    assert table.asked == [[1], [1]]


async def test_a_burst_is_spread() -> None:
    table = Table()
    reads = GatheredRows(table.fetch, 0)
    await asyncio.gather(*(reads.read(row_id) for row_id in range(1, 2 * MAX_ROWS + 2)))
    assert [len(ids) for ids in table.asked] == [MAX_ROWS, MAX_ROWS, 1]


async def test_a_cancelled_reader_takes_nobody_with_it() -> None:
    table = Table()
    table.go.clear()
    reads = GatheredRows(table.fetch, 0)
    impatient, patient = asyncio.create_task(reads.read(1)), asyncio.create_task(reads.read(1))
    while not table.asked:
        await asyncio.sleep(0)
    impatient.cancel()
    table.go.set()
    assert await patient == (1, "row 1")
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_a_statement_that_nobody_waits_for_is_cancelled() -> None:
    table = Table()
    table.go.clear()
    reads = GatheredRows(table.fetch, 0)
    readers = [asyncio.create_task(reads.read(row_id)) for row_id in (1, 2)]
    while not table.asked:
        await asyncio.sleep(0)
    (statement,) = [t for t in asyncio.all_tasks() if "_answer" in repr(t.get_coro())]
    readers[0].cancel()
    await asyncio.sleep(0)
    assert not statement.cancelling()
    readers[1].cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    with pytest.raises(asyncio.CancelledError):
        await statement


async def test_a_reader_that_leaves_at_once_costs_no_statement() -> None:
    table = Table()
    reads = GatheredRows(table.fetch, 0)
    reader = asyncio.create_task(reads.read(1))
    asyncio.get_running_loop().call_soon(reader.cancel)
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.sleep(0)
    assert table.asked == []


async def test_a_failure_is_everybodys() -> None:
    table = Table()
    table.error = ConnectionError("away")
    reads = GatheredRows(table.fetch, 0)
    answers = await asyncio.gather(reads.read(1), reads.read(2), return_exceptions=True)
    assert list(answers) == [table.error, table.error]
    table.error = None
    assert await reads.read(1) == (1, "row 1")


async def test_a_statement_that_is_cancelled_ends_its_readers() -> None:
    table = Table()
    table.error = asyncio.CancelledError()
    reads = GatheredRows(table.fetch, 0)
    with pytest.raises(asyncio.CancelledError):
        await reads.read(1)
