"""HTTP/1.1 on a connection: uvicorn's protocol with bounds on what a client may send, and how slowly, before the app sees anything.

uvicorn accepts headers of any size and number, any number of hosts, and waits for the rest of a request for ever. Here every
refusal is a problem document, and a connection is closed so that the client can read it (RFC 9112 §9.6).
The time a complete request costs stays what it was: timers run only while something is incomplete.
"""

import asyncio
import contextlib
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.core.config import HttpSettings
from app.core.server.cycle import Cycle, PoliteTransport
from app.core.server.framing import check_size, check_target, examine
from app.core.server.problems import ProblemBody, Refusal, new_request_id, problem_headers

LAST_REQUEST_SECONDS: Final = 1.0
"""When the server stops, how long an idle connection may still send the request that the client is perhaps writing at this moment."""

LINGER_SECONDS: Final = 2.0
"""How long what a refused client goes on sending is read and dropped, so that it gets to read the refusal."""

REQUEST_LINE_REST: Final = 64
"""Bytes of a request line besides the target (method, version, spaces, line ends), generously."""

NOT_HTTP: Final = "The bytes are not an HTTP/1.1 request."


@dataclass(frozen=True, slots=True)
class Edge:
    """What a protocol needs to know to refuse a request."""

    http: HttpSettings
    problem_body: ProblemBody


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Make a class with an ``edge`` by ``guarded_protocol``."""

    edge: ClassVar[Edge]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: asyncio.TimerHandle | None = None  # for the client to complete what it has begun
        self._in_head = False
        self._in_message = False
        self._overhead = 0  # bytes of the current message that are not its body: head, chunk framing, trailers
        self._unclaimed = 0  # bytes just received that belong to the message that begins in them
        self._raw_body = 0  # bytes of a body that the parser does not know of
        self._deaf = False  # an answer was given: what still arrives is dropped
        self._last_request = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client connected; one that says nothing at all is not waited for longer than one that stops halfway."""
        super().connection_made(transport)
        self._arm_keep_alive(self.edge.http.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; the parser calls the ``on_`` methods."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._unclaimed = 0 if self._in_message else len(data)
        if self._in_message:
            self._overhead += len(data)
        try:
            self._feed(data)
            if self._in_message:
                self._check_incomplete()
        except Refusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            cause = error.__context__  # what one of our methods raised when the parser called it
            self._refuse(cause if isinstance(cause, Refusal) else Refusal("malformed-request", NOT_HTTP))
        else:
            if self._deadline is None and (self._in_head or self._unattended()):
                self._arm(self.edge.http.header_timeout, self._too_slow)

    def _feed(self, data: bytes) -> None:
        while data:
            if self._raw_body:
                part, data = data[: self._raw_body], data[self._raw_body :]
                self._raw_body -= len(part)
                self.on_body(part)
                if not self._raw_body:
                    self.on_message_complete()
                continue
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # No upgrade is offered, so it is ignored (RFC 9110 §7.8). The parser believes that another protocol begins here.
                data = data[upgrade.args[0] :]
            else:
                return

    def _check_incomplete(self) -> None:
        check_target(len(self.url), self.edge.http)
        check_size(self._overhead - len(self.url) - REQUEST_LINE_REST, self.edge.http)

    def _unattended(self) -> bool:
        """Empty lines have stopped the time of an idle connection."""
        return not self._in_message and self.timeout_keep_alive_task is None and not self._answering()

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    # What the parser calls. An exception raised here ends feed_data() with an HttpParserError whose context it is.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = self._in_message = True
        self._overhead, self._unclaimed = self._unclaimed, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete: refuse the request, or hand it to the app. Takes the place of uvicorn's, which does the second only."""
        version = self.parser.get_http_version()
        body = examine(version, self.url, self.headers, self.edge.http)
        if self.parser.should_upgrade():
            if body.chunked:
                raise Refusal("malformed-request", "A request for another protocol can't have a chunked body.")
            self._raw_body = body.length
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = url.query or b""
        busy = self._answering()
        self.cycle = cycle = Cycle(
            scope=self.scope,
            transport=PoliteTransport(self.transport, self._close_politely) if body else self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version == "1.1" and self.parser.should_keep_alive() and not self._last_request,
            on_response=self.on_response_complete,
        )
        cycle.problem_body = self.edge.problem_body
        self.headers = []  # trailers would be added to the request's headers: they go nowhere instead
        self._in_head = False
        self._disarm()
        if busy:  # a pipelined request waits for its turn
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._start_asgi_task(cycle, self.app)

    def on_body(self, body: bytes) -> None:
        """A part of the body, and if it is a chunk, the length and line ends around it."""
        self._overhead = max(0, self._overhead - len(body) - len(b"%x\r\n\r\n" % len(body)))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        if self._raw_body:
            return  # says the parser, which skips a body before another protocol
        self._in_message = False
        super().on_message_complete()
        if self.cycle.response_complete:  # the app did not wait for the body, which is now behind us
            self._disarm()
            self._arm_keep_alive(self.timeout_keep_alive)

    # The end of a response, and of the connection.

    def on_response_complete(self) -> None:
        """Called by a cycle that has sent all."""
        super().on_response_complete()
        if self._in_message and not self._in_head and self.cycle.response_complete and not self._deaf:
            # What remains of the body is dropped as it arrives, but not for longer than the app would have waited for it.
            self._arm(self.edge.http.body_timeout, self.transport.close)

    def shutdown(self) -> None:
        """The server stops: whatever is in progress is the last on this connection, and its answer says so."""
        if self._last_request:
            return
        self._last_request = True
        if self._deaf:
            self.transport.close()
        elif self._answering():
            self.cycle.keep_alive = False
        else:
            self._unset_keepalive_if_required()
            self._arm_keep_alive(LAST_REQUEST_SECONDS)

    def _refuse(self, refusal: Refusal) -> None:
        self._deaf = True
        self._disarm()
        if self._answering():
            if self._in_head:
                self.cycle.keep_alive = False  # an earlier request is being answered: the connection ends with that
                return
            if self.cycle.response_started or self.pipeline:
                self.transport.close()  # half an answer is on its way: it must not be taken for a whole one
                return
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        request_id = new_request_id()
        status, body = self.edge.problem_body(refusal.slug, refusal.detail, request_id)
        self.logger.info("refused a request of %s: %s, request id %s", self.client, refusal.slug, request_id)
        answer = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers + problem_headers(body, request_id, request_id):
            answer += [name, b": ", value, b"\r\n"]
        answer += [b"\r\n", b"" if self.parser.get_method() == b"HEAD" else body]
        self.transport.write(b"".join(answer))
        self._linger(LINGER_SECONDS)

    def _close_politely(self) -> None:
        if self._in_message:
            self._linger(self.edge.http.body_timeout)
        else:
            self.transport.close()

    def _linger(self, seconds: float) -> None:
        """Say that nothing more will be sent, and drop what still arrives until the client closes too, or the time is over."""
        self._deaf = True
        with contextlib.suppress(
            OSError, RuntimeError
        ):  # the client is gone already: asyncio and uvloop say so differently
            self.transport.write_eof()
        self.flow.resume_reading()
        self._arm(seconds, self.transport.close)

    # Timers. uvicorn's own, for idle connections, is cancelled by any byte; ours only by what it waits for.

    def _too_slow(self) -> None:
        self._deadline = None
        if self._answering():  # the client waits for us, too: the time begins anew
            self._arm(self.edge.http.header_timeout, self._too_slow)
        elif self._in_head:
            seconds = self.edge.http.header_timeout
            self._refuse(
                Refusal("request-timeout", f"The request line and headers did not arrive within {seconds:g} seconds.")
            )
        else:
            self.transport.close()

    def _arm(self, seconds: float, action: Callable[[], None]) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, action)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _arm_keep_alive(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


def guarded_protocol(edge: Edge) -> type[GuardedProtocol]:
    """A protocol class for servers with these limits."""
    return type("ConfiguredProtocol", (GuardedProtocol,), {"edge": edge})
