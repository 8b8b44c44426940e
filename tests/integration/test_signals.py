"""The signals of a real server: what it sends, logs and counts, and that nothing of it can hold up a request or a stop."""

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.dev.postgres import free_port
from tests.collector import Collector, collecting
from tests.conftest import make_database
from tests.gunicorn import LiveApi, running_api

ITEMS = "/api/v1/items"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
STOP_SECONDS = 5.0
QUICK_SECONDS = 2.0
"""Far more than a request takes, far less than a collector that hangs."""


@pytest.fixture(scope="module")
def database(worker_id: str) -> str:
    return make_database(f"signals_{worker_id}")


def metric(api: LiveApi, name: str) -> float:
    """The sum of a metric's samples; ``name`` may go on into the labels."""
    page = httpx2.get(f"{api.admin_url}/metrics").text
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


def eventually(look: object, seconds: float = 15.0) -> None:
    assert callable(look)
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until, "this did not happen in time"
        time.sleep(0.1)


def test_a_default_start_traces_and_measures(live_api: LiveApi) -> None:
    """Nothing is set: the instrumentation of FastAPI makes the span, the instrumentator's functions measure."""
    with live_api.client() as client:
        answer = client.get(ITEMS, headers=SAMPLED)
    assert answer.headers["x-trace-id"] == TRACE
    line = live_api.line(answer.headers["x-request-id"])
    assert (line["trace_id"], len(line["span_id"])) == (TRACE, 16), (
        "a span was made: only OpenTelemetry's part makes them"
    )
    page = httpx2.get(f"{live_api.admin_url}/metrics").text
    documented = "# HELP gantry_http_response_size_bytes Bytes of response bodies as they were sent."
    assert documented in page
    assert re.search(rf'gantry_http_response_size_bytes_sum{{handler="{ITEMS}",method="GET"}} [1-9]', page)


def test_one_trace_reaches_the_collector(database: str, tmp_path: Path) -> None:
    with (
        collecting() as collector,
        running_api(
            database, tmp_path, TRACING__ENDPOINT=collector.url, TRACING__HEADERS='{"authorization": "Bearer s3cret"}'
        ) as api,
    ):
        with api.client() as client:
            answer = client.post(ITEMS, json={"name": "Engine"}, headers=SAMPLED)
        spans = [span for span in collector.wait_for(3) if span.trace_id.hex() == TRACE]
        (server,) = (span for span in spans if span.kind == span.SPAN_KIND_SERVER)
        assert (server.name, server.parent_span_id.hex()) == (f"POST {ITEMS}", "00f067aa0ba902b7")
        assert api.line(answer.headers["x-request-id"])["span_id"] == server.span_id.hex()
        asked = [pair.value.string_value for span in spans for pair in span.attributes if pair.key == "db.system.name"]
        assert "postgresql" in asked
        assert {span.trace_id.hex() for span in spans} == {TRACE}
        (resource, *_) = collector.resources()
        assert resource["service.name"] == "gantry"
        assert b"Bearer s3cret" in collector.bodies[0]
        eventually(lambda: metric(api, 'gantry_spans_total{result="sent"}') >= 3)
        assert metric(api, 'gantry_spans_total{result="failed"}') == 0
    assert "s3cret" not in api.log.read_text()


@contextmanager
def kind_of_collector(kind: str) -> Iterator[tuple[str, Collector | None]]:
    if kind == "refuses":
        yield f"http://127.0.0.1:{free_port()}", None
        return
    with collecting({"hangs": 3600.0, "is slow": 1.0}[kind]) as collector:
        yield collector.url, collector


@pytest.mark.parametrize("kind", ["refuses", "hangs", "is slow"])
def test_a_collector_that_is_no_good_holds_up_neither_requests_nor_the_stop(
    database: str, tmp_path: Path, kind: str
) -> None:
    settings: dict[str, Any] = {
        "TRACING__SAMPLE_RATIO": "1",
        "TRACING__QUEUE_SIZE": "512",
        "TRACING__TIMEOUT": "1",
        "SERVER__WORKERS": "1",
    }
    with kind_of_collector(kind) as (url, _), running_api(database, tmp_path, TRACING__ENDPOINT=url, **settings) as api:
        with api.client() as client, ThreadPoolExecutor(4) as pool:

            def one(_: int) -> float:
                began = time.perf_counter()
                assert client.get(ITEMS).status_code == 200
                return time.perf_counter() - began

            times = sorted(pool.map(one, range(400)))
        assert times[-1] < QUICK_SECONDS
        eventually(
            lambda: (
                metric(api, 'gantry_spans_total{result="dropped"}') + metric(api, 'gantry_spans_total{result="failed"}')
                > 0
            )
        )
        began = time.monotonic()
        api.process.send_signal(signal.SIGTERM)
        assert api.process.wait(20) == 0
        assert time.monotonic() - began <= STOP_SECONDS


def test_nothing_that_leaves_the_process_holds_a_secret_a_person_or_a_body(database: str, tmp_path: Path) -> None:
    """Logs, spans and metrics of a run with people in it, whole, and everything a client can say."""
    secret = "do-not-tell"
    person = f"{secret}@example.com"
    with (
        collecting() as collector,
        running_api(
            database,
            tmp_path,
            TRACING__ENDPOINT=collector.url,
            TRACING__SAMPLE_RATIO="1",
            LOG__LEVEL="debug",
            SERVER__WORKERS="1",
        ) as api,
    ):
        headers = {"User-Agent": secret, "Cookie": secret, "Referer": f"https://x/{secret}", "X-Request-ID": secret}
        with api.client() as client:
            client.headers.update(headers)
            for number in range(20):
                user = client.post(
                    "/api/v1/users", json={"name": f"{secret} {number}", "email": f"{number}-{person}", "age": 36}
                )
                assert user.status_code == 201
                assert client.get("/api/v1/users", params={"email": f"{number}-{person}"}).status_code == 200
                assert client.post(ITEMS, json={"name": secret, "description": secret}).status_code == 201
                client.post(ITEMS, json={"name": "x"}, headers={"Idempotency-Key": secret})
            client.post("/api/v1/users", json={"name": "x", "email": f"1-{person}", "age": 36})
            client.post("/api/v1/users", json={"name": secret, "email": secret, "age": -1})
            client.post(ITEMS, content=secret.encode(), headers={"Content-Type": "application/json"})
            client.get(f"/unheard-of/{person}?{person}={secret}")
            client.get(ITEMS, params={"cursor": secret})
            client.request(secret.upper(), f"/{secret}")
            client.get(
                ITEMS, headers={"X-API-Key": api.key[:-1] + "x", "traceparent": secret, "tracestate": f"x={secret}"}
            )
            made = client.post("/api/v1/api-keys", json={"name": secret, "scopes": ["items:read"]}).json()["key"]
            client.get(ITEMS, headers={"X-API-Key": made})
        collector.wait_for(100)
        metrics = httpx2.get(f"{api.admin_url}/metrics").text
    said = {"logs": api.log.read_text(), "metrics": metrics, "spans": b"".join(collector.bodies).decode("latin-1")}
    assert said["logs"].count('"event":"request"') + said["logs"].count('"event": "request"') > 80
    for signal_name, text in said.items():
        assert len(text) > 5_000, signal_name
        for private in (secret, api.key, api.key[12:40], made, made[12:40], "BRONZE"):
            assert private.lower() not in text.lower(), f"{private} is in the {signal_name}"
