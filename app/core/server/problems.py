"""Problem documents (RFC 9457) for what never reaches the app: bytes that are no request, a request cut short, the admin port."""

from collections.abc import Callable
from uuid import uuid4

MEDIA_TYPE = b"application/problem+json"

ProblemBody = Callable[[str, str, str], tuple[int, bytes]]
"""Given a problem's slug, a detail and the request's id: its HTTP status and document. The API's catalogue is behind it. Slugs used here:
malformed-request, uri-too-long, headers-too-large, request-timeout, not-found, method-not-allowed, internal-error, service-unavailable."""


class Refusal(Exception):
    """A request that is answered without the app. ``detail`` repeats nothing that the client sent."""

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail


def new_request_id() -> str:
    """An id for a request that never got one from the app, of the same form as those."""
    return uuid4().hex


def problem_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a problem response: it is never cached, and nothing is kept alive after it."""
    return [
        (b"content-type", MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
