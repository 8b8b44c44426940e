"""API keys over HTTP: shown once, checked without the database where that can be, and ended everywhere within a stated time."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from app.api.access import PUBLIC, Audience
from app.api.routing import Route
from app.core.config import LimitSettings, Settings
from app.core.scopes import Scope
from app.core.security import KEY_PATTERN
from app.main import create_app
from app.services import callers
from app.services.api_keys import register_bootstrap_key
from tests.conftest import CURSOR_KEY, PEPPER, Api, live, make_settings
from tests.integration.tools import (
    RING,
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

KEYS = "/api/v1/api-keys"
TABLES = ("api_keys", "api_key_secrets", "idempotency_records")
CHALLENGE = 'ApiKey realm="gantry", header="X-API-Key"'


def security(**values: Any) -> dict[str, Any]:
    """The group of settings, with values of a test."""
    return {"key_peppers": [PEPPER], "cursor_keys": [CURSOR_KEY], **values}


class Clock:
    """The time of ``app.services.callers``: it stands still, unless a test says that some has passed."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._begun, self._begun_monotonic = time.time(), time.monotonic()

    def time(self) -> float:
        return self._begun + self.passed

    def monotonic(self) -> float:
        return self._begun_monotonic + self.passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time, in the hands of the test."""
    clock = Clock()
    monkeypatch.setattr(callers, "time", clock)
    return clock


async def create(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post(KEYS, json={"name": "made", "scopes": ["users:read"], **fields})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def id_of(key: str) -> int:
    read = RING.read(key)
    assert read is not None
    return read.key_id


async def status_with(api: Api, key: str) -> int:
    """What a key is answered: 200 when it is valid."""
    async with api.client(key) as client:
        return (await client.get("/api/v1/protected")).status_code


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


# --- who may do what --------------------------------------------------------------------------------------------------


def operations() -> list[tuple[str, str, Scope | Audience]]:
    """Every operation that is mounted: its method, a path of it, and its audience."""
    found = []
    for context in iter_route_contexts(create_app(make_settings("postgresql://nobody@127.0.0.1:1/none")).routes):
        route = context.original_route
        assert isinstance(route, Route)
        path = re.sub(r"\{\w+\}", "1", str(context.path_format))
        found += [(method, path, route.access.audience) for method in sorted(context.methods or ())]
    return found


OPERATIONS = operations()
PROTECTED = [operation for operation in OPERATIONS if operation[2] is not PUBLIC]
SCOPED = [(method, path, audience) for method, path, audience in OPERATIONS if isinstance(audience, Scope)]


def test_the_matrix_has_all_operations() -> None:
    assert len(SCOPED) >= 16
    assert len(PROTECTED) > len(SCOPED)


async def test_a_key_without_the_scope_is_refused_everywhere(api: Api, subtests: pytest.Subtests) -> None:
    without = {needed: await api.key_with(*(scope for scope in Scope if scope is not needed)) for needed in Scope}
    for method, path, needed in SCOPED:
        with subtests.test(method=method, path=path):
            async with api.client(without[needed]) as client:
                answer = await client.request(method, path)
            assert needed.value in check_problem(answer, 403, "forbidden")["detail"]
            assert "ratelimit" in answer.headers


async def test_a_key_with_only_the_scope_is_let_in(api: Api, subtests: pytest.Subtests) -> None:
    only = {needed: await api.key_with(needed) for needed in Scope}
    for method, path, needed in SCOPED:
        with subtests.test(method=method, path=path):
            async with api.client(only[needed]) as client:
                answer = await client.request(method, path)
            assert answer.status_code < 500
            assert answer.status_code not in (401, 403)


@asynccontextmanager
async def bad_keys(api: Api) -> AsyncIterator[dict[str, str | None]]:
    """Each way in which a key can be wrong."""
    async with api.client() as client:
        revoked = await create(client, name="revoked")
        await client.delete(f"{KEYS}/{revoked['id']}")
        rotated = await create(client, name="rotated")
        await client.post(f"{KEYS}/{rotated['id']}/rotate", json={"overlap_seconds": 0})
    expired = await api.key_with(Scope.users_read)
    async with api.process.database.transaction() as session:
        past = text("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id")
        await session.execute(past, {"id": id_of(expired)})
    typo = api.key[:-1] + ("A" if api.key[-1] != "A" else "B")
    yield {
        "none": None,
        "empty": "",
        "malformed": "secret-api-key",
        "typo": typo,
        "other case": api.key.upper(),
        "longer": api.key + "0",
        "not ASCII": "gantry_\u00e9",
        "megabyte": "g" * 30_000,
        "unknown": RING.mint(4_000_000_000).get_secret_value(),
        "unknown secret of a known key": RING.mint(1).get_secret_value(),
        "largest id": RING.mint(2**63 - 1).get_secret_value(),
        "expired": expired,
        "revoked": revoked["key"],
        "rotated": rotated["key"],
    }


async def test_every_wrong_key_gets_the_same_401_everywhere(api: Api) -> None:
    documents = set()
    async with bad_keys(api) as keys:
        for name, key in keys.items():
            headers: list[tuple[str, str | bytes]] = [("Host", "api.test")]
            headers += [] if key is None else [("X-API-Key", key.encode("latin-1"))]
            for method, path, _ in PROTECTED:
                answer = await send(api, method, path, headers)
                problem = check_problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == CHALLENGE, (name, method, path)
                documents.add(json.dumps(problem | {"instance": ""}))
    assert len(documents) == 1


async def test_an_unknown_scope_of_a_newer_version_harms_nothing(api: Api, database_url: str) -> None:
    key = await api.key_with(Scope.users_read)
    execute(database_url, "UPDATE api_keys SET scopes = '{users:read,teapots:brew}' WHERE name = 'test' AND id = 2")
    async with api.client(key) as client:
        assert (await client.get("/api/v1/users")).status_code == 200
        assert (await client.get("/api/v1/protected")).status_code == 200
    async with api.client() as client:
        assert (await client.get(KEYS)).status_code == 200


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


# --- what a lookup costs, and what can go wrong with it ---------------------------------------------------------------


async def test_a_known_key_costs_one_query_in_a_while(api: Api, clock: Clock) -> None:
    with statements() as seen:
        for n in range(50):
            clock.passed = n / 10
            assert await status_with(api, api.key) == 200
    assert len(about("api_key", seen)) == 1
    clock.passed = 5
    with statements() as seen:
        await status_with(api, api.key)
    assert len(about("api_key", seen)) == 1


async def test_a_thousand_guesses_cost_no_query(api: Api) -> None:
    ring = type(RING)([SecretStr("a pepper that a stranger made up, of 32")])
    guesses = [ring.mint(n % 3 + 1).get_secret_value() for n in range(1000)]  # right in all that can be computed
    assert await status_with(api, api.key) == 200
    with statements() as seen:
        for guess in guesses:
            assert await api.process.callers.identify(guess) is None
        async with api.client(guesses[0]) as client:
            check_problem(await client.get("/api/v1/users"), 401, "unauthorized")
    assert about("api_key", seen) == []


async def test_a_key_that_is_gone_costs_one_query_in_a_while(api: Api) -> None:
    unknown, stranger = RING.mint(77).get_secret_value(), RING.mint(1).get_secret_value()
    await status_with(api, api.key)
    for key, most in ((unknown, 1), (stranger, 1)):
        with statements() as seen:
            for _ in range(20):
                assert await status_with(api, key) == 401
        assert len(about("api_key", seen)) <= most
    with statements() as seen:
        assert await status_with(api, api.key) == 200
    assert about("api_key", seen) == []


async def test_concurrent_requests_share_one_lookup(api: Api) -> None:
    key = await api.key_with(Scope.users_read)
    with statements() as seen:
        assert set(await asyncio.gather(*(status_with(api, key) for _ in range(30)))) == {200}
    assert len(about("api_key", seen)) == 1


async def test_a_cancelled_request_does_not_spoil_the_lookup_for_others(api: Api, database_url: str) -> None:
    key = await api.key_with(Scope.users_read)
    async with holding(database_url, "LOCK TABLE api_key_secrets IN ACCESS EXCLUSIVE MODE"):
        first = asyncio.create_task(status_with(api, key))
        await eventually(lambda: blocked(database_url))
        second = asyncio.create_task(status_with(api, key))
        await asyncio.sleep(0.1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert await second == 200


async def test_a_lookup_that_nobody_waits_for_ends_with_the_process(settings: Settings, database_url: str) -> None:
    async with live(settings) as api, holding(database_url, "LOCK TABLE api_key_secrets IN ACCESS EXCLUSIVE MODE"):
        request = asyncio.create_task(status_with(api, api.key))
        await eventually(lambda: blocked(database_url))
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        async with asyncio.timeout(5):
            await api.process.callers.aclose()
        assert blocked(database_url) == []
        assert api.process.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a queue pool


async def test_a_failed_lookup_is_neither_401_nor_remembered(api: Api, database_url: str) -> None:
    key = await api.key_with(Scope.users_read)
    execute(database_url, "ALTER TABLE api_key_secrets RENAME TO hidden")
    try:
        async with api.client(key) as client:
            answers = await asyncio.gather(*(client.get("/api/v1/protected") for _ in range(3)))
    finally:
        execute(database_url, "ALTER TABLE hidden RENAME TO api_key_secrets")
    for answer in answers:
        check_problem(answer, 500, "internal-error")
    assert await status_with(api, key) == 200


async def test_a_lookup_that_fails_after_everybody_left_is_not_complained_about(api: Api, database_url: str) -> None:
    key = await api.key_with(Scope.users_read)
    async with holding(database_url, "LOCK TABLE api_key_secrets IN ACCESS EXCLUSIVE MODE"):
        request = asyncio.create_task(status_with(api, key))
        (pid, _), *_ = await eventually(lambda: [b for b in blocked(database_url) if "api_key_secrets" in b[1]])
        with api.process.callers.changing(id_of(key)):
            request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        execute(database_url, "SELECT pg_terminate_backend(%s)", pid)
        await asyncio.sleep(0.1)  # "exception was never retrieved" would be an error here: warnings are
    assert await status_with(api, key) == 200


async def test_a_database_that_is_down_is_503_and_not_401() -> None:
    settings = make_settings("postgresql://nobody@127.0.0.1:1/none")
    async with live(settings, with_key=False) as api:
        async with api.client(RING.mint(1).get_secret_value()) as client:
            check_problem(await client.get("/api/v1/users"), 503, "service-unavailable")
        async with api.client("guess") as client:
            check_problem(await client.get("/api/v1/users"), 401, "unauthorized")


async def test_no_more_keys_are_kept_than_the_setting_says(database_url: str) -> None:
    settings = make_settings(database_url, security=security(key_cache_size=3))
    async with live(settings) as api:
        keys = [await api.key_with(Scope.users_read) for _ in range(8)]
        for key in keys:
            assert await status_with(api, key) == 200
        assert len(api.process.callers._known) == 3
        with statements() as seen:
            for key in keys[-3:]:
                assert await status_with(api, key) == 200
        assert about("api_key", seen) == []


# --- last use ---------------------------------------------------------------------------------------------------------


async def test_last_use_is_written_in_batches_and_never_by_a_request(api: Api, database_url: str, clock: Clock) -> None:
    keys = [await api.key_with(Scope.users_read) for _ in range(5)]
    with statements() as seen:
        for key in keys[:4] * 4:
            assert await status_with(api, key) == 200
        await status_with(api, RING.mint(6).get_secret_value())  # a wrong secret is no use of the key
        assert [s for s in seen if "UPDATE" in s] == []
        await api.process.callers.write_last_used()
        assert len([s for s in seen if "UPDATE" in s]) == 1
        for passed in (0, 100, 299):
            clock.passed = passed
            await status_with(api, keys[0])
            await api.process.callers.write_last_used()
        assert len([s for s in seen if "UPDATE" in s]) == 1
    used = dict(rows(database_url, "api_keys", "id, last_used_at"))
    assert [key_id for key_id, at in used.items() if at is None] == [1, 6]
    execute(database_url, "UPDATE api_keys SET last_used_at = last_used_at - interval '300 seconds'")
    clock.passed = 301
    await status_with(api, keys[0])
    await api.process.callers.write_last_used()
    again = dict(rows(database_url, "api_keys", "id, last_used_at"))
    assert [key_id for key_id, at in again.items() if at and at >= used[key_id]] == [2]


async def test_two_processes_write_the_same_use_once(settings: Settings, database_url: str) -> None:
    async with live(settings) as one, live(settings, with_key=False) as other:
        for api in (one, other):
            assert await status_with(api, one.key) == 200
            await api.process.callers.write_last_used()
    assert rows(database_url, "api_keys", "version") == [(2,)]


async def test_last_use_is_shown_with_a_new_version(client: httpx2.AsyncClient, api: Api) -> None:
    made = await create(client)
    await status_with(api, made["key"])
    await api.process.callers.write_last_used()
    read = await client.get(f"{KEYS}/{made['id']}")
    assert read.json()["last_used_at"] is not None
    assert read.headers["etag"] == '"2"'


async def test_last_use_that_can_not_be_written_is_written_later(api: Api, database_url: str) -> None:
    await status_with(api, api.key)
    execute(database_url, "ALTER TABLE api_keys RENAME TO hidden")
    try:
        with pytest.raises(Exception, match="does not exist"):
            await api.process.callers.write_last_used()
    finally:
        execute(database_url, "ALTER TABLE hidden RENAME TO api_keys")
    await api.process.callers.write_last_used()
    assert rows(database_url, "api_keys", "last_used_at")[0][0] is not None


async def test_last_use_does_not_wait_for_a_row_that_somebody_holds(api: Api, database_url: str) -> None:
    await status_with(api, api.key)
    other = await api.key_with(Scope.users_read)
    await status_with(api, other)
    async with holding(database_url, "SELECT * FROM api_keys WHERE id = 1 FOR UPDATE"), asyncio.timeout(2):
        await api.process.callers.write_last_used()
    assert [at is not None for (at,) in rows(database_url, "api_keys", "last_used_at")] == [False, True]


async def test_last_use_is_written_as_the_process_ends(settings: Settings, database_url: str) -> None:
    async with live(settings) as api:
        await status_with(api, api.key)
    assert rows(database_url, "api_keys", "last_used_at")[0][0] is not None


# --- the bootstrap key ------------------------------------------------------------------------------------------------


async def test_the_bootstrap_key_is_registered_at_start_once_and_never_again(database_url: str) -> None:
    key = RING.mint(2**62 + 5)
    settings = make_settings(database_url, security=security(bootstrap_key=key, key_cache_seconds=0.0))

    async def works(api: Api) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return await status_with(api, key.get_secret_value()) == 200

        return check

    async with live(settings, with_key=False) as api, live(settings, with_key=False) as twin:
        for process in (api, twin):
            check = await works(process)
            async with asyncio.timeout(10):
                while not await check():
                    await asyncio.sleep(0.02)
        assert [name for (name,) in rows(database_url, "api_keys", "name")] == ["bootstrap"]
        async with api.client(key.get_secret_value()) as client:
            assert set((await client.get("/api/v1/protected")).json()["scopes"]) == set(Scope)
            assert (await client.delete(f"{KEYS}/{2**62 + 5}")).status_code == 204
    with capture_logs() as events:
        async with live(settings, with_key=False) as api:
            await eventually(lambda: [e for e in events if e["event"] == "schema_in_range"])
            assert await status_with(api, key.get_secret_value()) == 401
    assert [e for e in events if e["event"] == "bootstrap_key_registered"] == []
    assert len(rows(database_url, "api_keys")) == 1


async def test_a_bootstrap_key_of_other_peppers_is_refused(api: Api, database_url: str) -> None:
    foreign = type(RING)([SecretStr("another pepper, of at least 32 characters")]).mint(9)
    with pytest.raises(ValueError, match="gantry keys create --offline"):
        await register_bootstrap_key(api.process.database, RING, foreign)
    assert len(rows(database_url, "api_keys")) == 1


async def test_guesses_are_limited_by_address(database_url: str) -> None:
    settings = make_settings(database_url, limits=LimitSettings(default="5/minute"))
    async with live(settings) as api, api.client("guess") as stranger:
        answers = [await stranger.get("/api/v1/users") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
        assert await status_with(api, api.key) == 200
