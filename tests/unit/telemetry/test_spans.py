"""Spans on their way out: bounded, counted, and never waited for longer than was said."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs

from app.core.config import TracingSettings
from app.core.telemetry.spans import BATCH, BoundedProcessor, LogExporter

QUEUE = 512


class Collector(SpanExporter):
    """One that can be told how to behave."""

    def __init__(self) -> None:
        self.taken: list[ReadableSpan] = []
        self.answers = threading.Event()
        self.answers.set()
        self.result: SpanExportResult | Exception = SpanExportResult.SUCCESS
        self.given_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.answers.wait(30)
        if isinstance(self.result, Exception):
            raise self.result
        self.taken += spans
        return self.result

    def shutdown(self) -> None:
        self.given_up = True
        self.answers.set()


class Spans:
    """A provider that records everything, with our processor behind it."""

    def __init__(self, timeout: float = 1.0) -> None:
        self.collector = Collector()
        self.processor = BoundedProcessor(self.collector, TracingSettings(queue_size=QUEUE, timeout=timeout))
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)
        self.tracer = self.provider.get_tracer("test")

    def make(self, count: int) -> None:
        for number in range(count):
            self.tracer.start_span(f"span {number}").end()

    def totals(self) -> tuple[int, int, int]:
        return self.processor.sent, self.processor.failed, self.processor.dropped


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.collector.answers.set()
    made.provider.shutdown()


def test_all_are_sent_and_counted(spans: Spans) -> None:
    spans.make(200)
    spans.processor.force_flush()
    assert spans.totals() == (200, 0, 0)
    assert len(spans.collector.taken) == 200


def test_a_collector_that_hangs_costs_no_time_and_what_has_no_room_is_counted(spans: Spans) -> None:
    spans.collector.answers.clear()
    spans.make(BATCH)
    time.sleep(0.2)  # a batch is on its way, and stays there
    began = time.perf_counter()
    spans.make(QUEUE * 2)
    assert time.perf_counter() - began < 1.0
    sent, failed, dropped = spans.totals()
    assert (sent, failed) == (0, 0)
    assert QUEUE <= dropped <= QUEUE + BATCH
    spans.collector.answers.set()
    spans.processor.force_flush()
    assert sum(spans.totals()) == BATCH + QUEUE * 2, "each span is in exactly one count"
    assert spans.processor.sent == len(spans.collector.taken)


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, ConnectionError("refused")])
def test_what_the_collector_does_not_take_is_counted(spans: Spans, result: SpanExportResult | Exception) -> None:
    spans.collector.result = result
    spans.make(10)
    spans.processor.force_flush()
    assert spans.totals() == (0, 10, 0)
    spans.collector.result = SpanExportResult.SUCCESS
    spans.make(5)
    spans.processor.force_flush()
    assert spans.totals() == (5, 10, 0), "it goes on when the collector is back"


def test_closing_sends_the_last_ones(spans: Spans) -> None:
    spans.make(10)
    spans.provider.shutdown()
    assert spans.totals() == (10, 0, 0)


def test_closing_does_not_wait_for_a_collector_that_hangs() -> None:
    spans = Spans(timeout=0.5)
    spans.collector.answers.clear()
    spans.make(QUEUE)
    began = time.perf_counter()
    spans.provider.shutdown()
    assert 0.4 < time.perf_counter() - began < 2.0
    assert spans.collector.given_up
    assert spans.processor.dropped > 0, "what was not sent is counted"


def test_an_error_leaves_without_its_words(spans: Spans) -> None:
    with pytest.raises(ValueError, match="Ada"), spans.tracer.start_as_current_span("fails"):
        raise ValueError("Key (email)=(Ada) exists")
    spans.processor.force_flush()
    (sent,) = spans.collector.taken
    assert "Ada" not in sent.to_json()
    assert sent.status.status_code.name == "ERROR"
    (event,) = sent.events
    assert (event.attributes or {})["exception.type"] == "ValueError"


def test_spans_can_be_log_lines() -> None:
    with capture_logs() as lines:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BoundedProcessor(LogExporter(), TracingSettings()))
        with provider.get_tracer("test").start_as_current_span("outer") as outer:
            provider.get_tracer("test").start_span("inner", attributes={"n": 1}).end()
        provider.shutdown()
    inner, last = (line for line in lines if line["event"] == "span")
    assert (inner["name"], last["name"]) == ("inner", "outer")
    assert inner["parent_id"] == last["span_id"] == f"{outer.get_span_context().span_id:016x}"
    assert inner["trace_id"] == last["trace_id"]
    assert (inner["kind"], inner["status"], inner["attributes"], last["parent_id"]) == (
        "internal",
        "unset",
        {"n": 1},
        "",
    )
    assert inner["duration_ms"] >= 0
