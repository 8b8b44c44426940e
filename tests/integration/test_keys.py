"""API keys over HTTP: shown once, rotated, and ended everywhere within a stated time."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.scopes import Scope
from app.core.security import KEY_PATTERN
from tests.conftest import Api, live, make_settings
from tests.integration.keys import KEYS, Clock, create, id_of, security, status_with
from tests.integration.tools import RING, about, blocked, check_problem, eventually, execute, holding, rows, statements

TABLES = ("api_keys", "api_key_secrets", "idempotency_records")


# --- the resource -----------------------------------------------------------------------------------------------------


async def test_a_key_is_made_read_listed_and_revoked(client: httpx2.AsyncClient, api: Api) -> None:
    made = await client.post(KEYS, json={"name": "billing", "scopes": ["users:read", "items:read", "users:read"]})
    assert made.status_code == 201
    key = made.json()
    assert re.fullmatch(KEY_PATTERN, key["key"])
    assert key["scopes"] == ["users:read", "items:read"]
    assert made.headers["cache-control"] == "no-store"
    assert made.headers["location"] == f"{KEYS}/{key['id']}"
    assert await status_with(api, key["key"]) == 200

    shown = {name: value for name, value in key.items() if name != "key"}
    read = await client.get(made.headers["location"])
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, shown, made.headers["etag"])
    assert (await client.get(made.headers["location"], headers={"If-None-Match": '"1"'})).status_code == 304
    listed = (await client.get(KEYS)).json()["items"]
    assert shown in listed

    assert (await client.delete(made.headers["location"])).status_code == 204
    assert await status_with(api, key["key"]) == 401
    for method in ("GET", "DELETE"):
        check_problem(await client.request(method, made.headers["location"]), 404, "not-found")
    check_problem(await client.post(f"{made.headers['location']}/rotate"), 404, "not-found")
    assert (await client.get(KEYS)).json()["items"] == [k for k in listed if k != shown]


async def test_revoking_respects_if_match(client: httpx2.AsyncClient) -> None:
    location = f"{KEYS}/{(await create(client))['id']}"
    for stale in ('"2"', 'W/"1"', '"1', ""):
        answer = await client.delete(location, headers={"If-Match": stale})
        check_problem(answer, 412, "precondition-failed")
    assert (await client.get(location)).status_code == 200
    assert (await client.delete(location, headers={"If-Match": '"7", "1"'})).status_code == 204


async def test_a_secret_is_shown_once_and_kept_nowhere(
    api: Api, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with api.client() as client:
        with capture_logs() as events:
            made = await create(client)
            rotated = (await client.post(f"{KEYS}/{made['id']}/rotate")).json()
            for key in (made["key"], rotated["key"], made["key"][:-1] + "x"):
                await status_with(api, key)
            later = [
                (await client.get(KEYS)).text,
                (await client.get(f"{KEYS}/{made['id']}")).text,
                (await client.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_seconds": 9})).text,
            ]
        stored = [rows(database_url, table, f"{table}::text") for table in TABLES]
    said = [*later, repr(stored), repr(events), repr(vars(api.process.callers)), repr(api.process), *capfd.readouterr()]
    for key in (made["key"], rotated["key"]):
        random = key[19:]
        assert not any(random in words or random.encode().hex() in words for words in said)
    assert len(stored[1]) == 4  # that of the test, and three of this key
    digests = [repr(RING.digest(key)) for key in (made["key"], rotated["key"])]
    assert not any(digest in words for digest in digests for words in said[4:])


NO_API_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
    ({"expires_at": "2020-01-01T00:00:00"}, "/expires_at"),
    ({"expires_at": 4102444800}, "/expires_at"),
    ({"expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
    ({"scopes": []}, "/scopes"),
    ({"scopes": ["*"]}, "/scopes/0"),
    ({"scopes": ["users:read"] * 9}, "/scopes"),
    ({"name": ""}, "/name"),
    ({"key": "gantry_mine"}, "/key"),
    ({"id": 7}, "/id"),
    ({"revoked_at": None}, "/revoked_at"),
]


async def test_what_a_key_can_not_be(client: httpx2.AsyncClient, database_url: str, subtests: pytest.Subtests) -> None:
    for body, pointer in NO_API_KEYS:
        with subtests.test(body=body, pointer=pointer):
            before = len(rows(database_url, "api_keys"))
            answer = await client.post(KEYS, json={"name": "made", "scopes": ["users:read"], **body})
            errors = check_problem(answer, 422, "validation-failed")["errors"]
            assert [error["pointer"] for error in errors] == [pointer]
            assert len(rows(database_url, "api_keys")) == before


async def test_an_expired_key_ends_by_itself(database_url: str, clock: Clock) -> None:
    async with live(make_settings(database_url, security=security(key_cache_seconds=300.0))) as api:
        async with api.client() as client:
            made = await create(client, expires_at=(datetime.now(UTC) + timedelta(seconds=60)).isoformat())
        assert await status_with(api, made["key"]) == 200
        clock.passed = 61  # it ends also while the process believes what it knows of the key
        assert await status_with(api, made["key"]) == 401


# --- rotation ---------------------------------------------------------------------------------------------------------


async def test_a_rotated_secret_lives_on_for_the_overlap(client: httpx2.AsyncClient, api: Api, clock: Clock) -> None:
    made = await create(client)
    rotated = await client.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_seconds": 60})
    assert rotated.status_code == 201
    new = rotated.json()
    assert (new["id"], rotated.headers["etag"]) == (made["id"], '"2"')
    assert rotated.headers["cache-control"] == "no-store"
    for passed in (0, 55):
        clock.passed = passed
        assert [await status_with(api, key) for key in (made["key"], new["key"])] == [200, 200]
    clock.passed = 66
    assert [await status_with(api, key) for key in (made["key"], new["key"])] == [401, 200]


async def test_a_second_rotation_does_not_lengthen_the_first_overlap(
    client: httpx2.AsyncClient, api: Api, database_url: str
) -> None:
    made = await create(client)
    await client.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_seconds": 60})
    await client.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_seconds": 3600})
    left = [
        end and (end - datetime.now(UTC)).total_seconds()
        for (end,) in rows(database_url, "api_key_secrets", "expires_at")
    ]
    assert [None if seconds is None else round(seconds, -2) for seconds in left] == [None, 100, 3600, None]


@pytest.mark.parametrize(("how", "seconds"), [(None, 86_400), ({}, 86_400), ({"overlap_seconds": 5}, 5)])
async def test_the_overlap_is_the_settings_unless_told(
    client: httpx2.AsyncClient, database_url: str, how: dict[str, int] | None, seconds: int
) -> None:
    made = await create(client)
    options = {} if how is None else {"json": how}
    assert (await client.post(f"{KEYS}/{made['id']}/rotate", **options)).status_code == 201  # type: ignore[arg-type]
    ends = [end for (end,) in rows(database_url, "api_key_secrets", "expires_at") if end is not None]
    assert abs((ends[0] - datetime.now(UTC)).total_seconds() - seconds) < 5


NO_OVERLAPS = [-1, 30 * 86_400 + 1, 1.5, "1", True, 2**70]


async def test_an_overlap_out_of_range_is_refused(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    for overlap in NO_OVERLAPS:
        with subtests.test(overlap=overlap):
            made = await create(client)
            answer = await client.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_seconds": overlap})
            assert check_problem(answer, 422, "validation-failed")["errors"][0]["pointer"] == "/overlap_seconds"


async def test_a_new_secret_is_valid_at_once_in_every_process(settings: Settings) -> None:
    async with live(settings) as one, live(settings, with_key=False) as other:
        async with one.client() as client:
            made = await create(client)
            assert (
                await status_with(other, made["key"]) == 200
            )  # now the other process knows the key, without what follows
            rotated = (await client.post(f"{KEYS}/{made['id']}/rotate")).json()
        assert await status_with(other, rotated["key"]) == 200
        assert await status_with(other, made["key"]) == 200


# --- revocation -------------------------------------------------------------------------------------------------------


async def test_a_revoked_key_stops_at_once_here_and_soon_elsewhere(settings: Settings, clock: Clock) -> None:
    async with live(settings) as one, live(settings, with_key=False) as other:
        async with one.client() as client:
            made = await create(client)
            assert [await status_with(api, made["key"]) for api in (one, other)] == [200, 200]
            assert (await client.delete(f"{KEYS}/{made['id']}")).status_code == 204
        assert await status_with(one, made["key"]) == 401
        clock.passed = settings.security.key_cache_seconds - 0.1
        assert await status_with(other, made["key"]) == 200  # it is allowed to believe for that long, and does
        clock.passed += 0.1
        assert await status_with(other, made["key"]) == 401


async def test_a_key_can_revoke_itself(api: Api) -> None:
    async with api.client() as client:
        mine = (await client.get("/api/v1/protected")).json()["key_id"]
        assert (await client.delete(f"{KEYS}/{mine}")).status_code == 204
        check_problem(await client.get(KEYS), 401, "unauthorized")


async def test_a_revocation_that_is_cut_off_as_it_commits_still_counts_here(api: Api, database_url: str) -> None:
    async with api.client() as client:
        made = await create(client)
        assert await status_with(api, made["key"]) == 200
        async with holding(database_url, "SELECT * FROM api_keys FOR UPDATE"):
            revocation = asyncio.create_task(client.delete(f"{KEYS}/{made['id']}"))
            await eventually(lambda: blocked(database_url))
            revocation.cancel()
            with pytest.raises(asyncio.CancelledError):
                await revocation
        # The row is as it would be if the cancellation had come during the commit.
        execute(database_url, "UPDATE api_keys SET revoked_at = now() WHERE id = %s", made["id"])
    assert await status_with(api, made["key"]) == 401


async def test_what_was_asked_before_a_revocation_is_not_believed_after_it(api: Api, database_url: str) -> None:
    known = api.process.callers
    key = await api.key_with(Scope.users_read)
    async with holding(database_url, "LOCK TABLE api_key_secrets IN ACCESS EXCLUSIVE MODE"):
        early = asyncio.create_task(known.identify(key))
        await eventually(lambda: blocked(database_url))
        with known.changing(id_of(key)):
            pass
    assert (await early) is not None
    with statements() as seen:
        await known.identify(key)
    assert len(about("api_keys", seen)) == 1
