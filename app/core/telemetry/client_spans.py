"""Spans around what we ask of others by ways that no instrumentation sees: a row by the driver, the limiter's script."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer

from app.core.telemetry.current import current_request

UNTRACED: Final[Tracer] = NoOpTracer()
"""For what runs outside of a server."""


class ClientSpan:
    """``with ClientSpan(tracer, name, attributes) as span:`` a span around the block, where the current request is recorded; else ``None``.

    Names and attributes are those of OpenTelemetry's semantic conventions. What the block raises is recorded by its type alone.
    It is a class and no generator, since most requests are not recorded, and pay for this twice.
    """

    __slots__ = ("_attributes", "_manager", "_name", "_span", "_tracer")

    def __init__(self, tracer: Tracer, name: str, attributes: Mapping[str, str | int]) -> None:
        self._tracer = tracer
        self._name = name
        self._attributes = attributes
        self._manager: AbstractContextManager[Span] | None = None

    def __enter__(self) -> Span | None:
        request = current_request.get()
        if request is None or not request.span_id:
            return None
        self._manager = self._tracer.start_as_current_span(
            self._name,
            kind=SpanKind.CLIENT,
            attributes=self._attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        self._span = self._manager.__enter__()
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._manager is None:
            return
        if kind is not None:
            self._span.set_attribute("error.type", kind.__qualname__)
            self._span.set_status(StatusCode.ERROR)
        self._manager.__exit__(kind, error, traceback)
