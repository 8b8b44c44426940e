"""A database that is gone, silent, busy or failing over is 503 in time, never 500, and no reason to hang."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from app.core.scopes import Scope
from app.services.callers import Caller, Known
from tests.conftest import Api, live, make_database, make_settings
from tests.integration.tools import (
    ADA,
    HOST,
    RING,
    blocked,
    check_problem,
    eventually,
    execute,
    holding,
    request_headers,
    rows,
    send,
)

USERS = "/api/v1/users"
JSON = ("Content-Type", "application/json")
ADA_JSON = b'{"name": "Ada Lovelace", "email": "ada@example.com", "age": 36}'
SLACK = 1.0
"""Seconds that a busy machine may add."""


@asynccontextmanager
async def black_hole() -> AsyncIterator[str]:
    """The URL of a server that takes connections, and never says a word."""
    open_ones: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable"
    finally:
        server.close()
        for writer in open_ones:
            writer.close()
        await server.wait_closed()


REQUESTS: list[tuple[str, str, list[bytes | float]]] = [
    ("GET", f"{USERS}/1", []),
    ("GET", USERS, []),
    ("POST", USERS, [ADA_JSON]),
    ("PATCH", f"{USERS}/1", [b'{"age": 4}']),
    ("GET", "/api/v1/items/export?format=csv", []),
]
"""A read by the driver, one by SQLAlchemy, writes, and a stream."""


def believed(api: Api) -> None:
    """Make the process believe in a key, so that requests get past it to the database."""
    key = RING.read(api.key)
    assert key is not None
    caller = Caller(key.key_id, "test", frozenset(Scope))
    api.process.callers._known[key.key_id] = Known(caller, ((key.digest, float("inf")),), 1e12)


@pytest.mark.parametrize("known", [False, True])
async def test_a_database_that_refuses_is_503(known: bool) -> None:
    async with live(make_settings("postgresql://nobody@127.0.0.1:1/none"), with_key=False) as api:
        api.key = RING.mint(1).get_secret_value()
        if known:
            believed(api)
        for method, path, body in REQUESTS:
            length = sum(len(part) for part in body if isinstance(part, bytes))
            answer = await send(api, method, path, request_headers(api, JSON, length=length), body)
            check_problem(answer, 503, "service-unavailable")
            assert answer.extensions["seconds"] < SLACK
        assert (await send(api, "GET", "/", [HOST])).status_code == 200


@pytest.mark.parametrize("known", [False, True])
async def test_a_database_that_never_answers_is_503_in_time(known: bool) -> None:
    async with black_hole() as url:
        settings = make_settings(
            url, http={"deadline": 0.5}, database={"url": url, "pool_size": 5, "connect_timeout": 2}
        )
        async with live(settings, with_key=False) as api:
            api.key = RING.mint(1).get_secret_value()
            if known:
                believed(api)
            answers = await asyncio.gather(
                *(
                    send(api, method, path, request_headers(api, JSON, length=len(body[0]) if body else 0), body)  # type: ignore[arg-type]
                    for method, path, body in REQUESTS
                )
            )
            for answer in answers:
                check_problem(answer, 503, "deadline-exceeded")
                assert answer.extensions["seconds"] < 0.5 + SLACK


async def test_a_connection_that_is_not_made_in_time_is_503() -> None:
    async with black_hole() as url:
        settings = make_settings(url, database={"url": url, "connect_timeout": 2})
        async with live(settings, with_key=False) as api, api.client(RING.mint(1).get_secret_value()) as client:
            check_problem(await client.get(USERS), 503, "service-unavailable")


async def test_a_pool_that_is_exhausted_is_503(database_url: str) -> None:
    settings = make_settings(database_url, database={"url": database_url, "pool_size": 1, "pool_timeout": 0.2})
    async with live(settings) as api, api.client() as client:
        made = await client.post(USERS, json=ADA)
        async with holding(database_url, "SELECT * FROM users FOR UPDATE"):
            waiting = asyncio.create_task(client.patch(made.headers["location"], json={"age": 4}))
            await eventually(lambda: blocked(database_url))
            for method, path in (
                ("GET", made.headers["location"]),
                ("GET", USERS),
                ("DELETE", made.headers["location"]),
            ):
                problem = check_problem(await client.request(method, path), 503, "service-unavailable")
                assert "connections" in problem["detail"]
        assert (await waiting).status_code == 200
        assert (await client.get(made.headers["location"])).json()["age"] == 4


async def test_a_query_that_hangs_is_given_up_in_time_and_its_connection_lives_on(database_url: str) -> None:
    settings = make_settings(
        database_url, http={"deadline": 0.5}, database={"url": database_url, "pool_size": 2, "pool_timeout": 5}
    )
    async with live(settings) as api:
        execute(database_url, "INSERT INTO users (name, email, email_key, age) VALUES ('a', 'a@b.c', 'a@b.c', 1)")
        assert (await send(api, "GET", f"{USERS}/1", request_headers(api))).status_code == 200
        async with holding(database_url, "LOCK TABLE users, items IN ACCESS EXCLUSIVE MODE"):
            for method, path, body in REQUESTS[:-1]:
                length = sum(len(part) for part in body if isinstance(part, bytes))
                keyed = ("Idempotency-Key", "k")
                with capture_logs() as events:
                    answer = await send(api, method, path, request_headers(api, JSON, keyed, length=length), body)
                check_problem(answer, 503, "deadline-exceeded")
                assert 0.5 <= answer.extensions["seconds"] < 0.5 + SLACK
                assert [e["status"] for e in events if e["event"] == "request"] == [503]
                assert [e for e in events if e["event"] == "defect"] == []
            await eventually(lambda: not blocked(database_url))  # nothing goes on in the database either
        answers = await asyncio.gather(*(send(api, "GET", f"{USERS}/1", request_headers(api)) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert rows(database_url, "users", "age") == [(1,)]
        assert rows(database_url, "idempotency_records") == []


async def test_a_wait_for_a_row_under_an_idempotency_key_is_503(database_url: str) -> None:
    async with live(make_settings(database_url, retries={"wait_seconds": 0.2})) as api, api.client() as client:
        taken = "INSERT INTO users (name, email, email_key, age) VALUES ('a', 'x', 'ada@example.com', 1)"
        async with holding(database_url, taken):
            answer = await client.post(USERS, json=ADA, headers={"Idempotency-Key": "k"})
            assert "same rows" in check_problem(answer, 503, "service-unavailable")["detail"]
        assert (await client.post(USERS, json=ADA, headers={"Idempotency-Key": "k"})).status_code == 201


async def test_connections_that_were_cut_are_replaced(api: Api, database_url: str) -> None:
    async with api.client() as client:
        made = await client.post(USERS, json=ADA)
        await asyncio.gather(*(client.get(USERS) for _ in range(5)))
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gantry' AND datname = current_database()"
        execute(database_url, cut)
        await asyncio.sleep(0.1)
        reads = [await client.get(path) for path in (made.headers["location"], USERS, made.headers["location"], USERS)]
    for answer in reads:
        if answer.status_code != 200:
            check_problem(answer, 503, "service-unavailable")
    assert reads[0].status_code == 200
    assert reads[-1].status_code == 200


async def test_a_standby_that_answers_during_a_failover_is_503(worker_id: str) -> None:
    url = make_database(f"standby_{worker_id}")
    async with live(make_settings(url)) as api, api.client() as client:
        made = await client.post(USERS, json=ADA)
        name = url.rpartition("/")[2]
        execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await api.process.database.engine.dispose()
        check_problem(await client.patch(made.headers["location"], json={"age": 4}), 503, "service-unavailable")
        assert (await client.get(made.headers["location"])).status_code == 200
