"""Bodies: their length, their time, and their media type."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.conftest import Api, live, make_settings
from tests.integration.tools import ADA, check_problem, execute, request_headers, rows, send

USERS = "/api/v1/users"
JSON = ("Content-Type", "application/json")
ADA_JSON = b'{"name": "Ada Lovelace", "email": "ada@example.com", "age": 36}'
SLACK = 1.0
"""Seconds that a busy machine may add."""


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[Api]:
    """An application that takes 100 bytes, in 0.3 seconds."""
    http = {"max_body_bytes": 100, "body_timeout": 0.3}
    async with live(make_settings(database_url, http=http)) as api:
        yield api


async def test_a_body_without_length_is_411(strict: Api) -> None:
    check_problem(await send(strict, "POST", USERS, request_headers(strict, JSON)), 411, "length-required")


async def test_a_slow_body_is_408(strict: Api, database_url: str) -> None:
    headers = request_headers(strict, JSON, length=len(ADA_JSON))
    answer = await send(strict, "POST", USERS, headers, [ADA_JSON[:9], 5.0, ADA_JSON[9:]])
    check_problem(answer, 408, "request-timeout")
    assert answer.headers["connection"] == "close"
    assert 0.3 <= answer.extensions["seconds"] < 0.3 + SLACK
    trickle: list[bytes | float] = [part for byte in ADA_JSON for part in (bytes([byte]), 0.02)]
    check_problem(await send(strict, "POST", USERS, headers, trickle), 408, "request-timeout")
    assert rows(database_url, "users") == []


async def test_a_body_over_the_limit_is_413(strict: Api, database_url: str) -> None:
    exact = ADA_JSON + b" " * (100 - len(ADA_JSON))
    over = exact + b" "
    chunked = ("Transfer-Encoding", "chunked")
    for headers, body in [
        (request_headers(strict, JSON, length=101), [over]),
        (request_headers(strict, JSON, length=10**30), []),
        (request_headers(strict, JSON, chunked), [over]),
        (request_headers(strict, JSON, chunked), [exact[:50], exact[50:], b" "]),
    ]:
        answer = await send(strict, "POST", USERS, headers, body)
        problem = check_problem(answer, 413, "content-too-large")
        assert "100" in problem["detail"]
        assert answer.headers["connection"] == "close"
    assert rows(database_url, "users") == []
    assert (await send(strict, "POST", USERS, request_headers(strict, JSON, length=100), [exact])).status_code == 201


async def test_a_declared_body_is_not_read_to_be_refused(strict: Api) -> None:
    """A client that waits for 100 Continue (RFC 9110 §10.1.1) hears no sooner than it must."""
    answer = await send(strict, "POST", USERS, request_headers(strict, JSON, length=10**9), [60.0])
    check_problem(answer, 413, "content-too-large")
    assert answer.extensions["seconds"] < SLACK


OTHER_TYPES = [
    None,
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "application/problem+json",
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
    "json",
    "application/jsonp",
    "application/json, text/plain",
    "application/json; charset*=utf-16''x",
    "application/json; charset*0*=x''y; charset*99999999999999999999*=z",
    "\u00ff\u00fe",
]


async def test_another_media_type_is_415(api: Api, database_url: str, subtests: pytest.Subtests) -> None:
    execute(database_url, "INSERT INTO users (name, email, email_key, age) VALUES ('a', 'a@b.c', 'a@b.c', 1)")
    for content_type in OTHER_TYPES:
        with subtests.test(content_type=content_type):
            headers = request_headers(api, length=len(ADA_JSON)) + (
                [] if content_type is None else [("Content-Type", content_type)]
            )
            posted = await send(api, "POST", USERS, headers, [ADA_JSON])
            check_problem(posted, 415, "unsupported-media-type")
            assert posted.headers["accept-post"] == "application/json"
            patched = await send(api, "PATCH", f"{USERS}/1", headers, [b'{"age": 4}'])
            check_problem(patched, 415, "unsupported-media-type")
            assert patched.headers["accept-patch"] == "application/merge-patch+json, application/json"
            assert rows(database_url, "users", "age") == [(1,)]


SPELLINGS = [
    "application/json",
    "Application/JSON",
    "application/json;charset=UTF-8",
    'application/json; charset="utf-8"',
]


async def test_json_is_read_however_it_is_declared(api: Api, subtests: pytest.Subtests) -> None:
    for content_type in SPELLINGS:
        with subtests.test(content_type=content_type):
            headers = request_headers(api, ("Content-Type", content_type), length=15)
            assert (await send(api, "POST", "/api/v1/items", headers, [b'{"name": "Loom"}'])).status_code == 201


async def test_a_merge_patch_is_for_patch_alone(client: httpx2.AsyncClient) -> None:
    merge_patch = {"Content-Type": "application/merge-patch+json"}
    check_problem(await client.post(USERS, content=ADA_JSON, headers=merge_patch), 415, "unsupported-media-type")
    made = await client.post(USERS, json=ADA)
    changed = await client.patch(made.headers["location"], content=b'{"age": 40}', headers=merge_patch)
    assert (changed.status_code, changed.json()["age"]) == (200, 40)
