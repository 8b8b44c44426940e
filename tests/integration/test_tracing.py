"""One request, one trace: from the caller's ``traceparent`` to the spans, the log line, the answer and its problem."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.limits import Verdict
from app.core.telemetry.current import current_request
from app.core.telemetry.span_catalogue import EVENTS, RESOURCE, SPAN_SPECS
from app.dev.temporary import temporary_valkey
from app.main import create_app
from tests.conftest import Api, make_key, make_settings
from tests.integration.tools import HOST, send

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER_SPAN = "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER_SPAN}-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{CALLER_SPAN}-00"}
ITEMS = "/api/v1/items"


@dataclass
class Traced:
    """An application whose spans stay in memory."""

    api: Api
    exporter: InMemorySpanExporter

    def spans(self) -> Sequence[ReadableSpan]:
        """All that ended until now."""
        processor = self.tracing.processor
        assert processor is not None
        processor.force_flush()
        return self.exporter.get_finished_spans()

    def clear(self) -> None:
        self.spans()
        self.exporter.clear()

    @property
    def tracing(self) -> Any:
        return self.api.app.state.tracing

    def server(self) -> ReadableSpan:
        """The server span: there is one."""
        (span,) = (span for span in self.spans() if span.kind is SpanKind.SERVER)
        return span


@pytest_asyncio.fixture
async def store() -> AsyncIterator[str]:
    with temporary_valkey() as valkey:
        yield valkey.url()


@pytest_asyncio.fixture
async def traced(database_url: str, store: str, request: pytest.FixtureRequest) -> AsyncIterator[Traced]:
    """With the shared store, and by default no trace recorded that the caller does not record."""
    settings: Settings = make_settings(
        database_url,
        limits={"default": "1000000/minute", "url": store, "timeout": 5},
        tracing={"sample_ratio": 0.0} | getattr(request, "param", {}),
    )
    exporter = InMemorySpanExporter()
    app = create_app(settings, span_exporter=exporter)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        process = state["process"]
        yield Traced(Api(app, process, await make_key(process.database)), exporter)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """Trace, own and parent's."""
    assert span.context is not None
    parent = f"{span.parent.span_id:016x}" if span.parent else ""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", parent


# --- one request, followed --------------------------------------------------------------------------------------------


async def test_a_request_is_one_trace_from_end_to_end(traced: Traced) -> None:
    async with traced.api.client() as client:
        with capture_logs() as events:
            answer = await client.post(ITEMS, json={"name": "Engine"}, headers=SAMPLED | {"Idempotency-Key": "k"})
    assert answer.status_code == 201
    assert answer.headers["x-trace-id"] == TRACE

    server = traced.server()
    trace, span, parent = ids(server)
    assert (trace, parent, server.name) == (TRACE, CALLER_SPAN, f"POST {ITEMS}")
    others = [other for other in traced.spans() if other is not server]
    assert {ids(other)[0] for other in others} == {TRACE}
    assert all(ids(other)[2] == span for other in others)
    assert {other.kind for other in others} == {SpanKind.CLIENT}
    systems = [attributes(other).get("db.system.name") for other in others]
    assert "postgresql" in systems, "no span of SQLAlchemy: its instrumentation does nothing, in silence"
    assert systems.count("redis") == 1

    (line,) = (event for event in events if event["event"] == "request")
    assert line["request_id"] == answer.headers["x-request-id"] == attributes(server)["gantry.request_id"]
    assert "INSERT" in [attributes(other).get("db.operation.name") for other in others]


async def test_a_problem_says_its_trace_and_the_span_says_the_problem(traced: Traced) -> None:
    async with traced.api.client() as client:
        answer = await client.get(f"{ITEMS}/999", headers=SAMPLED)
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"] == TRACE
    server = traced.server()
    assert attributes(server)["gantry.problem"] == "not-found"
    assert attributes(server)["http.response.status_code"] == 404
    assert server.status.status_code is StatusCode.UNSET, "the client's mistake is no error of the server"


async def test_a_read_by_the_driver_is_a_span_too(traced: Traced) -> None:
    async with traced.api.client() as client:
        made = await client.post(ITEMS, json={"name": "Engine"})
        traced.clear()
        await client.get(made.headers["location"], headers=SAMPLED)
    (read,) = (span for span in traced.spans() if attributes(span).get("db.system.name") == "postgresql")
    assert read.name == "SELECT items"
    assert attributes(read)["db.collection.name"] == "items"
    assert "WHERE items.id" in attributes(read)["db.query.text"]


async def test_log_lines_of_others_know_the_request(traced: Traced) -> None:
    seen: list[tuple[str, str, str]] = []

    def look(_: Verdict) -> None:
        current = current_request.get()
        assert current is not None
        seen.append((current.request_id, current.trace_id, current.span_id))

    traced.api.process.limiter._on_verdict = look
    async with traced.api.client() as client:
        recorded = await client.get(ITEMS, headers=SAMPLED)
        other = await client.get(ITEMS)
    (first, second) = seen
    assert first == (recorded.headers["x-request-id"], TRACE, ids(traced.server())[1])
    assert second == (other.headers["x-request-id"], other.headers["x-trace-id"], "")
    assert current_request.get() is None, "it is over with the request"


# --- which requests are recorded --------------------------------------------------------------------------------------


async def test_what_the_caller_does_not_record_is_not_recorded_but_keeps_its_trace(traced: Traced) -> None:
    async with traced.api.client() as client:
        answer = await client.get(ITEMS, headers=UNSAMPLED)
    assert answer.headers["x-trace-id"] == TRACE
    assert list(traced.spans()) == []


async def test_a_trace_that_begins_here_has_one_id_for_both(traced: Traced) -> None:
    async with traced.api.client() as client:
        first, second = await client.get(ITEMS), await client.get(ITEMS)
    for answer in (first, second):
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-trace-id"])
        assert answer.headers["x-trace-id"] == answer.headers["x-request-id"]
    assert first.headers["x-trace-id"] != second.headers["x-trace-id"]
    assert list(traced.spans()) == []


async def test_requests_of_one_trace_have_ids_of_their_own(traced: Traced) -> None:
    async with traced.api.client() as client:
        answers = [await client.get(ITEMS, headers=UNSAMPLED) for _ in range(3)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    assert {answer.headers["x-trace-id"] for answer in answers} == {TRACE}


@pytest.mark.parametrize("traced", [{"sample_ratio": 1.0}], indirect=True)
async def test_a_ratio_of_one_records_all_that_begin_here(traced: Traced) -> None:
    async with traced.api.client() as client:
        answer = await client.get(ITEMS)
        await client.get(ITEMS, headers=UNSAMPLED)
    assert ids(traced.server())[0::2] == (answer.headers["x-trace-id"], "")


@pytest.mark.parametrize("traced", [{"sample_ratio": 0.25}], indirect=True)
async def test_the_ratio_is_that_of_the_requests(traced: Traced) -> None:
    async with traced.api.client() as client:
        answers = [await client.get("/", headers={"X-API-Key": ""}) for _ in range(800)]
    recorded = {ids(span)[0] for span in traced.spans() if span.kind is SpanKind.SERVER}
    assert recorded <= {answer.headers["x-trace-id"] for answer in answers}
    assert 140 <= len(recorded) <= 260, "200 of 800, within five standard deviations"


@pytest.mark.parametrize("traced", [{"honour_parent": False, "sample_ratio": 0.0}], indirect=True)
async def test_a_caller_that_is_not_honoured_can_not_raise_the_cost(traced: Traced) -> None:
    async with traced.api.client() as client:
        answer = await client.get(ITEMS, headers=SAMPLED)
    assert answer.headers["x-trace-id"] == TRACE
    assert list(traced.spans()) == []


@pytest.mark.parametrize("traced", [{"honour_parent": False, "sample_ratio": 1.0}], indirect=True)
async def test_the_ratio_alone_decides_then(traced: Traced) -> None:
    async with traced.api.client() as client:
        await client.get(ITEMS, headers=UNSAMPLED)
    assert ids(traced.server())[0::2] == (TRACE, CALLER_SPAN)


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", f"00-{'0' * 32}-{CALLER_SPAN}-01", f"ff-{TRACE}-{CALLER_SPAN}-01", f"00-{TRACE}-{CALLER_SPAN}"],
)
async def test_a_malformed_traceparent_begins_a_new_trace(traced: Traced, header: str) -> None:
    async with traced.api.client() as client:
        answer = await client.get(ITEMS, headers={"traceparent": header})
    assert answer.status_code == 200
    assert answer.headers["x-trace-id"] != TRACE
    assert list(traced.spans()) == []


@pytest.mark.parametrize("traced", [{"enabled": False}], indirect=True)
async def test_without_tracing_there_are_no_traces_but_requests_have_ids(traced: Traced) -> None:
    async with traced.api.client() as client:
        answer = await client.get(f"{ITEMS}/999", headers=SAMPLED)
    assert "x-trace-id" not in answer.headers
    assert "trace_id" not in answer.json()
    assert answer.json()["instance"] == answer.headers["x-request-id"]
    assert list(traced.spans()) == []


async def test_periodic_work_is_not_recorded(traced: Traced) -> None:
    async with traced.api.client() as client:
        await client.get(ITEMS)
    await traced.api.process.callers.write_last_used()
    assert list(traced.spans()) == []


# --- what a span says, and what not -----------------------------------------------------------------------------------


async def test_a_server_span_has_what_the_conventions_ask_for(traced: Traced) -> None:
    async with traced.api.client() as client:
        await client.get(f"{ITEMS}?limit=3", headers=SAMPLED | {"User-Agent": "curl (ada@example.com)"})
    said = attributes(traced.server())
    assert said["http.request.method"] == "GET"
    assert said["http.route"] == ITEMS
    assert said["url.path"] == ITEMS
    assert said["url.query"] == "limit=REDACTED"
    assert said["url.scheme"] == "http"
    assert said["http.response.status_code"] == 200
    assert said["network.protocol.version"] == "1.1"
    assert said["client.address"] == "192.0.2.1"
    assert said["gantry.key_id"] == 1
    assert not [name for name in said if name.startswith(("http.method", "http.url", "http.target", "net."))], (
        "old names"
    )


async def test_spans_hold_nothing_that_a_client_sent(traced: Traced) -> None:
    secret = "do-not-record"
    person = f"{secret}@example.com"
    headers = SAMPLED | {"User-Agent": secret, "Cookie": secret, "Referer": f"https://x/{secret}", "X-Custom": secret}
    async with traced.api.client(headers=headers) as client:
        user = await client.post("/api/v1/users", json={"name": secret, "email": person, "age": 36})
        assert user.status_code == 201
        await client.patch(user.headers["location"], json={"name": f"{secret} again"})
        await client.get(f"/api/v1/users?email={person}")
        await client.get(f"/api/v1/users?{person}=1")
        await client.get(f"/unheard-of/{person}")
        await client.get(f"{ITEMS}/{person}")
        await client.post(ITEMS, content=secret, headers={"Content-Type": "text/plain"})
        await client.post("/api/v1/users", json={"name": "x", "email": person, "age": 36})  # 409, by a constraint
        await client.post(ITEMS, json={"name": "x"}, headers={"Idempotency-Key": secret})
    spans = traced.spans()
    assert len([span for span in spans if span.kind is SpanKind.SERVER]) == 9
    everything = "".join(span.to_json() for span in spans)
    assert secret not in everything
    assert traced.api.key not in everything
    assert traced.api.key[10:40] not in everything


async def test_a_path_without_a_route_is_not_repeated(traced: Traced) -> None:
    async with traced.api.client() as client:
        await client.get("/unheard-of", headers=SAMPLED)
    server = traced.server()
    assert (server.name, attributes(server)["url.path"]) == ("GET", "[unmatched]")


async def test_a_method_that_a_client_invents_is_not_repeated(traced: Traced) -> None:
    await send(traced.api, "BREW", ITEMS, [HOST, ("traceparent", SAMPLED["traceparent"])])
    server = traced.server()
    assert "BREW" not in server.name
    assert attributes(server)["http.request.method"] == "_OTHER"


async def test_a_defect_is_an_error_known_by_its_type(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("do-not-record")

    monkeypatch.setattr("app.services.items.list_items", fail)
    async with traced.api.client() as client:
        answer = await client.get(ITEMS, headers=SAMPLED)
    assert answer.status_code == 500
    server = traced.server()
    assert server.status.status_code is StatusCode.ERROR
    assert attributes(server)["gantry.problem"] == "internal-error"
    (event,) = server.events
    assert dict(event.attributes or {}) == {"exception.type": "RuntimeError"}
    assert "do-not-record" not in server.to_json()


async def test_a_lost_store_is_an_error_of_its_span(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: Any) -> None:
        return None

    monkeypatch.setattr(traced.api.process.limiter._shared, "hit", lost)
    async with traced.api.client() as client:
        assert (await client.get(ITEMS, headers=SAMPLED)).status_code == 200
    (asked,) = (span for span in traced.spans() if attributes(span).get("db.system.name") == "redis")
    assert asked.status.status_code is StatusCode.ERROR


async def test_a_head_request_is_one_span(traced: Traced) -> None:
    async with traced.api.client() as client:
        await client.head(ITEMS, headers=SAMPLED)
    assert traced.server().name == f"HEAD {ITEMS}"


async def test_a_request_without_an_answer_ends_its_span(traced: Traced) -> None:
    headers = [HOST, ("X-API-Key", traced.api.key), ("Content-Type", "application/json"), ("Content-Length", "99")]
    await send(traced.api, "POST", ITEMS, [*headers, ("traceparent", SAMPLED["traceparent"])], [b"{"], gone=True)
    assert "http.response.status_code" not in attributes(traced.server())


async def test_two_at_once_keep_to_their_traces(traced: Traced) -> None:
    others = [f"{n:032x}" for n in range(1, 21)]

    async def one(client: httpx2.AsyncClient, trace: str) -> None:
        answer = await client.get(f"{ITEMS}/1", headers={"traceparent": f"00-{trace}-{CALLER_SPAN}-01"})
        assert answer.headers["x-trace-id"] == trace

    async with traced.api.client() as client:
        await client.post(ITEMS, json={"name": "Engine"})
        traced.clear()
        await asyncio.gather(*(one(client, trace) for trace in others))
    servers = {ids(span)[0]: ids(span)[1] for span in traced.spans() if span.kind is SpanKind.SERVER}
    assert sorted(servers) == others
    reads = [span for span in traced.spans() if span.name == "SELECT items"]
    assert {ids(span)[0]: ids(span)[2] for span in reads} == servers, (
        "a gathered read is a span of each that waited for it"
    )


async def test_all_that_spans_say_is_documented(traced: Traced) -> None:
    async with traced.api.client(headers=SAMPLED) as client:
        made = await client.post(ITEMS, json={"name": "Engine"}, headers={"Idempotency-Key": "k"})
        await client.get(made.headers["location"])
        await client.patch(made.headers["location"], json={"name": "Loom"})
        await client.get(f"{ITEMS}?limit=1&name=x&sort=name")
        await client.delete(made.headers["location"])
        await client.get("/unheard-of")
        await client.post("/api/v1/users", json={"name": "Ada", "email": "ada@example.com", "age": 36})
        await client.post("/api/v1/users", json={"name": "Ada", "email": "ada@example.com", "age": 36})
        await client.post("/api/v1/users", json={"name": "Ada"})
        await client.request("BREW", ITEMS)
    spans = traced.spans()
    met = set()
    for span in spans:
        (spec, *_) = (s for s in SPAN_SPECS if s.pattern.fullmatch(span.name) and s.kind == span.kind.name.lower())
        met.add(spec.name)
        assert set(attributes(span)) <= set(spec.attributes), span.name
        for event in span.events:
            assert set(event.attributes or {}) <= set(EVENTS[event.name])
    assert met == {spec.name for spec in SPAN_SPECS}, "each kind was made"
    assert set(RESOURCE) - {"k8s.pod.name", "k8s.namespace.name", "k8s.node.name"} <= set(spans[0].resource.attributes)


@pytest.mark.parametrize("traced", [{"honour_parent": False, "sample_ratio": 0.1}], indirect=True)
async def test_an_id_that_the_caller_chose_does_not_decide_either(traced: Traced) -> None:
    """By the trace id alone, one whose low half is small is always recorded."""
    chosen = {"traceparent": f"00-4bf92f3577b34da60000000000000001-{CALLER_SPAN}-00"}
    async with traced.api.client() as client:
        for _ in range(60):
            await client.get("/", headers=chosen | {"X-API-Key": ""})
    recorded = [span for span in traced.spans() if span.kind is SpanKind.SERVER]
    assert len(recorded) < 30, "6 of 60"


@pytest.mark.parametrize("flags", [("01", "01"), ("00", "01"), ("01", "00")])
async def test_a_request_that_another_starts_is_a_trace_of_its_own(traced: Traced, flags: tuple[str, str]) -> None:
    """As a server does with pipelined requests, whose contexts would be inherited."""
    others = ["a" * 32, "b" * 32]
    later: list[asyncio.Task[httpx2.Response]] = []

    async with traced.api.client() as client:

        def ask(number: int) -> Any:
            header = f"00-{others[number]}-{CALLER_SPAN}-{flags[number]}"
            return client.get(ITEMS, headers={"traceparent": header})

        def start(_: Verdict) -> None:
            if not later:
                later.append(asyncio.create_task(ask(1)))

        traced.api.process.limiter._on_verdict = start
        first = await ask(0)
        second = await later[0]
    assert [answer.headers["x-trace-id"] for answer in (first, second)] == others
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    servers = [ids(span) for span in traced.spans() if span.kind is SpanKind.SERVER]
    assert sorted((trace, parent) for trace, _, parent in servers) == [
        (trace, CALLER_SPAN) for trace, flag in zip(others, flags, strict=True) if flag == "01"
    ]


async def test_without_tracing_a_request_that_another_starts_has_an_id_of_its_own(database_url: str) -> None:
    app = create_app(make_settings(database_url, tracing={"enabled": False}))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        api = Api(app, state["process"], "")
        async with api.client() as client:
            answers = [await client.get("/") for _ in range(3)]  # in one task
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


async def test_spans_that_a_stop_loses_are_counted(database_url: str) -> None:
    class Hangs(InMemorySpanExporter):
        def export(self, spans: Any) -> Any:
            time.sleep(5)
            return super().export(spans)

    settings = make_settings(database_url, tracing={"sample_ratio": 1.0, "timeout": 0.3})
    app = create_app(settings, span_exporter=Hangs())
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        api = Api(app, state["process"], "")
        async with api.client() as client:
            for _ in range(7):
                await client.get("/")
        began = time.monotonic()
    assert time.monotonic() - began < 2.5
    count = api.process.metrics.registry.get_sample_value("gantry_spans_total", {"result": "dropped"})
    assert count == 7
