"""The layers around the application: who is calling, what is refused early, and what every answer and log line carries."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest
import structlog
from prometheus_client import generate_latest
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from app.api.middleware.body import BodyLimit
from app.api.middleware.deadline import Deadline
from app.api.middleware.errors import ErrorBoundary
from app.api.middleware.paths import Paths
from app.core.config import HttpSettings
from app.core.status import LocalStatus
from tests.conftest import Api, live, make_settings
from tests.integration.tools import ADA, RING, check_problem, eventually, send

HOST = ("Host", "api.test")
USERS = "/api/v1/users"
APP = "https://app.example"


def with_http(url: str, **http: Any) -> AbstractAsyncContextManager[Api]:
    """An application with these settings of the public side."""
    return live(make_settings(url, http=http))


async def get(
    api: Api, target: str, *headers: tuple[str, str], key: str | None = None, **options: Any
) -> httpx2.Response:
    """A GET, with the key unless told otherwise."""
    key = api.key if key is None else key
    keyed = [("X-API-Key", key)] if key else []
    return await send(api, "GET", target, [HOST, *keyed, *headers], **options)


# --- CORS -------------------------------------------------------------------------------------------------------------


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


# --- who is calling ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def proxied(database_url: str) -> AsyncIterator[Api]:
    """An application behind proxies in 10.0.0.0/8 and fd00::/8."""
    async with with_http(database_url, trusted_proxies=("10.0.0.0/8", "fd00::/8")) as api:
        yield api


REQUEST_IDS = ["8f14e45fceea467a9b2c1d3e5f607182", "a", "A-z.0_9", "x" * 128]


async def test_a_proxys_request_id_is_taken_over(proxied: Api, subtests: pytest.Subtests) -> None:
    for request_id in REQUEST_IDS:
        with subtests.test(request_id=request_id):
            answer = await get(proxied, "/nothing", ("X-Request-ID", request_id), client="10.0.0.9")
            assert check_problem(answer, 404, "not-found")["instance"] == request_id
            stranger = await get(proxied, "/nothing", ("X-Request-ID", request_id))
            assert re.fullmatch("[0-9a-f]{32}", stranger.headers["x-request-id"])
            assert stranger.headers["x-request-id"] != request_id


NO_REQUEST_IDS = ["", " ", "x" * 129, "a b", "a\nb", "a\r\nSet-Cookie: a=b", "\u00e9", '"', "a;b", "<a>"]


async def test_a_request_id_that_is_none_is_replaced(proxied: Api, subtests: pytest.Subtests) -> None:
    for request_id in NO_REQUEST_IDS:
        with subtests.test(request_id=request_id):
            answer = await get(proxied, "/", ("X-Request-ID", request_id), client="10.0.0.9")
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_ids_of_requests_differ(api: Api) -> None:
    assert len({(await get(api, "/")).headers["x-request-id"] for _ in range(20)}) == 20


ADDRESSES = [
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
    ("10.0.0.9", [], "10.0.0.9"),
    ("10.0.0.9", ["198.51.100.7"], "198.51.100.7"),
    ("10.0.0.9", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
    ("10.0.0.9", ["1.1.1.1, 198.51.100.7, 10.0.0.8"], "198.51.100.7"),
    ("10.0.0.9", ["1.1.1.1", "198.51.100.7", "10.0.0.8"], "198.51.100.7"),
    ("10.0.0.9", ["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
    ("10.0.0.9", ["198.51.100.7, garbage"], "10.0.0.9"),
    ("10.0.0.9", ["198.51.100.7, garbage, 10.0.0.8"], "10.0.0.8"),
    ("10.0.0.9", [""], "10.0.0.9"),
    ("10.0.0.9", ["198.51.100.7:4711"], "198.51.100.7"),
    ("10.0.0.9", ["[2001:db8::1]:4711"], "2001:db8::1"),
    ("fd00::9", ["2001:db8::1"], "2001:db8::1"),
    ("::ffff:10.0.0.9", ["198.51.100.7"], "198.51.100.7"),
    ("", ["198.51.100.7"], ""),
]


async def test_the_clients_address(proxied: Api, subtests: pytest.Subtests) -> None:
    for peer, forwarded, client in ADDRESSES:
        with subtests.test(peer=peer, forwarded=forwarded, client=client):
            with capture_logs() as events:
                await get(proxied, "/", *(("X-Forwarded-For", line) for line in forwarded), client=peer)
            assert [e["client"] for e in events if e["event"] == "request"] == [client]


async def test_without_trusted_proxies_nobody_is_believed(api: Api) -> None:
    headers = [("X-Forwarded-For", "198.51.100.7"), ("X-Request-ID", "mine"), ("X-Forwarded-Proto", "https")]
    with capture_logs() as events:
        answer = await get(api, "/", *headers, client="127.0.0.1")
    assert answer.headers["x-request-id"] != "mine"
    assert "strict-transport-security" not in answer.headers
    assert [e["client"] for e in events if e["event"] == "request"] == ["127.0.0.1"]


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
    dynamic = {"x-request-id", "ratelimit", "content-length"}
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


# --- the layers by themselves -----------------------------------------------------------------------------------------


def scope(method: str = "GET", **state: Any) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": "/",
        "headers": [],
        "query_string": b"",
        "state": {"request_id": "r", "response_headers": [], **state},
    }


class Recorder:
    """A server's end: what was sent, and whether the client is told that the answer has begun."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.scope["state"]["response_started"] = True
        self.sent.append(message)

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def run(self, app: ASGIApp) -> None:
        await app(self.scope, self.receive, self.send)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status


async def start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def test_an_answer_that_has_begun_is_not_cut() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for n in range(3):
            await asyncio.sleep(0.05)
            await send({"type": "http.response.body", "body": b"%d" % n, "more_body": n < 2})

    recorder = Recorder(scope())
    await recorder.run(Deadline(stream, 0.05))
    assert b"".join(m.get("body", b"") for m in recorder.sent) == b"012"


@pytest.mark.parametrize("ending", [None, RuntimeError, asyncio.CancelledError])
async def test_work_that_is_given_up_may_end_as_it_likes(ending: type[BaseException] | None) -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # rolls back
            await start(send)  # nobody hears this
            await send({"type": "http.response.body", "body": b"too late"})
            if ending is not None:
                raise ending from None

    recorder = Recorder(scope())
    with capture_logs() as events:
        await recorder.run(ErrorBoundary(Deadline(stubborn, 0.05)))
    assert recorder.status == 503
    assert len(recorder.sent) == 2
    assert events == []
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_answer_does_not_wait_for_the_work_to_end() -> None:
    cancelled, answered = asyncio.Event(), asyncio.Event()

    async def slow_to_leave(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.set()
            await answered.wait()
            raise

    recorder = Recorder(scope())
    request = asyncio.create_task(recorder.run(Deadline(slow_to_leave, 0.02)))
    await cancelled.wait()
    await asyncio.sleep(0.02)
    assert recorder.status == 503
    assert not request.done()
    answered.set()
    await request


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_request_that_the_server_cancels_is_cancelled(given_up: bool) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            raise

    recorder = Recorder(scope())
    request = asyncio.create_task(recorder.run(Deadline(slow, 0.02 if given_up else 5)))
    await asyncio.sleep(0.05)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert len(recorder.sent) == (2 if given_up else 0)


async def test_a_defect_after_the_answer_began_cuts_it() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        raise RuntimeError("halfway")

    recorder = Recorder(scope())
    with capture_logs() as events, pytest.raises(RuntimeError, match="halfway"):
        await recorder.run(ErrorBoundary(breaks))
    assert len(recorder.sent) == 1
    assert [event["event"] for event in events] == ["defect"]


async def test_a_body_has_no_more_time_than_the_setting_says() -> None:
    """The client's silence after its whole body is no slow body: a stream may wait for its disconnect."""

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        async with asyncio.timeout(0.2):
            await receive()

    messages: list[Message] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b"},
    ]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    recorder = Recorder(scope("POST"))
    layer = BodyLimit(waits, HttpSettings(body_timeout=0.05))
    with pytest.raises(TimeoutError):
        await layer(recorder.scope, receive, recorder.send)


async def test_what_is_no_http_passes_through() -> None:
    seen = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    settings = HttpSettings()
    for layer in (ErrorBoundary(inner), Deadline(inner, 1), Paths(inner), BodyLimit(inner, settings)):
        await Recorder({"type": "websocket"}).run(layer)
    assert seen == [{"type": "websocket"}] * 4


async def test_a_websocket_finds_nothing_here(api: Api) -> None:
    recorder = Recorder({"type": "websocket", "path": USERS, "headers": [], "query_string": b"", "root_path": ""})
    await recorder.run(api)
    assert [message["type"] for message in recorder.sent] == ["websocket.close"]


# --- logs and metrics -------------------------------------------------------------------------------------------------


async def test_a_request_is_one_line_without_secrets(api: Api) -> None:
    async with api.client() as client:
        made = await client.post(USERS, json=ADA)
        with capture_logs() as events:
            answer = await client.get(made.headers["location"], headers={"Cookie": "s3cret"})
            wrong = RING.mint(99).get_secret_value()
            await client.get(made.headers["location"], headers={"X-API-Key": wrong})
            await client.patch(made.headers["location"], json={"name": "s3cret", "age": -1})
    lines = [event for event in events if event["event"] == "request"]
    assert len(lines) == 3
    assert {event["event"] for event in events} <= {"request", "schema_in_range"}
    first, second, third = lines
    duration = first.pop("duration_ms")
    assert 0 < duration < 10_000
    assert first == {
        "event": "request",
        "log_level": "info",
        "request_id": answer.headers["x-request-id"],
        "method": "GET",
        "route": "/api/v1/users/{user_id}",
        "status": 200,
        "client": "192.0.2.1",
        "key_id": 1,
    }
    assert (second["status"], second["problem"], second.get("key_id")) == (401, "unauthorized", None)
    assert (third["status"], third["problem"], third["key_id"]) == (422, "validation-failed", 1)
    for secret in ("s3cret", api.key[19:], wrong[19:], "ada@example.com"):
        assert secret not in repr(events)


async def test_a_client_that_left_is_499(api: Api) -> None:
    headers = [HOST, ("X-API-Key", api.key), ("Content-Type", "application/json"), ("Content-Length", "99")]
    with capture_logs() as events:
        await send(api, "POST", USERS, headers, [b"{"], gone=True)
    assert [e["status"] for e in events if e["event"] == "request"] == [499]
    assert [e for e in events if e["event"] == "defect"] == []


def series(api: Api) -> set[str]:
    """Every series that the process's metrics have."""
    text = generate_latest(api.process.metrics.registry).decode()
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


async def test_what_clients_invent_makes_no_series(api: Api) -> None:
    async def nonsense(n: int) -> None:
        for method, target in (
            ("GET", f"/{n}"),
            (f"M{n}", "/"),
            (f"M{n}", f"/{n}"),
            ("GET", f"{USERS}/{n + 1}"),
            ("GET", f"/docs/problems/{n}"),
            ("GET", f"/docs/static/{n}/{n}"),
            ("POST", f"{USERS}/{n}/{n}"),
            ("GET", f"{USERS}?a{n}=1"),
        ):
            await send(api, method, target, [HOST, ("X-API-Key", api.key), (f"X-{n}", f"{n}")], client=f"192.0.2.{n}")

    await nonsense(1)
    before = series(api)
    for n in range(2, 12):
        await nonsense(n)
    assert series(api) == before
    assert any('method="OTHER",route="/"' in line for line in before)
    assert any('route="unmatched"' in line for line in before)
    assert any('route="/api/v1/users/{user_id}"' in line for line in before)


async def test_requests_in_flight_are_counted(api: Api) -> None:
    def in_flight() -> float | None:
        return api.process.metrics.registry.get_sample_value("gantry_http_requests_in_flight")

    headers = [HOST, ("X-API-Key", api.key), ("Content-Type", "application/json"), ("Content-Length", "99")]
    await get(api, "/api/v1/protected")
    assert in_flight() == 0
    request = asyncio.create_task(send(api, "POST", USERS, headers, [b"{", 10.0, b"}"]))
    await eventually(lambda: in_flight() == 1)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert in_flight() == 0


def test_logs_are_captured_by_these_tests() -> None:
    """What is asserted to be absent from logs would also be absent if nothing were captured."""
    with capture_logs() as events:
        structlog.get_logger("gantry.request").info("request", key="s3cret")
    assert "s3cret" in repr(events)
