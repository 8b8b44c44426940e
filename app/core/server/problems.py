"""Problem documents (RFC 9457) for what never reaches the app: bytes that are no request, a request cut short, the admin port."""

from typing import Protocol
from uuid import uuid4

MEDIA_TYPE = b"application/problem+json"


class ProblemBody(Protocol):
    """Makes problem documents; the API's catalogue is behind it. Slugs used here: malformed-request, uri-too-long, headers-too-large,
    request-timeout, not-found, method-not-allowed, internal-error, service-unavailable."""

    def __call__(self, slug: str, detail: str, instance: str, *, trace_id: str | None = None) -> tuple[int, bytes]:
        """HTTP status and document. ``instance`` is the request's id; without a trace's it stands for that too."""


class Refusal(Exception):
    """A request that is answered without the app. ``detail`` repeats nothing that the client sent."""

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail


def new_request_id() -> str:
    """An id for a request that never got one from the app, of the same form as those."""
    return uuid4().hex


def problem_headers(body: bytes, request_id: str, trace_id: str) -> list[tuple[bytes, bytes]]:
    """The headers of a problem response: it is never cached, and nothing is kept alive after it."""
    return [
        (b"x-request-id", request_id.encode()),
        (b"x-trace-id", trace_id.encode()),
        (b"content-type", MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
