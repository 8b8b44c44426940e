"""One request and its response: uvicorn's, but what the server itself has to say is a problem document."""

import asyncio
import sys
from collections.abc import Callable
from typing import cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.core.server.problems import ProblemBody, new_request_id, problem_headers
from app.core.telemetry.current import REQUEST, CurrentRequest


class Cycle(RequestResponseCycle):
    """Used when the app raises before it answered, or is cancelled because the server's graceful time is over."""

    problem_body: ProblemBody
    """Set by the protocol."""

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Run the app. A connection whose answer it did not complete is gone at once.

        uvicorn closes it when the client has read what was sent so far, which one that has stopped reading never does.
        """
        await super().run_asgi(app)
        if self.response_started and not self.response_complete:
            self.transport.abort()

    async def send_500_response(self) -> None:
        """Called by uvicorn while it handles what the app raised."""
        # The app may have named the request already: its log line and its span have these ids.
        request = cast(CurrentRequest | None, self.scope.get(REQUEST))
        request_id = (request.request_id if request else "") or new_request_id()
        trace_id = (request.trace_id if request else "") or request_id
        if isinstance(sys.exception(), asyncio.CancelledError):
            slug, detail, more = (
                "service-unavailable",
                "The server stopped before the answer was ready.",
                [(b"retry-after", b"1")],
            )
        else:
            slug, detail, more = "internal-error", "The request met a defect of this service.", []
        status, body = self.problem_body(slug, detail, request_id, trace_id=trace_id)
        self.logger.error("answered %d in the app's place, request id %s", status, request_id)
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": problem_headers(body, request_id, trace_id) + more,
            }
        )
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


class PoliteTransport(asyncio.Transport):
    """A connection as a cycle sees it whose request has a body: how it is closed is up to the protocol.

    A cycle closes right after the last byte of the answer. While a body is still arriving that makes the kernel send a reset, which can
    destroy the answer before the client has read it.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._close = close

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """To the client."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Let the protocol close."""
        self._close()

    def abort(self) -> None:
        """At once."""
        self._transport.abort()
