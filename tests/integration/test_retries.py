"""``Idempotency-Key``: what a replay is, what is not remembered, and for how long the rest is."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from app.api import responses
from app.core.scopes import Scope
from app.services.idempotency import forget_expired
from tests.conftest import Api, live, make_settings
from tests.integration.tools import ADA, about, check_problem, effects, execute, holding, rows, send, statements

KEY = {"Idempotency-Key": "0b9fa6d2-2f0c-4d5b-9a3b-4d5e6f708192"}
USERS = "/api/v1/users"
POSTS: list[tuple[str, Any, Any]] = [
    (USERS, ADA, ADA | {"age": 37}),
    ("/api/v1/items", {"name": "Engine"}, {"name": "Loom"}),
    ("/api/v1/api-keys", {"name": "k", "scopes": ["users:read"]}, {"name": "k", "scopes": ["users:write"]}),
    ("/api/v1/api-keys/1/rotate", {"overlap_seconds": 60}, {"overlap_seconds": 61}),
]
"""Every POST, with a payload and another."""


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
