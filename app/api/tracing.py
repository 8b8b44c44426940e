"""Where a request meets OpenTelemetry: the layer that decides whether it is recorded, around the instrumentation of FastAPI.

``opentelemetry-instrumentation-fastapi`` makes the server span of each request that is recorded: one, since spans for each message
are left out. The others pass it by. And it sees of a request only what may leave the process: see ``_shown``.
"""

import re
from typing import Final

from fastapi import FastAPI
from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import Span
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.telemetry.current import REQUEST, CurrentRequest, current_request
from app.core.telemetry.trace_context import Parent, new_trace_id, read_traceparent
from app.core.telemetry.tracing import Tracing, recorded_trace

BLANK: Final = otel_context.Context()
UNRECORDED: Final = otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True, BLANK)
"""Where instrumentations do nothing. Made once: all requests that are not recorded share it."""

SHOWN_HEADERS: Final = frozenset({b"host", b"traceparent", b"tracestate"})
"""Others hold keys, and addresses of people."""

_ORIGINAL: Final = "gantry.original"
_PARAMETER: Final = re.compile(rb"(?:^|&)([a-z_]{1,40})=")


def install_tracing(app: FastAPI, tracing: Tracing) -> None:
    """Put the layer around all middleware. The last call of making the application."""
    if not tracing.enabled:
        return
    build_plain = app.build_middleware_stack

    def build_restored() -> ASGIApp:
        stack = build_plain()
        stack.app = _Restore(stack.app)  # type: ignore[attr-defined]  # Starlette's outermost layer has one
        return stack

    app.build_middleware_stack = build_restored  # type: ignore[method-assign]  # as the instrumentation itself does
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=tracing.provider,
        meter_provider=NoOpMeterProvider(),  # Prometheus counts
        server_request_hook=_started,
        excluded_urls="",
        exclude_spans=["receive", "send"],
    )
    build_recorded = app.build_middleware_stack
    app.build_middleware_stack = lambda: TraceGate(build_recorded(), build_plain(), tracing)  # type: ignore[method-assign]


class TraceGate:
    """Gives each request its trace, and sends it past the instrumentation or through it."""

    def __init__(self, recorded: ASGIApp, plain: ASGIApp, tracing: Tracing) -> None:
        self.app = recorded
        self._plain = plain
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._plain(scope, receive, send)
            return
        parent = _parent(scope)
        trace_id = new_trace_id() if parent is None else parent.trace_id
        # A trace that begins here has one request: its id serves for both.
        request = scope[REQUEST] = CurrentRequest(trace_id if parent is None else "", trace_id)
        current = current_request.set(request)
        # Nothing of another request: a pipelined one may be started by the one before it.
        recorded = self._tracing.records(parent, trace_id)
        context = otel_context.attach(BLANK if recorded else UNRECORDED)
        try:
            if recorded:
                chosen = recorded_trace.set(trace_id)
                try:
                    await self.app(_shown(scope), receive, send)
                finally:
                    recorded_trace.reset(chosen)
            else:
                await self._plain(scope, receive, send)
        finally:
            otel_context.detach(context)
            current_request.reset(current)


class _Routeless:
    """Stands in for the application."""

    routes: tuple[BaseRoute, ...] = ()


_ROUTELESS: Final = _Routeless()


class _Restore:
    """Inside the instrumentation: the request as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope[_ORIGINAL], receive, send)


def _parent(scope: Scope) -> Parent | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return read_traceparent(value)
    return None


def _shown(scope: Scope) -> Scope:
    """The request as the instrumentation sees it: without values of the query, and of the headers only those it needs.

    And without routes: to name the span it would try each of them, at several times the cost of all else. The span gets its name when
    the router has found the route (``app.api.middleware.observation``).
    """
    names = _PARAMETER.findall(scope["query_string"])
    return {
        **scope,
        "app": _ROUTELESS,
        "headers": [header for header in scope["headers"] if header[0] in SHOWN_HEADERS],
        "query_string": b"&".join(name + b"=REDACTED" for name in names),
        _ORIGINAL: scope,
    }


def _started(span: Span, scope: Scope) -> None:  # noqa: ARG001 - the hook's signature
    """The instrumentation's hook: from now on the request's log lines carry the span's id."""
    request = current_request.get()
    if request is not None:
        request.span_id = f"{span.get_span_context().span_id:016x}"
    # Paths that no route has are whatever somebody sent, people's addresses included; one that a route has is said with the route.
    span.set_attribute("url.path", "[unmatched]")
