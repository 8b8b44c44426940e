"""One log line and one measurement a request, with the route's template: the outermost layer, so that nothing is missed."""

import asyncio
import time
from typing import Any

import structlog
from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.telemetry.current import current_request
from app.core.telemetry.metrics import Metrics, bounded_method

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.request")

UNMATCHED = "unmatched"
"""The route label of everything that no route matched: paths are the client's to invent, labels are not."""

CLIENT_GONE = 499
"""nginx's status for a client that closed the connection before it got an answer; it is logged and never sent."""


STOPPED = 503
CUT = 500
"""What a request is counted as whose answer was cut off by a defect: the client can't take it for a whole one."""


class Observation:
    """Logs and measures each request when its last byte was handed to the server."""

    def __init__(self, app: ASGIApp, metrics: Metrics, log_requests: bool) -> None:
        self.app = app
        self.log_requests = log_requests
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope["state"]
        status = CLIENT_GONE
        sent = 0
        started = time.perf_counter()

        async def observe(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                state["response_started"] = True
                current = current_request.get()
                if current is not None and current.span_id:
                    _describe(scope)  # before the last message: the span ends with that
            else:
                sent += len(message.get("body", b""))
            await send(message)

        self.metrics.in_flight += 1
        try:
            await self.app(scope, receive, observe)
        except asyncio.CancelledError:
            # A client that leaves cancels nothing: the server stopped, and answers in our place.
            status = status if state.get("response_started") else STOPPED
            raise
        except Exception:
            status = CUT  # the answer had begun
            raise
        finally:
            self.metrics.in_flight -= 1
            self._record(scope, status, time.perf_counter() - started, sent)

    def _record(self, scope: Scope, status: int, seconds: float, sent: int) -> None:
        state = scope["state"]
        route = state.get("route", UNMATCHED)
        current = current_request.get()
        recorded = current.trace_id if current is not None and current.span_id else ""
        self.metrics.observe_request(scope["method"], route, status, seconds, state.get("received", 0), sent, recorded)
        fields: dict[str, Any] = {
            "request_id": state["request_id"],
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "client": state["client"],
        }
        if (caller := state.get("caller")) is not None:
            fields["key_id"] = caller.key_id
        if (problem := state.get("problem")) is not None:
            fields["problem"] = problem
        if status >= 500:
            log.error("request", **fields)
        elif self.log_requests:
            log.info("request", **fields)


def _describe(scope: Scope) -> None:
    """Add to the server span what only we know of the request."""
    state = scope["state"]
    span = trace.get_current_span()
    span.set_attribute("gantry.request_id", state["request_id"])
    span.set_attribute("client.address", state["client"])
    if (route := state.get("route")) is not None:
        span.set_attribute("http.route", route)
        span.set_attribute("url.path", scope["path"])
        span.update_name(f"{bounded_method(scope['method'])} {route}")
    if (caller := state.get("caller")) is not None:
        span.set_attribute("gantry.key_id", caller.key_id)
    if (problem := state.get("problem")) is not None:
        span.set_attribute("gantry.problem", problem)
