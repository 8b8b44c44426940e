"""One line and one measurement a request, without secrets, and with labels that clients can't invent."""

import asyncio

import pytest
import structlog
from prometheus_client import generate_latest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from app.api.middleware.identity import Identity
from app.api.middleware.observation import Observation
from app.core.config import LogSettings, Settings
from tests.conftest import Api, live
from tests.integration.tools import ADA, HOST, RING, eventually, get, send

USERS = "/api/v1/users"


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


@pytest.mark.parametrize(("status", "lines"), [(200, 0), (404, 0), (499, 0), (500, 1), (503, 1)])
async def test_without_lines_for_requests_those_that_failed_have_one(api: Api, status: int, lines: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=status)(scope, receive, send)

    with capture_logs() as events:
        await send(Identity(Observation(app, api.process.metrics, log_requests=False), ()), "GET", "/")
    assert [event["status"] for event in events] == [status] * lines


async def test_the_setting_reaches_the_layer(settings: Settings) -> None:
    for requests in (False, True):
        with_log = settings.model_copy(update={"log": LogSettings(requests=requests)})
        async with live(with_log) as api, api.client() as client:
            with capture_logs() as events:
                await client.get("/api/v1/protected")
            assert [event["event"] for event in events].count("request") == requests


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
    assert any('handler="/",method="OTHER"' in line for line in before)
    assert any('handler="unmatched"' in line for line in before)
    assert any('handler="/api/v1/users/{user_id}"' in line for line in before)


async def test_requests_in_flight_are_counted(api: Api) -> None:
    def in_flight() -> float | None:
        api.process.metrics.publish(api.process.database.pool_state, None)
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
