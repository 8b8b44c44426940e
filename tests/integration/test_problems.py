"""Every failure is a problem document (RFC 9457), the framework's own included."""

import re
from collections import defaultdict
from html import escape
from typing import Any

import httpx2
import pytest
from fastapi import HTTPException
from fastapi.routing import iter_route_contexts
from structlog.testing import capture_logs

from app.api.catalogue import CATALOGUE
from app.api.v1.endpoints import users
from app.core.scopes import Scope
from tests.conftest import Api, live, make_settings
from tests.integration.tools import ADA, HOST, check_problem, request_headers, send

USERS = "/api/v1/users"
JSON = ("Content-Type", "application/json")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")


# --- the framework's own ----------------------------------------------------------------------------------------------


async def test_each_type_is_a_page(client: httpx2.AsyncClient) -> None:
    for kind in CATALOGUE.values():
        page = await client.get(kind.type)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert escape(kind.title) in page.text
    check_problem(await client.get("/docs/problems/unheard-of"), 404, "not-found")


NOWHERE = [
    "/nothing",
    "/api",
    "/api/v2/users",
    "/api/v1/users/1_000",
    "/api/v1/users/+1",
    "/api/v1/users/1.0",
    "/api/v1/users/%201",
    "/api/v1/users/01",
    "/api/v1/users/0",
    "/api/v1/users/-1",
    "/api/v1/users/%EF%BC%91",
    "/api/v1/users/9223372036854775808",
    "/api/v1/users/9999999999999999999",
    "/api/v1/users/" + "9" * 400,
    "/api/v1/users/9223372036854775807",
    "/api/v1/users//",
    "//api/v1/users",
    "/api/v1/users/1/2",
    "/api/v1/users%00",
]


async def test_what_does_not_exist_is_404(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    for path in NOWHERE:
        with subtests.test(path=path):
            answer = await client.request("GET", f"http://api.test{path}")
            assert "errors" not in check_problem(answer, 404, "not-found")


async def test_an_id_beyond_64_bits_is_404_for_every_method(client: httpx2.AsyncClient) -> None:
    for resource in ("users", "items", "api-keys"):
        check_problem(await client.delete(f"/api/v1/{resource}/9223372036854775808"), 404, "not-found")
    check_problem(await client.patch(f"{USERS}/9223372036854775808", json={"age": 1}), 404, "not-found")
    check_problem(await client.post("/api/v1/api-keys/9223372036854775808/rotate"), 404, "not-found")


async def test_other_methods_are_405_with_all_that_exist(api: Api, subtests: pytest.Subtests) -> None:
    allowed: defaultdict[str, set[str]] = defaultdict(set)
    for context in iter_route_contexts(api.app.routes):
        path = re.sub(r"\{\w+\}", "1", str(context.path_format))
        allowed[path] |= set(context.methods or ()) | ({"HEAD"} if "GET" in (context.methods or ()) else set())
    assert allowed["/api/v1/users/1"] == {"GET", "HEAD", "PATCH", "DELETE"}
    for path, methods in allowed.items():
        for method in set(METHODS) - methods:
            for spelled in {path, path.rstrip("/") + "/"}:
                with subtests.test(method=method, path=spelled):
                    answer = await send(api, method, spelled, [HOST])
                    check_problem(answer, 405, "method-not-allowed")
                    assert set(answer.headers["allow"].split(", ")) == methods
    head = await send(api, "HEAD", "/api/v1/api-keys/1/rotate", [HOST])
    assert (head.status_code, head.headers["allow"], head.content) == (405, "POST", b"")


RULED_OUT = ["text/html", "application/json;q=0", "application/*;q=0, text/*", "image/png, */*;q=0"]


async def test_what_can_not_be_made_is_406(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    for accept in RULED_OUT:
        with subtests.test(accept=accept):
            for path in ("/", USERS, "/api/v1/limited"):
                problem = check_problem(await client.get(path, headers={"Accept": accept}), 406, "not-acceptable")
                assert "application/json" in problem["detail"]


FITTING = ["*/*", "application/*", "text/html, */*;q=0.1", "", "nonsense", "application/json;q=0.1"]


async def test_what_can_be_made_is(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    for accept in FITTING:
        with subtests.test(accept=accept):
            assert (await client.get(USERS, headers={"Accept": accept})).status_code == 200


async def test_several_accept_lines_are_one_list(api: Api) -> None:
    headers = request_headers(api, ("Accept", "text/html"), ("Accept", "application/json"))
    assert (await send(api, "GET", USERS, headers)).status_code == 200


# --- validation -------------------------------------------------------------------------------------------------------


async def test_each_invalid_value_has_its_pointer(client: httpx2.AsyncClient) -> None:
    answer = await client.post(USERS, json={"name": "", "email": "nobody", "age": 151, "a/b~c": 1})
    errors = check_problem(answer, 422, "validation-failed")["errors"]
    assert {(e["in"], e["pointer"]) for e in errors} == {
        ("body", pointer) for pointer in ("/name", "/email", "/age", "/a~1b~0c")
    }
    assert all(set(error) == {"in", "pointer", "detail"} for error in errors)
    answer = await client.get(USERS + "?limit=0&sort=age&nothing=1")
    errors = check_problem(answer, 422, "validation-failed")["errors"]
    assert {(e["in"], e["pointer"]) for e in errors} == {("query", p) for p in ("/limit", "/sort", "/nothing")}


async def test_a_small_request_does_not_get_a_large_answer(client: httpx2.AsyncClient) -> None:
    answer = await client.post(USERS, json={f"unknown{n}": 1 for n in range(90)})
    assert len(check_problem(answer, 422, "validation-failed")["errors"]) == 20
    for name in ("x" * 100_000, "\u202e" + "evil", "\n"):
        answer = await client.post(USERS, json=ADA | {name: 1})
        errors = check_problem(answer, 422, "validation-failed")["errors"]
        assert [error["pointer"] for error in errors] == [""]
        twice = f'{{"{name}": 1, "{name}": 2}}'.replace("\n", "\\n").encode()
        answer = await client.post(USERS, content=twice, headers={"Content-Type": "application/json"})
        assert len(answer.content) < 1000
        assert check_problem(answer, 422, "validation-failed")["errors"][0]["pointer"] == ""


# --- the order --------------------------------------------------------------------------------------------------------


async def test_the_checks_have_the_documented_order(database_url: str) -> None:
    """A request with every fault, mended one by one."""
    settings = make_settings(
        database_url, limits={"default": "1/minute"}, http={"max_body_bytes": 100, "body_timeout": 0.2}
    )
    async with live(settings) as api:
        body: list[bytes | float] = [b"{" * 60, 1.0, b"{" * 60]

        async def refused(
            status: int, slug: str, *headers: tuple[str, str], key: str = "", client: str = "192.0.2.1"
        ) -> None:
            keyed = [("X-API-Key", key)] if key else []
            answer = await send(api, "POST", USERS, [HOST, *headers, *keyed], body, client=client)
            check_problem(answer, status, slug)

        async def key(*scopes: Scope) -> str:
            return await api.key_with(*(scopes or (Scope.users_write,)))

        html, length = ("Accept", "text/html"), ("Content-Length", "120")
        await send(api, "GET", "/", [HOST])  # the address has used up its limit
        await refused(406, "not-acceptable", html)
        await refused(429, "too-many-requests")
        await refused(401, "unauthorized", client="192.0.2.2")
        await refused(403, "forbidden", key=await key(Scope.users_read))
        await refused(411, "length-required", key=await key())
        await refused(415, "unsupported-media-type", length, key=await key())
        await refused(413, "content-too-large", length, JSON, key=await key())
        body = [b"{" * 60, 1.0, b"{" * 30]
        length = ("Content-Length", "90")
        await refused(408, "request-timeout", length, JSON, key=await key())
        body = [b"{" * 60, b"{" * 30]
        await refused(400, "malformed-json", length, JSON, key=await key())
        body = [b"[]" + b" " * 88]
        await refused(422, "validation-failed", length, JSON, key=await key())


async def test_a_stranger_learns_nothing_of_resources(client: httpx2.AsyncClient, api: Api) -> None:
    made = await client.post(USERS, json=ADA)
    async with api.client("") as stranger:
        for path in (made.headers["location"], f"{USERS}/999"):
            check_problem(await stranger.patch(path, content=b"{"), 401, "unauthorized")


# --- defects ----------------------------------------------------------------------------------------------------------


async def test_a_defect_is_500_and_says_nothing_of_itself(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("the secret of the defect")

    monkeypatch.setattr(users, "read_user", broken)
    async with api.client() as client:
        with capture_logs() as events:
            answer = await client.get(f"{USERS}/1")
    problem = check_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    (defect,) = [event for event in events if event["event"] == "defect"]
    assert (defect["request_id"], defect["log_level"], defect["exc_info"]) == (problem["instance"], "error", True)
    (line,) = [event for event in events if event["event"] == "request"]
    assert (line["status"], line["problem"], line["log_level"]) == (500, "internal-error", "error")


@pytest.mark.parametrize(("raised", "status", "slug"), [(413, 413, "content-too-large"), (418, 500, "internal-error")])
async def test_what_the_framework_raises_is_a_problem(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, raised: int, status: int, slug: str
) -> None:
    async def refuses(*_: Any) -> None:
        raise HTTPException(raised, "of the framework's own words")

    monkeypatch.setattr(users, "read_user", refuses)
    answer = await client.get(f"{USERS}/1")
    check_problem(answer, status, slug)
    assert "words" not in answer.text


async def test_a_defect_of_the_plumbing_is_500_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("the secret of the defect")

    monkeypatch.setattr(api.process.limiter, "hit", broken)
    async with api.client() as client:
        answer = await client.get("/")
    check_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text
