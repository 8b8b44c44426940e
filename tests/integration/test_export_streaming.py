"""``/items/export`` on a real socket: how much it takes, and how it ends when a client, the database or the time does."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.api.v1.endpoints.items_export import BoundedStream
from app.core.config import ExportSettings, HttpSettings
from tests.conftest import live, make_settings
from tests.integration.make import ITEMS
from tests.integration.sockets import Served, serving
from tests.integration.tools import blocked, check_problem, eventually, execute

EXPORT = f"{ITEMS}/export?format=csv"
END = b"\r\n0\r\n\r\n"
"""What follows the last chunk of a body that is complete."""

LOSES_A_CURSOR = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""psycopg warns of a cursor that was not closed, also of one that was lost with its connection."""


def fill(url: str, number: int, size: int) -> None:
    """Items with descriptions of this many characters."""
    execute(
        url,
        "INSERT INTO items (name, description) SELECT 'item ' || n, repeat('x', %s) FROM generate_series(1, %s) AS n",
        size,
        number,
    )


@asynccontextmanager
async def exporting(url: str, http: HttpSettings | None = None, **export: float) -> AsyncIterator[Served]:
    """The application on a socket, with these settings for exports."""
    settings = make_settings(url, export=ExportSettings.model_validate(export), http=http or HttpSettings())
    async with live(settings) as api, serving(api) as served:
        yield served


def places_taken(served: Served) -> int:
    """How many exports the process believes to be running."""
    return served.api.process.exports._running


def connections_held(served: Served, url: str) -> int:
    """Connections of the pool that are out, and transactions that are open in the database."""
    pool = served.api.process.database.engine.pool
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        ).fetchone()
    assert row is not None
    return int(pool.checkedout()) + int(row[0])  # type: ignore[attr-defined]  # of a pool with a size


async def all_is_free(served: Served, url: str, seconds: float = 5) -> None:
    """Wait until nothing is held any more; then another export must run, and end."""
    await eventually(lambda: not places_taken(served) and not connections_held(served, url), seconds)
    async with served.get(EXPORT) as reader:
        assert await ends_well(reader)
    gc.collect()  # what is lost is lost in this test, and warned of here


async def ends_well(reader: asyncio.StreamReader, part: int = 65_536, pause: float = 0) -> bool:
    """Read the rest of an answer. Returns whether it is complete, rather than cut."""
    last = b""
    async with asyncio.timeout(20):
        while last != END:
            received = await reader.read(part)
            if not received:
                return False
            last = (last + received)[-len(END) :]
            await asyncio.sleep(pause)
    return True


# --- how much it takes ------------------------------------------------------------------------------------------------


def resident_kib() -> int:
    """Memory of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError


async def test_the_memory_does_not_grow_with_the_rows(database_url: str) -> None:
    fill(database_url, 200_000, 100)
    async with exporting(database_url) as served:
        async with served.get(f"{EXPORT}&name=item%201999") as reader:
            assert await ends_well(reader)  # all that is loaded at the first time is loaded now
        before = most = resident_kib()
        received, last = 0, b""
        async with served.get(EXPORT, window=500_000) as reader:
            while last != END:
                part = await reader.read(500_000)
                assert part
                received += len(part)
                most = max(most, resident_kib())
                last = (last + part)[-len(END) :]
    assert received > 30_000_000
    assert most - before < 10 * 1024


async def test_there_are_so_many_places(database_url: str) -> None:
    fill(database_url, 8000, 1000)
    async with exporting(database_url, concurrency=2) as served:
        async with served.get(EXPORT) as one, served.get(EXPORT) as two:
            await asyncio.gather(one.readexactly(10_000), two.readexactly(10_000))
            async with served.api.client() as client:
                check_problem(await client.get(EXPORT), 503, "service-unavailable")
                assert (await client.head(EXPORT)).status_code == 200
        await all_is_free(served, database_url)


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", [True, False])
async def test_a_client_that_leaves_takes_nothing_with_it(database_url: str, reading: bool) -> None:
    fill(database_url, 8000, 1000)
    async with exporting(database_url) as served:
        for _ in range(5):
            async with served.get(EXPORT) as reader:
                await reader.readexactly(300_000)
                if not reading:
                    await asyncio.sleep(0.2)  # until the server waits for the client
        await all_is_free(served, database_url)


async def test_rows_that_nobody_waits_for_are_let_go_at_once() -> None:
    """And not when the garbage collector comes round to them."""
    ended = False

    async def chunks() -> AsyncGenerator[bytes]:
        nonlocal ended
        try:
            while True:
                yield b"rows"
                await asyncio.sleep(0)
        finally:
            ended = True

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        assert message["type"] in ("http.response.start", "http.response.body")

    kept = chunks()
    with pytest.raises(ClientDisconnect):
        await BoundedStream(kept, {}, ExportSettings())({"type": "http", "state": {"request_id": ""}}, receive, send)
    assert ended


async def test_a_client_that_does_not_read_is_cut(database_url: str) -> None:
    fill(database_url, 8000, 1000)
    async with exporting(database_url, stall_seconds=0.5) as served:
        async with served.get(EXPORT) as reader:
            await reader.readexactly(10_000)
            await eventually(lambda: not places_taken(served) and not connections_held(served, database_url))
            await eventually(lambda: served.connections() == 0)
            with contextlib.suppress(ConnectionResetError):
                assert not await ends_well(reader)
        await all_is_free(served, database_url)


async def test_a_client_that_reads_slowly_is_not_cut_before_its_time(database_url: str) -> None:
    fill(database_url, 3000, 1000)
    async with exporting(database_url, stall_seconds=0.6, max_seconds=30) as served, served.get(EXPORT) as reader:
        assert await ends_well(reader, part=20_000, pause=0.01)


async def test_an_export_has_a_longest_time(database_url: str) -> None:
    fill(database_url, 8000, 1000)
    async with exporting(database_url, max_seconds=0.5, stall_seconds=30) as served:
        async with served.get(EXPORT) as reader:
            begun = time.monotonic()
            assert not await ends_well(reader, part=20_000, pause=0.01)
            assert time.monotonic() - begun < 10
        await eventually(lambda: not places_taken(served) and not connections_held(served, database_url))


async def test_an_export_may_last_longer_than_the_deadline_of_other_requests(database_url: str) -> None:
    fill(database_url, 5000, 1000)
    async with exporting(database_url, HttpSettings(deadline=0.5)) as served, served.get(EXPORT) as reader:
        begun = time.monotonic()
        assert await ends_well(reader, part=100_000, pause=0.02)
        assert time.monotonic() - begun > 0.5


@LOSES_A_CURSOR
async def test_a_database_that_is_lost_in_the_middle_is_no_end(database_url: str) -> None:
    fill(database_url, 8000, 1000)
    async with exporting(database_url) as served:
        async with served.get(EXPORT) as reader:
            head = await reader.readexactly(10_000)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\ntransfer-encoding: chunked\r\n" in head.lower()
            execute(
                database_url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
            )
            assert not await ends_well(reader)
        await all_is_free(served, database_url)


@LOSES_A_CURSOR
async def test_a_database_that_is_lost_before_the_first_row_is_503(database_url: str) -> None:
    fill(database_url, 10, 10)
    async with exporting(database_url) as served:
        async with served.api.client() as client, await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("LOCK TABLE items")
            waiting = asyncio.create_task(client.get(EXPORT))
            ((pid, _),) = await eventually(lambda: blocked(database_url))
            execute(database_url, "SELECT pg_terminate_backend(%s)", pid)
            check_problem(await waiting, 503, "service-unavailable")
        await all_is_free(served, database_url)


@LOSES_A_CURSOR
async def test_an_export_that_can_not_begin_in_time_is_503(database_url: str) -> None:
    async with exporting(database_url, HttpSettings(deadline=0.5)) as served:
        async with served.api.client() as client, await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("LOCK TABLE items")
            check_problem(await client.get(EXPORT), 503, "deadline-exceeded")
            await other.rollback()
        await all_is_free(served, database_url)


async def test_a_client_of_http_gets_the_whole(database_url: str) -> None:
    fill(database_url, 2000, 10)
    async with (
        exporting(database_url) as served,
        httpx2.AsyncClient(base_url=served.url, headers={"X-API-Key": served.api.key}) as client,
    ):
        answer = await client.get(EXPORT)
        assert len(answer.text.splitlines()) == 2001
        head = await client.head(EXPORT)
        assert (head.status_code, head.content) == (200, b"")
        assert not {"content-length", "transfer-encoding"} & set(head.headers)
        assert (await client.get(f"{ITEMS}/1")).status_code == 200
