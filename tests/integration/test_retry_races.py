"""``Idempotency-Key`` when it matters: requests that run at once, and processes that die."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager

import psycopg
import pytest

from tests.conftest import Api, live, make_settings
from tests.integration.tools import ADA, blocked, check_problem, effects, eventually, execute, holding, rows, send

KEY = {"Idempotency-Key": "0b9fa6d2-2f0c-4d5b-9a3b-4d5e6f708192"}
USERS = "/api/v1/users"
STUCK = (
    "INSERT INTO idempotency_records (caller_id, operation, key, fingerprint, expires_at) "
    "VALUES (1, %s, %s, '', now() + interval '1 day')"
)
"""A first request that has claimed its key and does not end."""
LOCK = 4711


@pytest.fixture
def slow(database_url: str) -> Iterator[None]:
    """Who remembers an answer waits for ``LOCK`` first, inside its transaction and after its effect."""
    execute(
        database_url,
        "CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS "
        f"'BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NEW; END'",
    )
    execute(
        database_url,
        "CREATE TRIGGER wait BEFORE UPDATE ON idempotency_records FOR EACH ROW EXECUTE FUNCTION wait_for_the_test()",
    )
    yield
    execute(database_url, "DROP FUNCTION wait_for_the_test CASCADE")


@pytest.fixture
async def patient(database_url: str) -> AsyncIterator[Api]:
    """An application with a connection for each of ten requests, whose twins wait for as long as a test may take."""
    retries, database = {"wait_seconds": 60.0}, {"url": database_url, "pool_size": 10}
    async with live(make_settings(database_url, retries=retries, database=database, http={"deadline": 60.0})) as api:
        yield api


def held_before_commit(url: str) -> AbstractAsyncContextManager[None]:
    """With the fixture ``slow``: until the end of the block, nothing done under an Idempotency-Key is committed."""
    return holding(url, f"SELECT pg_advisory_xact_lock({LOCK})")


# --- twins ------------------------------------------------------------------------------------------------------------


async def test_of_ten_twins_one_has_the_effect(patient: Api, database_url: str) -> None:
    async with patient.client() as client:
        answers = await asyncio.gather(*(client.post(USERS, json=ADA, headers=KEY) for _ in range(10)))
    outcomes = Counter((a.status_code, a.headers.get("idempotent-replayed")) for a in answers)
    assert outcomes == {(201, None): 1, (201, "true"): 9}
    assert len({a.content for a in answers}) == 1
    assert effects(database_url)["users"] == 1


async def test_of_two_payloads_at_once_one_is_refused(patient: Api, database_url: str) -> None:
    async with patient.client() as client:
        names = ["Engine", "Loom"] * 3
        answers = await asyncio.gather(
            *(client.post("/api/v1/items", json={"name": name}, headers=KEY) for name in names)
        )
    made = {a.json()["name"] for a in answers if a.status_code == 201}
    assert len(made) == 1
    for name, answer in zip(names, answers, strict=True):
        if name not in made:
            check_problem(answer, 422, "idempotency-key-reused")
    assert effects(database_url)["items"] == 1


@pytest.mark.usefixtures("slow")
async def test_a_twin_waits_for_the_first_and_is_replayed(patient: Api, database_url: str) -> None:
    async with patient.client() as client:
        async with held_before_commit(database_url):
            first = asyncio.create_task(client.post(USERS, json=ADA, headers=KEY))
            await eventually(lambda: len(blocked(database_url)) == 1)
            twin = asyncio.create_task(client.post(USERS, json=ADA, headers=KEY))
            await eventually(lambda: len(blocked(database_url)) == 2)
        answers = await asyncio.gather(first, twin)
    assert [(a.status_code, a.headers.get("idempotent-replayed")) for a in answers] == [(201, None), (201, "true")]


@pytest.mark.usefixtures("slow")
async def test_a_twin_goes_on_when_the_first_fails(patient: Api, database_url: str) -> None:
    async with patient.client() as client:
        async with held_before_commit(database_url):
            first = asyncio.create_task(client.post(USERS, json=ADA, headers=KEY))
            (pid, _), *_ = await eventually(lambda: blocked(database_url))
            twin = asyncio.create_task(client.post(USERS, json=ADA, headers=KEY))
            await eventually(lambda: len(blocked(database_url)) == 2)
            execute(database_url, "SELECT pg_terminate_backend(%s)", pid)
            check_problem(await first, 503, "service-unavailable")
        answer = await twin
    assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False)
    assert effects(database_url)["users"] == 1


async def test_a_twin_does_not_wait_for_ever(database_url: str) -> None:
    async with live(make_settings(database_url, retries={"wait_seconds": 0.2})) as api:
        async with api.client() as client, holding(database_url, STUCK, f"POST {USERS}", KEY["Idempotency-Key"]):
            begun = asyncio.get_running_loop().time()
            answer = await client.post(USERS, json=ADA, headers=KEY)
            waited = asyncio.get_running_loop().time() - begun
            other = await client.post(USERS, json=ADA, headers={"Idempotency-Key": "another"})
        check_problem(answer, 409, "retry-in-progress")
        assert answer.headers["retry-after"] == "1"
        assert 0.2 <= waited < 5
        assert other.status_code == 201
        assert effects(database_url)["users"] == 1


async def test_a_connection_that_is_lost_while_a_twin_waits_is_503(patient: Api, database_url: str) -> None:
    async with patient.client() as client, holding(database_url, STUCK, f"POST {USERS}", KEY["Idempotency-Key"]):
        twin = asyncio.create_task(client.post(USERS, json=ADA, headers=KEY))
        (pid, _), *_ = await eventually(lambda: blocked(database_url))
        execute(database_url, "SELECT pg_terminate_backend(%s)", pid)
        check_problem(await twin, 503, "service-unavailable")


async def test_the_wait_for_a_twin_is_no_setting_that_stays(api: Api) -> None:
    async with api.client() as client:
        assert (await client.post(USERS, json=ADA, headers=KEY)).status_code == 201
    async with api.process.database.transaction() as session:
        connection = await session.connection()
        assert (await connection.exec_driver_sql("SHOW lock_timeout")).scalar() == "0"


async def test_of_twins_under_an_expired_key_one_has_the_effect(patient: Api, database_url: str) -> None:
    async with patient.client() as client:
        await client.post("/api/v1/items", json={"name": "Engine"}, headers=KEY)
        execute(database_url, "UPDATE idempotency_records SET expires_at = now()")
        answers = await asyncio.gather(
            *(client.post("/api/v1/items", json={"name": "Loom"}, headers=KEY) for _ in range(8))
        )
    assert {answer.status_code for answer in answers} == {201}
    assert effects(database_url)["items"] == 2


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("slow")
async def test_a_lost_connection_before_the_commit_leaves_nothing(patient: Api, database_url: str) -> None:
    async with patient.client() as client:
        async with held_before_commit(database_url):
            request = asyncio.create_task(client.post(USERS, json=ADA, headers=KEY))
            (pid, _), *_ = await eventually(lambda: blocked(database_url))
            execute(database_url, "SELECT pg_terminate_backend(%s)", pid)
            check_problem(await request, 503, "service-unavailable")
            assert rows(database_url, "users") == []
            assert rows(database_url, "idempotency_records") == []
        retry = await client.post(USERS, json=ADA, headers=KEY)
    assert (retry.status_code, "idempotent-replayed" in retry.headers) == (201, False)


@pytest.mark.usefixtures("slow")
async def test_a_killed_process_leaves_neither_effect_nor_record(api: Api, database_url: str) -> None:
    command = [sys.executable, "-m", "tests.integration.killed_request", database_url, api.key, KEY["Idempotency-Key"]]
    async with held_before_commit(database_url):
        process = await asyncio.create_subprocess_exec(*command)
        try:
            (pid, statement), *_ = await eventually(lambda: blocked(database_url), 30)
            assert "UPDATE idempotency_records" in statement
        finally:
            process.kill()
        assert await process.wait() == -signal.SIGKILL
    await eventually(lambda: pid not in backends(database_url))  # it goes when it finds that nobody is there to commit
    assert rows(database_url, "users") == []
    assert rows(database_url, "idempotency_records") == []
    async with api.client() as client:
        retry = await client.post(USERS, json=ADA, headers=KEY)
    assert (retry.status_code, "idempotent-replayed" in retry.headers) == (201, False)
    assert effects(database_url)["users"] == 1


def backends(url: str) -> set[int]:
    with psycopg.connect(url, autocommit=True) as connection:
        return {pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity")}


async def test_a_client_that_leaves_halfway_through_its_body_has_no_effect(api: Api, database_url: str) -> None:
    async with api.client() as client:
        request = client.build_request("POST", USERS, json=ADA, headers=KEY)
        headers = [(name, value) for name, value in request.headers.items()]
        assert (await send(api, "POST", USERS, headers, [request.content[:9]], gone=True)).status_code == 499
        assert rows(database_url, "users") == []
        assert (await client.post(USERS, json=ADA, headers=KEY)).status_code == 201
