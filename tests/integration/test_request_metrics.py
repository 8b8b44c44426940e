"""What is counted of requests: the same as prometheus-fastapi-instrumentator's own middleware counts, and bounded whoever asks."""

import asyncio
import re
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator import metrics as instrumentator
from sqlalchemy import text
from starlette.types import Message, Receive, Scope, Send

from app.api.error_handlers import EXHAUSTED
from app.api.middleware.observation import Observation
from app.core.config import Settings
from app.core.telemetry.catalogue import REQUEST_DURATION, REQUEST_SIZE, RESPONSE_SIZE, SECONDS
from app.main import create_app
from tests.conftest import Api, live, make_key, make_settings
from tests.integration.tools import HOST, eventually, send

ITEMS = "/api/v1/items"
MOST_SERIES = 400
"""Of one worker after the hostile traffic below. Each combination of route, method and status has 17 of latency alone."""


def samples(registry: CollectorRegistry, *names: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Samples of metrics whose name begins so, without the times at which they were made."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name.startswith(names) and not sample.name.endswith("_created")
    }


async def test_it_is_what_the_library_counts(settings: Settings) -> None:
    """Both ways at once: the library's middleware around an application that measures by itself."""
    theirs = CollectorRegistry()
    app = create_app(settings)
    functions = (
        instrumentator.latency(REQUEST_DURATION.name, "x", buckets=SECONDS, registry=theirs),
        instrumentator.response_size(RESPONSE_SIZE.name, "x", should_include_status=False, registry=theirs),
        instrumentator.request_size(REQUEST_SIZE.name, "x", should_include_status=False, registry=theirs),
    )
    Instrumentator(should_group_status_codes=False, registry=theirs).add(*functions).instrument(app)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        process = state["process"]
        api = Api(app, process, await make_key(process.database))
        async with api.client() as client:
            for number in range(5):
                made = await client.post(ITEMS, json={"name": f"Item {number}"})
                await client.get(made.headers["location"])
                await client.get(ITEMS, params={"limit": 2})
            await client.patch(made.headers["location"], json={"name": "other"})
            await client.delete(made.headers["location"])
            await client.get(made.headers["location"])
            await client.get("/", headers={"X-API-Key": ""})
            await client.post("/api/v1/users", json={"name": "Ada", "email": "nonsense", "age": 36})
    ours = samples(process.metrics.registry, REQUEST_DURATION.name + "_count", RESPONSE_SIZE.name, REQUEST_SIZE.name)
    others = {
        # It shows how a part of the path is converted.
        (name, tuple((label, re.sub(r":\w+}", "}", value)) for label, value in labels)): count
        for (name, labels), count in samples(
            theirs, REQUEST_DURATION.name + "_count", RESPONSE_SIZE.name, REQUEST_SIZE.name
        ).items()
    }
    # The library counts requests without a body as bodies of 0 bytes.
    bodies = {
        key: value for key, value in others.items() if not (key[0].startswith(REQUEST_SIZE.name) and key not in ours)
    }
    assert ours == bodies
    assert len(ours) > 20


async def test_bytes_are_those_that_were_sent(api: Api) -> None:
    async with api.client() as client:
        await client.post(ITEMS, json={"name": "Engine"})
        page = await client.get(ITEMS)
        export = await client.get(f"{ITEMS}/export", headers={"Accept": "text/csv"})
    registry = api.process.metrics.registry
    labels = {"handler": ITEMS, "method": "GET"}
    assert registry.get_sample_value(f"{RESPONSE_SIZE.name}_sum", labels) == len(page.content)
    labels = {"handler": f"{ITEMS}/export", "method": "GET"}
    assert registry.get_sample_value(f"{RESPONSE_SIZE.name}_sum", labels) == len(export.content), (
        "streamed, without a length"
    )
    labels = {"handler": ITEMS, "method": "POST"}
    assert registry.get_sample_value(f"{REQUEST_SIZE.name}_sum", labels) == len('{"name":"Engine"}')
    assert registry.get_sample_value(f"{REQUEST_SIZE.name}_count", {"handler": ITEMS, "method": "GET"}) is None


def hostile(n: int) -> tuple[str, str, list[tuple[str, str]]]:
    """A method, a target and headers that nobody has sent before."""
    method = ("GET", "POST", f"M{n}")[n % 3]
    target = (f"/{n}", f"/api/v1/{n}", f"{ITEMS}/{n + 1}", f"{ITEMS}/{n}x", f"/docs/problems/{n}")[n % 5]
    return (
        method,
        target,
        [("Host", f"h{n}.test"), ("X-API-Key", f"gtry_{n}"), ("traceparent", f"00-{n + 1:032x}-{n + 1:016x}-00")],
    )


async def test_hostile_traffic_makes_no_series(api: Api) -> None:
    """Through everything: of a few thousand requests, none after the first few makes a series."""
    registry = api.process.metrics.registry
    counts = []
    for start in (0, 100, 3000):
        for n in range(start, start + (100 if start < 3000 else 2000)):
            method, target, headers = hostile(n)
            await send(api, method, target, headers, client=f"2001:db8::{n:x}")
        counts.append(len(samples(registry, "gantry_")))
    assert counts[0] == counts[1] == counts[2] <= MOST_SERIES


async def test_a_hundred_thousand_of_them_make_none_either(api: Api) -> None:
    """At the layer that makes the labels, around an application that finds nothing."""

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def sent(message: Message) -> None:
        assert message["type"].startswith("http.")

    async def received() -> Message:
        raise AssertionError("nothing reads")

    observed = Observation(nothing, api.process.metrics, log_requests=False)
    for n in range(100_000):
        method, target, _ = hostile(n)
        state = {"request_id": str(n), "client": str(n)}
        await observed({"type": "http", "method": method, "path": target, "state": state}, received, sent)
    count = f"{REQUEST_DURATION.name}_count"
    found = {key[1]: value for key, value in samples(api.process.metrics.registry, count).items()}
    assert {dict(labels)["handler"] for labels in found} == {"unmatched"}
    assert {dict(labels)["method"] for labels in found} == {"GET", "POST", "OTHER"}
    assert sum(found.values()) == 100_000


async def test_retries_are_counted_by_what_became_of_them(api: Api) -> None:
    async with api.client() as client:
        for name in ("x", "x", "x", "y"):
            await client.post(ITEMS, json={"name": name}, headers={"Idempotency-Key": "k"})
    registry = api.process.metrics.registry
    found = {
        r: registry.get_sample_value("gantry_idempotency_total", {"result": r}) for r in ("first", "replayed", "reused")
    }
    assert found == {"first": 1, "replayed": 2, "reused": 1}


async def test_a_retry_that_waited_in_vain_is_counted(database_url: str) -> None:
    async with live(make_settings(database_url, retries={"wait_seconds": 0.1})) as api:
        headers = {"Idempotency-Key": "k"}
        async with api.client() as client, api.process.database.transaction() as session:
            await session.execute(
                text(
                    "INSERT INTO idempotency_records (caller_id, operation, key, fingerprint, expires_at) "
                    "VALUES (1, 'POST /api/v1/items', 'k', 'x', now() + interval '1 hour')"
                )
            )
            assert (await client.post(ITEMS, json={"name": "x"}, headers=headers)).status_code == 409
        assert api.process.metrics.registry.get_sample_value("gantry_idempotency_total", {"result": "in_progress"}) == 1


async def test_who_waits_for_the_database_is_not_in_flight(database_url: str) -> None:
    """Three requests for three rows, gathered, and a page: all wait for the one connection that somebody holds."""
    settings = make_settings(database_url, database={"url": database_url, "pool_size": 1, "pool_timeout": 5})
    async with live(settings) as api:
        registry = api.process.metrics.registry

        def gauges() -> tuple[Any, ...]:
            api.process.metrics.publish(api.process.database.pool_state, None)
            names = ("gantry_http_requests_in_flight", "gantry_http_requests_waiting_for_database")
            in_use = registry.get_sample_value("gantry_database_pool_connections", {"state": "in_use"})
            return (*(registry.get_sample_value(name) for name in names), in_use)

        async with api.client() as client:
            made = [(await client.post(ITEMS, json={"name": str(n)})).headers["location"] for n in range(3)]
            await asyncio.sleep(0.2)  # the schema has been looked at
            assert gauges() == (0, 0, 0)
            async with api.process.database.transaction() as session:
                await session.connection()
                waiting = [asyncio.create_task(client.get(path)) for path in [*made, ITEMS]]
                await eventually(lambda: gauges() == (0, 4, 1))
                await asyncio.sleep(0.3)
            answers = await asyncio.gather(*waiting)
        assert [answer.status_code for answer in answers] == [200] * 4
        assert gauges() == (0, 0, 0)
        waited = registry.get_sample_value("gantry_database_pool_wait_seconds_sum")
        assert waited is not None
        assert waited > 0.5, "two waited: the gathered read, and the page"


async def test_an_exhausted_pool_is_counted(database_url: str) -> None:
    settings = make_settings(database_url, database={"url": database_url, "pool_size": 1, "pool_timeout": 0.1})
    async with live(settings) as api:
        async with api.client() as client:
            await client.get(ITEMS)
            await asyncio.sleep(0.2)
            async with api.process.database.transaction() as session:
                await session.connection()
                answer = await client.get(ITEMS)
        assert (answer.status_code, answer.json()["detail"]) == (503, EXHAUSTED.detail)
        count = api.process.metrics.registry.get_sample_value("gantry_database_failures_total", {"cause": "exhausted"})
        assert count == 1


async def test_nothing_is_counted_when_metrics_are_off(database_url: str) -> None:
    async with live(make_settings(database_url, metrics={"enabled": False})) as api:
        async with api.client() as client:
            await client.post(ITEMS, json={"name": "x"}, headers={"Idempotency-Key": "k"})
            await client.get(f"{ITEMS}/999")
        api.process.metrics.publish((1, 1), None)
        assert samples(api.process.metrics.registry, "gantry_") == {}


async def test_a_client_that_left_is_counted_as_such(api: Api) -> None:
    headers = [HOST, ("X-API-Key", api.key), ("Content-Type", "application/json"), ("Content-Length", "99")]
    await send(api, "POST", ITEMS, headers, [b"{"], gone=True)
    labels = {"handler": ITEMS, "method": "POST", "status": "499"}
    assert api.process.metrics.registry.get_sample_value(f"{REQUEST_DURATION.name}_count", labels) == 1
