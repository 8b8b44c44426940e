"""A receiver of OTLP over HTTP for tests: it keeps what it gets, or hangs, or is slow."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """One that listens on 127.0.0.1."""

    def __init__(self, delay: float) -> None:
        self.bodies: list[bytes] = []
        """Each request as it came, headers included."""
        self.asked = 0
        self._requests: list[ExportTraceServiceRequest] = []
        self._closing = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked += 1
                collector._closing.wait(delay)
                try:
                    self.send_response(200 if self.path == "/v1/traces" else 404)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    return  # nobody waits for it any more
                collector.bodies.append(str(self.headers).encode() + body)
                collector._requests.append(ExportTraceServiceRequest.FromString(body))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's signature
                """Not of interest."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Span]:
        """All spans so far."""
        return [
            span
            for request in list(self._requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resources(self) -> list[dict[str, str]]:
        """What each request says of the process that sent it."""
        return [
            {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            for request in list(self._requests)
            for resource in request.resource_spans
        ]

    def wait_for(self, count: int, seconds: float = 15) -> list[Span]:
        """The spans, once there are so many."""
        until = time.monotonic() + seconds
        while len(self.spans()) < count:
            assert time.monotonic() < until, f"{len(self.spans())} spans of {count}"
            time.sleep(0.05)
        return self.spans()


@contextmanager
def collecting(delay: float = 0.0) -> Iterator[Collector]:
    """A collector until the end of the block; it answers after ``delay`` seconds."""
    collector = Collector(delay)
    try:
        yield collector
    finally:
        collector.close()
