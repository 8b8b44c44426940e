"""``Idempotency-Key``: a request that is repeated has its effect once, whatever happened to the first one."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import httpx2
import psycopg
import pytest

from app.api import responses
from app.core.scopes import Scope
from app.services.idempotency import forget_expired
from tests.conftest import Api, live, make_settings
from tests.integration.tools import (
    ADA,
    about,
    blocked,
    check_problem,
    eventually,
    execute,
    holding,
    rows,
    send,
    statements,
)

KEY = {"Idempotency-Key": "0b9fa6d2-2f0c-4d5b-9a3b-4d5e6f708192"}
USERS = "/api/v1/users"
POSTS: list[tuple[str, Any, Any]] = [
    (USERS, ADA, ADA | {"age": 37}),
    ("/api/v1/items", {"name": "Engine"}, {"name": "Loom"}),
    ("/api/v1/api-keys", {"name": "k", "scopes": ["users:read"]}, {"name": "k", "scopes": ["users:write"]}),
    ("/api/v1/api-keys/1/rotate", {"overlap_seconds": 60}, {"overlap_seconds": 61}),
]
"""Every POST, with a payload and another."""
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


def effects(url: str) -> dict[str, int]:
    """How many rows there are in each table."""
    return {table: len(rows(url, table)) for table in ("users", "items", "api_keys", "api_key_secrets")}


# --- replays ----------------------------------------------------------------------------------------------------------


def test_every_post_is_here(api: Api) -> None:
    document = api.app.openapi()
    assert {path.replace("{key_id}", "1") for path, item in document["paths"].items() if "post" in item} == {
        path for path, _, _ in POSTS
    }


@pytest.mark.parametrize(("path", "payload", "other"), POSTS)
async def test_a_replay_is_the_first_answer(
    client: httpx2.AsyncClient, database_url: str, path: str, payload: Any, other: Any
) -> None:
    first = await client.post(path, json=payload, headers=KEY)
    assert first.status_code == 201, first.text
    assert "idempotent-replayed" not in first.headers
    made = effects(database_url)
    for again in (path, path + "/"):
        replay = await client.post(again, json=payload, headers=KEY)
        assert replay.status_code == 201
        assert replay.headers["idempotent-replayed"] == "true"
        for name in ("location", "etag", "content-type", "cache-control"):
            assert replay.headers[name] == first.headers[name]
        assert replay.headers["x-request-id"] != first.headers["x-request-id"]
        assert replay.headers["ratelimit"] != first.headers["ratelimit"]
        hidden = {"key": None} if "key" in first.json() else {}
        assert replay.json() == first.json() | hidden
        if not hidden:
            assert replay.content == first.content
    check_problem(await client.post(path, json=other, headers=KEY), 422, "idempotency-key-reused")
    assert effects(database_url) == made
    assert len(rows(database_url, "idempotency_records")) == 1


async def test_without_a_key_nothing_is_remembered(client: httpx2.AsyncClient, database_url: str) -> None:
    for _ in range(2):
        assert (await client.post("/api/v1/items", json={"name": "Engine"})).status_code == 201
    assert rows(database_url, "idempotency_records") == []
    assert effects(database_url)["items"] == 2


async def test_a_replay_outlives_what_was_made(client: httpx2.AsyncClient) -> None:
    first = await client.post(USERS, json=ADA, headers=KEY)
    await client.patch(first.headers["location"], json={"age": 40})
    assert (await client.post(USERS, json=ADA, headers=KEY)).content == first.content
    assert (await client.delete(first.headers["location"])).status_code == 204
    assert (await client.post(USERS, json=ADA, headers=KEY)).content == first.content
    assert (await client.get(first.headers["location"])).status_code == 404


async def test_the_key_belongs_to_caller_method_and_path(api: Api, database_url: str) -> None:
    async with api.client() as client, api.client(await api.key_with(*Scope)) as other:
        for caller, path in [
            (client, "/api/v1/items"),
            (other, "/api/v1/items"),
            (client, "/api/v1/api-keys/1/rotate"),
            (client, "/api/v1/api-keys/2/rotate"),
        ]:
            payload = {"name": "Engine"} if path.endswith("items") else {}
            answer = await caller.post(path, json=payload, headers=KEY)
            assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False)
        assert (await client.get(USERS, headers=KEY)).status_code == 200
    assert effects(database_url)["items"] == 2
    assert len(rows(database_url, "idempotency_records")) == 4


async def test_the_same_caller_with_a_rotated_secret_is_replayed(api: Api) -> None:
    async with api.client() as client:
        await client.post(USERS, json=ADA, headers=KEY)
        rotated = (await client.post("/api/v1/api-keys/1/rotate")).json()["key"]
    async with api.client(rotated) as client:
        assert (await client.post(USERS, json=ADA, headers=KEY)).headers["idempotent-replayed"] == "true"


async def test_a_secret_is_not_kept_for_a_replay(client: httpx2.AsyncClient, database_url: str) -> None:
    for path, payload, _ in POSTS[2:]:
        key = (await client.post(path, json=payload, headers=KEY)).json()["key"]
        dump = repr(rows(database_url, "idempotency_records")) + repr(rows(database_url, "api_key_secrets"))
        assert key[19:] not in dump


# --- refusals are not remembered --------------------------------------------------------------------------------------


async def test_a_conflict_is_not_remembered(client: httpx2.AsyncClient, database_url: str) -> None:
    taken = await client.post(USERS, json=ADA)
    check_problem(await client.post(USERS, json=ADA, headers=KEY), 409, "email-taken")
    assert rows(database_url, "idempotency_records") == []
    await client.delete(taken.headers["location"])
    second = await client.post(USERS, json=ADA, headers=KEY)
    assert (second.status_code, "idempotent-replayed" in second.headers) == (201, False)


async def test_invalid_requests_are_not_remembered(client: httpx2.AsyncClient, database_url: str) -> None:
    check_problem(await client.post(USERS, json=ADA | {"age": -1}, headers=KEY), 422, "validation-failed")
    ownerless = await client.post("/api/v1/items", json={"name": "Engine", "owner_id": 99}, headers=KEY)
    check_problem(ownerless, 422, "validation-failed")
    assert rows(database_url, "idempotency_records") == []
    assert (await client.post(USERS, json=ADA, headers=KEY)).status_code == 201


async def test_an_answer_that_can_not_be_made_undoes_its_effect(
    client: httpx2.AsyncClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(version: int) -> str:
        raise RuntimeError("no tag today")

    with monkeypatch.context() as patch:
        patch.setattr(responses, "strong_etag", broken)
        for headers in ({}, KEY):
            check_problem(await client.post(USERS, json=ADA, headers=headers), 500, "internal-error")
    assert rows(database_url, "users") == []
    assert rows(database_url, "idempotency_records") == []
    assert (await client.post(USERS, json=ADA, headers=KEY)).status_code == 201


NO_KEYS = [b"", b" ", b" a", b"a ", b"k" * 256, b"a\x01b", b"a\tb", b"a\x7f", b"a\x00b", "\u00e9".encode(), b"\xff"]


async def test_what_can_not_be_a_key(api: Api, database_url: str, subtests: pytest.Subtests) -> None:
    for value in NO_KEYS:
        with subtests.test(value=value):
            headers = [
                ("Host", "api.test"),
                ("X-API-Key", api.key),
                ("Content-Type", "application/json"),
                ("Content-Length", "18"),
            ]
            body = b'{"name": "Engine"}'
            answer = await send(api, "POST", "/api/v1/items", [*headers, ("Idempotency-Key", value)], [body])
            errors = check_problem(answer, 422, "validation-failed")["errors"]
            assert [(error["in"], error["pointer"]) for error in errors] == [("header", "/Idempotency-Key")]
            assert rows(database_url, "items") == []


KEYS = ["k", "k" * 255, '"quoted"', "a b", "!~", "8e03978e-40d5-43dd-bc93-6894a57f9324"]


async def test_what_can_be_a_key(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    for value in KEYS:
        with subtests.test(value=value):
            for replayed in (False, True):
                answer = await client.post("/api/v1/items", json={"name": "Engine"}, headers={"Idempotency-Key": value})
                assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, replayed)


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


# --- forgetting -------------------------------------------------------------------------------------------------------


async def test_an_answer_is_kept_for_the_stated_time_and_then_not(database_url: str) -> None:
    async with live(make_settings(database_url, retries={"keep_seconds": 3600})) as api, api.client() as client:
        first = await client.post("/api/v1/items", json={"name": "Engine"}, headers=KEY)
        ((until,),) = rows(database_url, "idempotency_records", "expires_at")
        assert abs((until - datetime.now(UTC)).total_seconds() - 3600) < 10
        execute(database_url, "UPDATE idempotency_records SET expires_at = now()")
        second = await client.post("/api/v1/items", json={"name": "Loom"}, headers=KEY)
        assert (second.status_code, "idempotent-replayed" in second.headers) == (201, False)
        assert second.json()["id"] != first.json()["id"]
        replay = await client.post("/api/v1/items", json={"name": "Loom"}, headers=KEY)
        assert (replay.content, replay.headers["idempotent-replayed"]) == (second.content, "true")
        ((until,),) = rows(database_url, "idempotency_records", "expires_at")
        assert abs((until - datetime.now(UTC)).total_seconds() - 3600) < 10


async def test_of_twins_under_an_expired_key_one_has_the_effect(patient: Api, database_url: str) -> None:
    async with patient.client() as client:
        await client.post("/api/v1/items", json={"name": "Engine"}, headers=KEY)
        execute(database_url, "UPDATE idempotency_records SET expires_at = now()")
        answers = await asyncio.gather(
            *(client.post("/api/v1/items", json={"name": "Loom"}, headers=KEY) for _ in range(8))
        )
    assert {answer.status_code for answer in answers} == {201}
    assert effects(database_url)["items"] == 2


async def test_expired_records_are_deleted_and_no_others(api: Api, database_url: str) -> None:
    insert = (
        "INSERT INTO idempotency_records (caller_id, operation, key, fingerprint, expires_at) "
        "SELECT 1, 'POST /', n::text, '', now() + make_interval(hours => n) FROM generate_series(-25, 4) n"
    )
    execute(database_url, insert)
    database = api.process.database
    async with holding(database_url, "SELECT * FROM idempotency_records WHERE key = '-3' FOR UPDATE"):
        with statements() as seen:
            async with asyncio.timeout(5):
                assert await forget_expired(database, batch=10) == 25
        assert len(about("DELETE FROM idempotency_records", seen)) == 3
    left = {key for (key,) in rows(database_url, "idempotency_records", "key")}
    assert left == {"-3", "1", "2", "3", "4"}
    assert await forget_expired(database) == 1
