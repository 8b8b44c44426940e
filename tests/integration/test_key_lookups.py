"""What it costs to know a caller: a query in a while, none for a guess, and no write by a request."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.scopes import Scope
from app.services.api_keys import register_bootstrap_key
from tests.conftest import Api, live, make_settings
from tests.integration.keys import KEYS, Clock, create, id_of, security, status_with
from tests.integration.tools import RING, about, blocked, check_problem, eventually, execute, holding, rows, statements


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
