"""Every failure is a problem document (RFC 9457), the framework's own and those of a lost database included."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from tests.conftest import Api, live, make_database, make_settings
from tests.integration.tools import ADA, RING, blocked, check_problem, eventually, execute, holding, rows, send

USERS = "/api/v1/users"
HOST = ("Host", "api.test")
JSON = ("Content-Type", "application/json")
ADA_JSON = b'{"name": "Ada Lovelace", "email": "ada@example.com", "age": 36}'
SLACK = 1.0
"""Seconds that a busy machine may add."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")


def request(api: Api, *headers: tuple[str, str], length: int | None = None) -> list[tuple[str, str | bytes]]:
    """Headers of a request with a body."""
    size = [] if length is None else [("Content-Length", str(length))]
    return [HOST, ("X-API-Key", api.key), *size, *headers]


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
    headers = request(api, ("Accept", "text/html"), ("Accept", "application/json"))
    assert (await send(api, "GET", USERS, headers)).status_code == 200


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[Api]:
    """An application that takes 100 bytes, in 0.3 seconds."""
    http = {"max_body_bytes": 100, "body_timeout": 0.3}
    async with live(make_settings(database_url, http=http)) as api:
        yield api


async def test_a_body_without_length_is_411(strict: Api) -> None:
    check_problem(await send(strict, "POST", USERS, request(strict, JSON)), 411, "length-required")


async def test_a_slow_body_is_408(strict: Api, database_url: str) -> None:
    headers = request(strict, JSON, length=len(ADA_JSON))
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
        (request(strict, JSON, length=101), [over]),
        (request(strict, JSON, length=10**30), []),
        (request(strict, JSON, chunked), [over]),
        (request(strict, JSON, chunked), [exact[:50], exact[50:], b" "]),
    ]:
        answer = await send(strict, "POST", USERS, headers, body)
        problem = check_problem(answer, 413, "content-too-large")
        assert "100" in problem["detail"]
        assert answer.headers["connection"] == "close"
    assert rows(database_url, "users") == []
    assert (await send(strict, "POST", USERS, request(strict, JSON, length=100), [exact])).status_code == 201


async def test_a_declared_body_is_not_read_to_be_refused(strict: Api) -> None:
    """A client that waits for 100 Continue (RFC 9110 §10.1.1) hears no sooner than it must."""
    answer = await send(strict, "POST", USERS, request(strict, JSON, length=10**9), [60.0])
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
            headers = request(api, length=len(ADA_JSON)) + (
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
            headers = request(api, ("Content-Type", content_type), length=15)
            assert (await send(api, "POST", "/api/v1/items", headers, [b'{"name": "Loom"}'])).status_code == 201


async def test_a_merge_patch_is_for_patch_alone(client: httpx2.AsyncClient) -> None:
    merge_patch = {"Content-Type": "application/merge-patch+json"}
    check_problem(await client.post(USERS, content=ADA_JSON, headers=merge_patch), 415, "unsupported-media-type")
    made = await client.post(USERS, json=ADA)
    changed = await client.patch(made.headers["location"], content=b'{"age": 40}', headers=merge_patch)
    assert (changed.status_code, changed.json()["age"]) == (200, 40)


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


# --- the database -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def black_hole() -> AsyncIterator[str]:
    """The URL of a server that takes connections, and never says a word."""
    open_ones: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable"
    finally:
        server.close()
        for writer in open_ones:
            writer.close()
        await server.wait_closed()


REQUESTS: list[tuple[str, str, list[bytes | float]]] = [
    ("GET", f"{USERS}/1", []),
    ("GET", USERS, []),
    ("POST", USERS, [ADA_JSON]),
    ("PATCH", f"{USERS}/1", [b'{"age": 4}']),
    ("GET", "/api/v1/items/export?format=csv", []),
]
"""A read by the driver, one by SQLAlchemy, writes, and a stream."""


def believed(api: Api) -> None:
    """Make the process believe in a key, so that requests get past it to the database."""
    from app.services.callers import Caller, Known

    key = RING.read(api.key)
    assert key is not None
    caller = Caller(key.key_id, "test", frozenset(Scope))
    api.process.callers._known[key.key_id] = Known(caller, ((key.digest, float("inf")),), 1e12)


@pytest.mark.parametrize("known", [False, True])
async def test_a_database_that_refuses_is_503(known: bool) -> None:
    async with live(make_settings("postgresql://nobody@127.0.0.1:1/none"), with_key=False) as api:
        api.key = RING.mint(1).get_secret_value()
        if known:
            believed(api)
        for method, path, body in REQUESTS:
            length = sum(len(part) for part in body if isinstance(part, bytes))
            answer = await send(api, method, path, request(api, JSON, length=length), body)
            check_problem(answer, 503, "service-unavailable")
            assert answer.extensions["seconds"] < SLACK
        assert (await send(api, "GET", "/", [HOST])).status_code == 200


@pytest.mark.parametrize("known", [False, True])
async def test_a_database_that_never_answers_is_503_in_time(known: bool) -> None:
    async with black_hole() as url:
        settings = make_settings(
            url, http={"deadline": 0.5}, database={"url": url, "pool_size": 5, "connect_timeout": 2}
        )
        async with live(settings, with_key=False) as api:
            api.key = RING.mint(1).get_secret_value()
            if known:
                believed(api)
            answers = await asyncio.gather(
                *(
                    send(api, method, path, request(api, JSON, length=len(body[0]) if body else 0), body)  # type: ignore[arg-type]
                    for method, path, body in REQUESTS
                )
            )
            for answer in answers:
                check_problem(answer, 503, "deadline-exceeded")
                assert answer.extensions["seconds"] < 0.5 + SLACK


async def test_a_connection_that_is_not_made_in_time_is_503() -> None:
    async with black_hole() as url:
        settings = make_settings(url, database={"url": url, "connect_timeout": 2})
        async with live(settings, with_key=False) as api, api.client(RING.mint(1).get_secret_value()) as client:
            check_problem(await client.get(USERS), 503, "service-unavailable")


async def test_a_pool_that_is_exhausted_is_503(database_url: str) -> None:
    settings = make_settings(database_url, database={"url": database_url, "pool_size": 1, "pool_timeout": 0.2})
    async with live(settings) as api, api.client() as client:
        made = await client.post(USERS, json=ADA)
        async with holding(database_url, "SELECT * FROM users FOR UPDATE"):
            waiting = asyncio.create_task(client.patch(made.headers["location"], json={"age": 4}))
            await eventually(lambda: blocked(database_url))
            for method, path in (
                ("GET", made.headers["location"]),
                ("GET", USERS),
                ("DELETE", made.headers["location"]),
            ):
                problem = check_problem(await client.request(method, path), 503, "service-unavailable")
                assert "connections" in problem["detail"]
        assert (await waiting).status_code == 200
        assert (await client.get(made.headers["location"])).json()["age"] == 4


async def test_a_query_that_hangs_is_given_up_in_time_and_its_connection_lives_on(database_url: str) -> None:
    settings = make_settings(
        database_url, http={"deadline": 0.5}, database={"url": database_url, "pool_size": 2, "pool_timeout": 5}
    )
    async with live(settings) as api:
        execute(database_url, "INSERT INTO users (name, email, email_key, age) VALUES ('a', 'a@b.c', 'a@b.c', 1)")
        assert (await send(api, "GET", f"{USERS}/1", request(api))).status_code == 200
        async with holding(database_url, "LOCK TABLE users, items IN ACCESS EXCLUSIVE MODE"):
            for method, path, body in REQUESTS[:-1]:
                length = sum(len(part) for part in body if isinstance(part, bytes))
                keyed = ("Idempotency-Key", "k")
                with capture_logs() as events:
                    answer = await send(api, method, path, request(api, JSON, keyed, length=length), body)
                check_problem(answer, 503, "deadline-exceeded")
                assert 0.5 <= answer.extensions["seconds"] < 0.5 + SLACK
                assert [e["status"] for e in events if e["event"] == "request"] == [503]
                assert [e for e in events if e["event"] == "defect"] == []
            await eventually(lambda: not blocked(database_url))  # nothing goes on in the database either
        answers = await asyncio.gather(*(send(api, "GET", f"{USERS}/1", request(api)) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert rows(database_url, "users", "age") == [(1,)]
        assert rows(database_url, "idempotency_records") == []


async def test_a_wait_for_a_row_under_an_idempotency_key_is_503(database_url: str) -> None:
    async with live(make_settings(database_url, retries={"wait_seconds": 0.2})) as api, api.client() as client:
        taken = "INSERT INTO users (name, email, email_key, age) VALUES ('a', 'x', 'ada@example.com', 1)"
        async with holding(database_url, taken):
            answer = await client.post(USERS, json=ADA, headers={"Idempotency-Key": "k"})
            assert "same rows" in check_problem(answer, 503, "service-unavailable")["detail"]
        assert (await client.post(USERS, json=ADA, headers={"Idempotency-Key": "k"})).status_code == 201


async def test_connections_that_were_cut_are_replaced(api: Api, database_url: str) -> None:
    async with api.client() as client:
        made = await client.post(USERS, json=ADA)
        await asyncio.gather(*(client.get(USERS) for _ in range(5)))
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gantry' AND datname = current_database()"
        execute(database_url, cut)
        await asyncio.sleep(0.1)
        reads = [await client.get(path) for path in (made.headers["location"], USERS, made.headers["location"], USERS)]
    for answer in reads:
        if answer.status_code != 200:
            check_problem(answer, 503, "service-unavailable")
    assert reads[0].status_code == 200
    assert reads[-1].status_code == 200


async def test_a_standby_that_answers_during_a_failover_is_503(worker_id: str) -> None:
    url = make_database(f"standby_{worker_id}")
    async with live(make_settings(url)) as api, api.client() as client:
        made = await client.post(USERS, json=ADA)
        name = url.rpartition("/")[2]
        execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await api.process.database.engine.dispose()
        check_problem(await client.patch(made.headers["location"], json={"age": 4}), 503, "service-unavailable")
        assert (await client.get(made.headers["location"])).status_code == 200
