"""Calls from pages of other origins: those that are listed, and no others."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from tests.conftest import Api, make_settings
from tests.integration.tools import HOST, check_problem, get, send, with_http

USERS = "/api/v1/users"
APP = "https://app.example"


@pytest.fixture
async def browsable(database_url: str) -> AsyncIterator[Api]:
    """An application that one origin may call."""
    async with with_http(database_url, cors_origins=(APP,)) as api:
        yield api


async def preflight(api: Api, origin: str = APP, method: str = "PATCH", headers: str | None = None) -> httpx2.Response:
    """What a browser asks before it sends."""
    asked = [("Access-Control-Request-Headers", headers)] if headers is not None else []
    return await send(
        api, "OPTIONS", f"{USERS}/1", [HOST, ("Origin", origin), ("Access-Control-Request-Method", method), *asked]
    )


CALLED = ["GET", "POST", "PATCH", "DELETE"]


async def test_a_browser_on_an_allowed_origin_may_call(browsable: Api, subtests: pytest.Subtests) -> None:
    for method in CALLED:
        with subtests.test(method=method):
            answer = await preflight(
                browsable, method=method, headers="content-type, x-api-key, idempotency-key, if-match"
            )
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == APP
            assert method in answer.headers["access-control-allow-methods"].split(", ")
            allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
            assert {"content-type", "x-api-key", "idempotency-key", "if-match", "if-none-match"} <= set(allowed)
            assert "Origin" in answer.headers["vary"]
            assert "access-control-allow-credentials" not in answer.headers
            assert "x-request-id" in answer.headers


REFUSED_PREFLIGHTS = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "https://app.example.evil.example"},
    {"origin": "http://app.example"},
    {"method": "PUT"},
    {"headers": "x-evil"},
]


async def test_another_preflight_is_refused_with_a_problem(browsable: Api, subtests: pytest.Subtests) -> None:
    for asked in REFUSED_PREFLIGHTS:
        with subtests.test(asked=asked):
            answer = await preflight(browsable, **asked)
            check_problem(answer, 403, "origin-not-allowed")
            assert "access-control-allow-origin" not in answer.headers
            assert "Origin" in answer.headers["vary"]


async def test_answers_are_readable_by_allowed_origins_alone(browsable: Api) -> None:
    for target, key in ((USERS, None), (USERS, ""), ("/nothing", None), (f"{USERS}?limit=0", None)):
        answer = await get(browsable, target, ("Origin", APP), key=key)
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["vary"] == "Origin"
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert exposed >= {
            "ETag",
            "Link",
            "Location",
            "RateLimit",
            "Retry-After",
            "X-Request-ID",
            "Idempotent-Replayed",
        }
        other = await get(browsable, target, ("Origin", "https://evil.example"), key=key)
        assert "access-control-allow-origin" not in other.headers
        assert other.headers["vary"] == "Origin"


async def test_answers_to_a_lost_limit_or_a_defect_are_readable_too(
    browsable: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(browsable.process.limiter, "hit", broken)
    answer = await get(browsable, "/", ("Origin", APP))
    check_problem(answer, 500, "internal-error")
    assert answer.headers["access-control-allow-origin"] == APP


async def test_by_default_no_origin_may_call(api: Api) -> None:
    check_problem(await preflight(api), 403, "origin-not-allowed")
    assert "access-control-allow-origin" not in (await get(api, "/", ("Origin", APP))).headers


async def test_a_wildcard_is_for_everybody_and_without_credentials(database_url: str) -> None:
    async with with_http(database_url, cors_origins=("*",)) as api:
        assert (await preflight(api, "https://any.example")).headers["access-control-allow-origin"] == "*"
        answer = await get(api, "/", ("Origin", "https://any.example"), ("Cookie", "a=b"))
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    with pytest.raises(ValidationError, match="GANTRY_HTTP__CORS_ORIGINS"):
        make_settings(database_url, http={"cors_origins": ("*",), "cors_credentials": True})


async def test_credentials_go_to_named_origins(database_url: str) -> None:
    async with with_http(database_url, cors_origins=(APP,), cors_credentials=True) as api:
        for answer in (await preflight(api), await get(api, "/", ("Origin", APP))):
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert answer.headers["access-control-allow-origin"] == APP


async def test_options_without_cors_is_a_method_like_others(browsable: Api) -> None:
    for headers in ([HOST], [HOST, ("Origin", APP)], [HOST, ("Access-Control-Request-Method", "GET")]):
        answer = await send(browsable, "OPTIONS", USERS, headers)
        check_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "GET, HEAD, POST"
