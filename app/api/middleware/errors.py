"""Whatever is raised further in becomes a problem document: nothing but this is ever sent for an error."""

import structlog
from opentelemetry import trace
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import ProblemException, problem_response

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.error")


class ErrorBoundary:
    """Answers a ``ProblemException`` of a middleware with its problem, and any defect with a 500 that says nothing of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope["state"]
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is left to be answered; the log line says 499
        except ProblemException as problem:
            await problem_response(scope, problem)(scope, receive, send)
        except Exception as defect:
            log.exception("defect", request_id=state["request_id"])
            # By its type alone: its text may hold what the client sent.
            trace.get_current_span().add_event("exception", {"exception.type": type(defect).__qualname__})
            if state.get("response_started"):
                raise  # the server cuts the connection: the client must not take half an answer for a whole one
            answer = ProblemException("internal-error", "The defect was logged under the id in instance.")
            await problem_response(scope, answer)(scope, receive, send)
