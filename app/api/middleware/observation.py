"""One log line and one measurement a request, with the route's template: the outermost layer, so that nothing is missed."""

import time
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.telemetry.metrics import Metrics

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.request")

UNMATCHED = "unmatched"
"""The route label of everything that no route matched: paths are the client's to invent, labels are not."""

CLIENT_GONE = 499
"""nginx's status for a client that closed the connection before it got an answer; it is logged and never sent."""


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
        started = time.perf_counter()

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                state["response_started"] = True
            await send(message)

        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, observe)
        finally:
            self.metrics.in_flight.dec()
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        state = scope["state"]
        route = state.get("route", UNMATCHED)
        self.metrics.observe_request(scope["method"], route, status, seconds)
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
