"""Where ended spans go: in front of OpenTelemetry's batch processor, a bound that counts, and behind it an exporter that counts.

The SDK's queue drops its oldest span when it is full, and says so in its log alone; its exporters may hang for as long as the receiver
does. Here every span that is lost has a number, and closing takes a bounded time.
"""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from app.core.config import TracingSettings

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.span")

BATCH: Final = 64
"""Spans sent at a time. Encoding them holds Python's lock for about a millisecond, which is what a request could notice."""

TEXTS: Final = frozenset({"exception.message", "exception.stacktrace"})
"""Attributes of an event that are never sent."""

DELAY_SECONDS: Final = 1.0
"""Longest that a span waits to be sent."""


class CountingExporter(SpanExporter):
    """Hands spans on to another exporter, in the batch processor's thread, and counts what became of them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0
        """Spans that left the queue."""
        self.sent = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the batch processor; never raises."""
        self.taken += len(spans)
        try:
            result = self._exporter.export([_without_texts(span) for span in spans])
        except Exception as error:  # noqa: BLE001 - whatever the exporter does, the thread goes on
            log.warning("spans_not_sent", error=type(error).__name__, spans=len(spans))
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        else:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """Give up an attempt that is under way."""
        self._exporter.shutdown()


def _without_texts(span: ReadableSpan) -> ReadableSpan:
    """The span without the words of an error: a database's repeat the values that it refused. Its type stays."""
    if span.status.description is None and not span.events:
        return span
    events = [
        Event(event.name, {k: v for k, v in (event.attributes or {}).items() if k not in TEXTS}, event.timestamp)
        for event in span.events
    ]
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=events,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class BoundedProcessor(SpanProcessor):
    """The SDK's batch processor behind a bound: a span more than ``queue_size`` is dropped, and counted."""

    def __init__(self, exporter: SpanExporter, settings: TracingSettings) -> None:
        self._exporter = CountingExporter(exporter)
        self._timeout = settings.timeout
        self._queue_size = settings.queue_size
        self._submitted = 0
        self.dropped = 0
        """Spans for which there was no room."""
        self._batches = BatchSpanProcessor(
            self._exporter,
            # Never full before ours is: the SDK would drop in silence.
            max_queue_size=settings.queue_size + BATCH,
            max_export_batch_size=BATCH,
            schedule_delay_millis=DELAY_SECONDS * 1000,
        )

    @property
    def sent(self) -> int:
        """Spans that the receiver took."""
        return self._exporter.sent

    @property
    def failed(self) -> int:
        """Spans that it did not take."""
        return self._exporter.failed

    def on_end(self, span: ReadableSpan) -> None:
        """Called when a span ends, on the event loop: it takes microseconds whatever the receiver does."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._submitted - self._exporter.taken >= self._queue_size:
            self.dropped += 1
            return
        self._submitted += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what is left, for at most ``timeout`` seconds; what is not sent by then is lost and counted as dropped.

        The SDK would wait for a receiver that hangs, half a minute and more. The thread that does is a daemon: it ends with the process.
        """
        sending = threading.Thread(target=self._batches.shutdown, name="gantry-last-spans", daemon=True)
        sending.start()
        sending.join(self._timeout)
        if sending.is_alive():
            self._exporter.shutdown()
        self.dropped += max(0, self._submitted - self.sent - self.failed)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what there is now. For tests: it waits for the receiver."""
        return self._batches.force_flush(timeout_millis)


class LogExporter(SpanExporter):
    """Writes each span as an event of the log, for development: ``make run TRACE_CONSOLE=1``."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the batch processor."""
        for span in spans:
            started, ended = span.start_time or 0, span.end_time or 0
            log.info(
                "span",
                name=span.name,
                kind=span.kind.name.lower(),
                trace_id=f"{span.context.trace_id:032x}" if span.context else "",
                span_id=f"{span.context.span_id:016x}" if span.context else "",
                parent_id=f"{span.parent.span_id:016x}" if span.parent else "",
                started=datetime.fromtimestamp(started / 1e9, UTC).isoformat(),
                duration_ms=round((ended - started) / 1e6, 2),
                status=span.status.status_code.name.lower(),
                attributes=dict(span.attributes or {}),
            )
        return SpanExportResult.SUCCESS
