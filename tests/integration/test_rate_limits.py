"""Rate limits over HTTP: whom they count, what they say, and what becomes of them without their store."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.scopes import Scope
from app.core.status import LocalStatus
from app.dev.temporary import temporary_valkey
from tests.conftest import Api, live, make_settings
from tests.integration.tools import check_problem, send

HOST = ("Host", "api.test")
LIMITED, PROTECTED = "/api/v1/limited", "/api/v1/protected"


@pytest.fixture(scope="module")
def valkey() -> Iterator[SecretStr]:
    """The URL of a Valkey."""
    with temporary_valkey() as server:
        yield SecretStr(server.url())


def limits(database_url: str, default: str, **more: Any) -> Settings:
    """Settings with a default limit."""
    return make_settings(database_url, limits={"default": default, **more})


async def call(api: Api, path: str = PROTECTED, key: str = "", client: str = "192.0.2.1") -> httpx2.Response:
    return await send(api, "GET", path, [HOST, *([("X-API-Key", key)] if key else [])], client=client)


async def statuses(api: Api, times: int, path: str = PROTECTED, key: str = "", client: str = "192.0.2.1") -> list[int]:
    return [(await call(api, path, key, client)).status_code for _ in range(times)]


async def test_the_example_is_limited_to_ten_a_minute(api: Api) -> None:
    for n in range(10):
        answer = await call(api, LIMITED)
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"example";q=10;w=60'
        assert answer.headers["ratelimit"] in {f'"example";r={9 - n};t={seconds}' for seconds in range(50, 61)}
        assert "retry-after" not in answer.headers
    refused = await call(api, LIMITED)
    check_problem(refused, 429, "too-many-requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit-policy"] == '"example";q=10;w=60'
    assert refused.headers["ratelimit"].startswith('"example";r=0;t=')


async def test_a_public_route_counts_addresses_whatever_key_they_show(api: Api) -> None:
    assert await statuses(api, 5, LIMITED) + await statuses(api, 6, LIMITED, key=api.key) == [200] * 10 + [429]
    assert await statuses(api, 1, LIMITED, client="192.0.2.2") == [200]


async def test_routes_with_the_default_share_one_count_and_others_have_their_own(database_url: str) -> None:
    async with live(limits(database_url, "4/minute")) as api:
        paths = [PROTECTED, "/api/v1/users", "/api/v1/users/1", "/api/v1/items", "/api/v1/api-keys"]
        assert [(await call(api, path, api.key)).status_code for path in paths] == [200, 200, 404, 200, 429]
        assert await statuses(api, 1, LIMITED) == [200]


async def test_each_key_has_its_own_limit_wherever_it_comes_from(database_url: str) -> None:
    async with live(limits(database_url, "3/minute")) as api:
        other = await api.key_with(Scope.users_read)
        seen = [await statuses(api, 1, key=api.key, client=f"192.0.2.{n}") for n in range(5)]
        assert seen == [[200]] * 3 + [[429]] * 2
        assert await statuses(api, 4, key=other) == [200] * 3 + [429]
        refused = await call(api, key=api.key)
        assert refused.headers["ratelimit-policy"] == '"default";q=3;w=60'


async def test_a_rotated_key_keeps_its_count(database_url: str) -> None:
    async with live(limits(database_url, "3/minute")) as api:
        async with api.client() as client:
            rotated = (await client.post("/api/v1/api-keys/1/rotate")).json()["key"]
        assert await statuses(api, 3, key=rotated) == [200, 200, 429]
        assert await statuses(api, 1, key=api.key) == [429]


async def test_strangers_are_counted_by_address(database_url: str) -> None:
    async with live(limits(database_url, "3/minute")) as api:
        guesses = [await statuses(api, 1, key=f"guess-{n}") for n in range(4)]
        assert guesses == [[401]] * 3 + [[429]]
        assert await statuses(api, 1) == [429]
        assert await statuses(api, 1, client="192.0.2.2") == [401]
        assert await statuses(api, 1, key=api.key) == [200]


async def test_refusals_say_where_the_caller_stands(database_url: str) -> None:
    async with live(limits(database_url, "5/minute")) as api, api.client() as client:
        answers = [
            await client.get(PROTECTED),
            await client.get("/api/v1/users?limit=0"),
            await client.post("/api/v1/users"),
        ]
        assert [answer.status_code for answer in answers] == [200, 422, 422]
        assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers] == [
            f'"default";r={left}' for left in (4, 3, 2)
        ]


async def test_an_ipv6_subscriber_is_one_caller(api: Api) -> None:
    one = [await statuses(api, 1, LIMITED, client=f"2001:db8:0:1::{n:x}") for n in range(12)]
    assert one == [[200]] * 10 + [[429]] * 2
    assert await statuses(api, 1, LIMITED, client="2001:db8:0:1:ffff:ffff:ffff:ffff") == [429]
    assert await statuses(api, 1, LIMITED, client="2001:db8:0:2::1") == [200]


async def test_behind_a_proxy_the_client_is_counted(database_url: str) -> None:
    async with live(make_settings(database_url, http={"trusted_proxies": ("10.0.0.0/8",)})) as api:

        async def through(client: str, peer: str = "10.0.0.1") -> int:
            headers = [HOST, ("X-Forwarded-For", client)]
            return (await send(api, "GET", LIMITED, headers, client=peer)).status_code

        assert [await through("198.51.100.7") for _ in range(11)] == [200] * 10 + [429]
        assert await through("198.51.100.8") == 200
        assert await through("203.0.113.5, 198.51.100.7") == 429  # what stands before it is only what the client says
        assert [await through(f"198.51.100.{n}", "192.0.2.9") for n in range(11)] == [200] * 10 + [429]


async def test_documents_are_not_limited(database_url: str) -> None:
    async with live(limits(database_url, "1/minute")) as api:
        for path in ("/docs", "/openapi.json", "/docs/problems/not-found"):
            for _ in range(3):
                answer = await call(api, path)
                assert answer.status_code == 200
                assert "ratelimit" not in answer.headers


async def test_without_a_store_each_worker_has_its_share(database_url: str) -> None:
    async with live(limits(database_url, "9/minute"), status=LocalStatus(workers=4)) as api:
        answer = await call(api, key=api.key)
        assert answer.headers["ratelimit-policy"] == '"default";q=2;w=60'
        assert await statuses(api, 2, key=api.key) == [200, 429]


@pytest.mark.parametrize("known", [True, False])
async def test_a_shared_store_makes_the_limit_exact(database_url: str, valkey: SecretStr, known: bool) -> None:
    settings = limits(database_url, "20/minute", url=valkey, timeout=10.0)
    status = LocalStatus(workers=4)
    async with live(settings, status=status) as one, live(settings, with_key=False, status=status) as other:
        key = one.key if known else ""
        client = "203.0.113.77"
        answers = await asyncio.gather(*(call(api, key=key, client=client) for api in (one, other) for _ in range(25)))
        codes = [answer.status_code for answer in answers]
        assert codes.count(200 if known else 401) == 20
        assert codes.count(429) == 30
        assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"default";q=20;w=60'}


async def test_a_lost_store_fails_no_request(database_url: str) -> None:
    settings = limits(database_url, "3/minute", url=SecretStr("redis://127.0.0.1:1/0"))
    with capture_logs() as events:
        async with live(settings) as api:
            assert await statuses(api, 4, key=api.key) == [200, 200, 200, 429]
            count = api.process.metrics.registry.get_sample_value
            labels = {"policy": "default", "result": "allowed", "source": "failed_open"}
            assert count("gantry_rate_limit_total", labels) == 3
            assert count("gantry_rate_limit_total", labels | {"result": "refused"}) == 1
    assert len([event for event in events if event["event"] == "limit_store_lost"]) == 1
