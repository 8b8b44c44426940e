"""The layers around the application: hosts, paths, and the headers of every answer."""

import re

import httpx2
import pytest

from app.core.status import LocalStatus
from tests.conftest import Api, live, make_settings
from tests.integration.tools import ADA, HOST, check_problem, get, send, with_http

USERS = "/api/v1/users"
APP = "https://app.example"


# --- hosts ------------------------------------------------------------------------------------------------------------


HOSTS = [
    ("api.example", True),
    ("API.Example", True),
    ("api.example:8000", True),
    ("one.apps.example", True),
    ("one.two.apps.example:443", True),
    ("[::1]", True),
    ("[::1]:8000", True),
    ("apps.example", False),
    ("evilapps.example", False),
    ("api.example.evil", False),
    ("evil", False),
    ("", False),
    ("api.example, evil", False),
    ("[::2]:8000", False),
    (":8000", False),
]


async def test_only_trusted_hosts_are_answered(database_url: str, subtests: pytest.Subtests) -> None:
    async with with_http(database_url, trusted_hosts=("api.example", "*.apps.example", "[::1]")) as api:
        for host, served in HOSTS:
            with subtests.test(host=host):
                answer = await send(api, "GET", "/", [("Host", host)])
                if served:
                    assert answer.status_code == 200
                else:
                    check_problem(answer, 400, "malformed-request")


# --- headers of every answer ------------------------------------------------------------------------------------------


async def test_every_answer_has_the_security_headers(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api.client() as client:
        made = await client.post(USERS, json=ADA)
        location = made.headers["location"]
        answers = [
            made,
            await client.get(location),
            await client.get(location, headers={"If-None-Match": made.headers["etag"]}),
            await client.head(location),
            await client.get(location + "/"),
            await client.get("/api/v1/items/export?format=csv"),
            await client.delete(location),
            await client.get("/nothing"),
            await client.put("/"),
            await client.post(USERS, content=b"{"),
            await client.get("/docs"),
            await client.get("/docs/guide"),
            await client.get("/openapi.json"),
            await client.get("/", headers={"Host": "two words"}),
            await client.get("/", headers={f"X-{n}": "" for n in range(200)}),
            await client.options("/", headers={"Origin": APP, "Access-Control-Request-Method": "GET"}),
        ]
        monkeypatch.setattr(api.process.limiter, "hit", None)
        answers.append(await client.get("/"))
    assert {a.status_code for a in answers} == {200, 201, 204, 304, 403, 404, 405, 415, 431, 500}
    for answer in answers:
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert re.search(r"default-src 'none'", headers["content-security-policy"])
        assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
        assert headers["cache-control"]
        assert "server" not in headers
        assert "strict-transport-security" not in headers
        for name in set(headers):
            assert len(headers.get_list(name)) == 1, name


async def test_the_docs_have_a_policy_of_their_own(client: httpx2.AsyncClient) -> None:
    assert "script-src" in (await client.get("/docs")).headers["content-security-policy"]
    assert "script-src" not in (await client.get("/")).headers["content-security-policy"]


async def test_hsts_is_for_https_alone(database_url: str) -> None:
    for seconds, expected in ((31_536_000, "max-age=31536000"), (60, "max-age=60"), (0, None)):
        async with with_http(database_url, hsts_seconds=seconds, trusted_proxies=("10.0.0.0/8",)) as api:
            proxied = ("X-Forwarded-Proto", "https")
            assert (await get(api, "/", scheme="https")).headers.get("strict-transport-security") == expected
            assert (await get(api, "/", proxied, client="10.1.1.1")).headers.get(
                "strict-transport-security"
            ) == expected
            assert "strict-transport-security" not in (await get(api, "/", proxied)).headers
            garbage = ("X-Forwarded-Proto", "gopher")
            assert "strict-transport-security" not in (await get(api, "/", garbage, client="10.1.1.1")).headers
            assert "strict-transport-security" not in (await get(api, "/", client="10.1.1.1")).headers


async def test_while_it_drains_connections_are_closed(database_url: str) -> None:
    status = LocalStatus()
    async with live(make_settings(database_url, http={"max_body_bytes": 10}), status=status) as api:
        assert "connection" not in (await get(api, "/")).headers
        status.stopping = True
        for answer in (
            await get(api, "/"),
            await get(api, "/nothing"),
            await send(
                api,
                "POST",
                USERS,
                [HOST, ("X-API-Key", api.key), ("Content-Length", "99"), ("Content-Type", "application/json")],
            ),
        ):
            assert answer.headers.get_list("connection") == ["close"]


# --- paths ------------------------------------------------------------------------------------------------------------


async def test_a_trailing_slash_is_the_same_resource_without_a_redirect(client: httpx2.AsyncClient) -> None:
    made = await client.post(USERS + "/", json=ADA)
    assert made.status_code == 201
    assert (await client.get(made.headers["location"] + "/")).json() == made.json()
    assert (await client.get(USERS + "/?limit=1")).json()["items"] == [made.json()]
    changed = await client.patch(made.headers["location"] + "/", json={"age": 1})
    assert changed.status_code == 200
    assert (await client.delete(made.headers["location"] + "/")).status_code == 204
    check_problem(await client.get(USERS + "//"), 404, "not-found")


async def test_head_is_get_without_its_body(client: httpx2.AsyncClient, api: Api, subtests: pytest.Subtests) -> None:
    made = await client.post(USERS, json=ADA)
    paths = [
        "/",
        "/openapi.json",
        "/docs",
        "/docs/guide",
        USERS,
        made.headers["location"],
        made.headers["location"] + "/",
        "/api/v1/api-keys",
        "/api/v1/protected",
        "/api/v1/items/export?format=csv",
        "/nothing",
    ]
    dynamic = {"x-request-id", "x-trace-id", "ratelimit", "content-length"}
    for path in paths:
        with subtests.test(path=path):
            headers = [HOST, ("X-API-Key", api.key)]
            head, full = await send(api, "HEAD", path, headers), await send(api, "GET", path, headers)
            assert (head.status_code, head.content) == (full.status_code, b"")
            assert {k: v for k, v in head.headers.items() if k not in dynamic} == {
                k: v for k, v in full.headers.items() if k not in dynamic
            }
            if path not in ("/nothing", "/api/v1/items/export?format=csv"):
                assert head.headers["content-length"] == full.headers["content-length"]
    not_modified = await send(
        api, "HEAD", made.headers["location"], [HOST, ("X-API-Key", api.key), ("If-None-Match", '"1"')]
    )
    assert not_modified.status_code == 304
