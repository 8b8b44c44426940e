"""Spans around what we ask of others by ways that no instrumentation sees: a row by the driver, the limiter's script."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer

from app.core.telemetry.current import current_request

UNTRACED: Final[Tracer] = NoOpTracer()
"""For what runs outside of a server."""


@contextmanager
def client_span(tracer: Tracer, name: str, attributes: Mapping[str, str | int]) -> Iterator[Span | None]:
    """A span around the block, where the current request is recorded; nothing where it is not.

    Names and attributes are those of OpenTelemetry's semantic conventions. What the block raises is recorded by its type alone.
    """
    request = current_request.get()
    if request is None or not request.span_id:
        yield None
        return
    with tracer.start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise
