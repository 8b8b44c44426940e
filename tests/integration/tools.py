"""Means of these tests: requests byte by byte, statements counted, problems checked, rows counted, locks held."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import unquote

import httpx2
import psycopg
import pytest
from starlette.types import ASGIApp, Message

from app.api.catalogue import CATALOGUE
from app.core.security import KeyRing
from tests.conftest import PEPPER, Api, live, make_settings

RING = KeyRing([PEPPER])

HOST = ("Host", "api.test")

ADA = {"name": "Ada Lovelace", "email": "ada@example.com", "age": 36}


def check_problem(response: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    """Assert that the answer is this problem, whole and well made (RFC 9457), and return its document."""
    kind = CATALOGUE[slug]
    assert (response.status_code, kind.status.value) == (status, status), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    document: dict[str, Any] = response.json()
    assert int(response.headers["content-length"]) == len(response.content)
    assert (document["type"], document["title"], document["status"]) == (kind.type, kind.title, status)
    assert document["detail"]
    assert document["instance"] == response.headers["x-request-id"]
    assert document["trace_id"] == response.headers["x-trace-id"]
    assert set(document) <= {"type", "title", "status", "detail", "instance", "trace_id", "errors"}
    if status == 503:
        assert int(response.headers["retry-after"]) >= 1
    return document


async def send(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str | bytes]] = (),
    body: Sequence[bytes | float] = (),
    *,
    client: str = "192.0.2.1",
    scheme: str = "http",
    gone: bool = False,
) -> httpx2.Response:
    """One request as a server would hand it over: nothing is added to it or made better of it.

    ``body``: its chunks, each a message; a number is a pause of as many seconds. ``gone``: the client leaves after that. The answer's
    extension ``seconds`` is when its last byte was sent, which may be before the application is done with the request.
    """
    path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "server": ("api.test", 80),
        "client": (client, 1234),
        "headers": [(n.lower().encode(), v if isinstance(v, bytes) else v.encode("latin-1")) for n, v in headers],
    }
    parts = list(body)
    empty = not body and not gone
    complete = asyncio.Event()
    begun = time.perf_counter()
    sent: list[Message] = []
    seconds = 0.0

    async def receive() -> Message:
        nonlocal empty
        while parts:
            part = parts.pop(0)
            if isinstance(part, bytes):
                more = gone or any(isinstance(later, bytes) for later in parts)
                return {"type": "http.request", "body": part, "more_body": more}
            await asyncio.sleep(part)
        if empty:
            empty = False
            return {"type": "http.request", "body": b"", "more_body": False}
        if not gone:
            await complete.wait()
        return {"type": "http.disconnect"}

    async def collect(message: Message) -> None:
        nonlocal seconds
        assert not complete.is_set(), "sent after the end"
        assert (message["type"] == "http.response.start") == (not sent)
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            seconds = time.perf_counter() - begun
            complete.set()

    await app(scope, receive, collect)
    assert complete.is_set() or gone
    if not sent:
        return httpx2.Response(499)
    start, *chunks = sent
    content = b"".join(chunk.get("body", b"") for chunk in chunks)
    return httpx2.Response(start["status"], headers=start["headers"], content=content, extensions={"seconds": seconds})


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that this process sends during the block, whoever sends it and by whichever layer."""
    seen: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def recorded(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(query if isinstance(query, str) else str(query))
        return await execute(self, query, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncCursor, "execute", recorded)
        yield seen


def about(table: str, seen: Sequence[str]) -> list[str]:
    """Those of the statements that name the table: background work of the process has statements of its own."""
    return [statement for statement in seen if table in statement]


def rows(url: str, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """All rows of a table."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - a test's own words


def execute(url: str, statement: str, *parameters: Any) -> None:
    """Run a statement of the test's own."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement, parameters or None)


@asynccontextmanager
async def holding(url: str, statement: str, *parameters: Any) -> AsyncIterator[None]:
    """Run a statement in a transaction that stays open until the end of the block, and is then rolled back."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(statement, parameters or None)
        try:
            yield
        finally:
            await connection.rollback()


async def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What ``condition`` returns as soon as that is true; it must become so in time."""
    until = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        assert time.monotonic() < until, "it did not come about in time"
        await asyncio.sleep(0.02)


def blocked(url: str) -> list[tuple[Any, ...]]:
    """The backends of this database that wait for a lock: their process ids and statements."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(
            "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchall()


def with_http(url: str, **http: Any) -> AbstractAsyncContextManager[Api]:
    """An application with these settings of the public side."""
    return live(make_settings(url, http=http))


async def get(
    api: Api, target: str, *headers: tuple[str, str], key: str | None = None, **options: Any
) -> httpx2.Response:
    """A GET, with the key unless told otherwise."""
    key = api.key if key is None else key
    keyed = [("X-API-Key", key)] if key else []
    return await send(api, "GET", target, [HOST, *keyed, *headers], **options)


def request_headers(api: Api, *headers: tuple[str, str], length: int | None = None) -> list[tuple[str, str | bytes]]:
    """Headers of a request with a body."""
    size = [] if length is None else [("Content-Length", str(length))]
    return [HOST, ("X-API-Key", api.key), *size, *headers]


def effects(url: str) -> dict[str, int]:
    """How many rows there are in each table."""
    return {table: len(rows(url, table)) for table in ("users", "items", "api_keys", "api_key_secrets")}
