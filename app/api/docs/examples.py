"""An answer of each problem type, worded as the API words it."""

from typing import Any, Final

from app.api.catalogue import ProblemType

EXAMPLE_REQUEST_ID: Final = "8f14e45fceea467a9b2c1d3e5f607182"
EXAMPLE_TRACE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"

DETAILS: Final = {
    "malformed-request": "The request needs one Host header, with a name that is served here.",
    "malformed-json": "The body is not valid JSON: Expecting value (at byte 17)",
    "unauthorized": "Send a valid API key in the X-API-Key header.",
    "forbidden": "The key lacks the scope users:write.",
    "origin-not-allowed": "This origin, method or header is not allowed across origins.",
    "not-found": "There is no such resource.",
    "method-not-allowed": "Allowed here: GET, HEAD, PATCH, DELETE.",
    "not-acceptable": "This resource is available as application/json.",
    "request-timeout": "The body did not arrive within 15 seconds.",
    "email-taken": "Another user has this e-mail address.",
    "items-owned": "The user still owns items; say ?items=release or ?items=delete.",
    "too-many-items": "The user owns more than 50000 items, the most that one deletion touches.",
    "retry-in-progress": "A request with this Idempotency-Key is still running.",
    "length-required": "This operation needs a body.",
    "precondition-failed": "The resource has none of the versions that If-Match names.",
    "content-too-large": "A body may have 1048576 bytes.",
    "uri-too-long": "Path and query may have 8192 bytes.",
    "unsupported-media-type": "Send application/json.",
    "validation-failed": "The request has invalid values.",
    "idempotency-key-reused": "This Idempotency-Key was used with another payload.",
    "too-many-requests": "The rate limit is reached.",
    "headers-too-large": "At most 32768 bytes of headers are read.",
    "internal-error": "The defect was logged under the id in instance.",
    "service-unavailable": "The database can't be reached just now.",
    "deadline-exceeded": "The request was not answered within 20 seconds.",
}
"""``detail``, by slug."""

ERRORS: Final = {
    "validation-failed": [
        {"in": "body", "pointer": "/email", "detail": "must be an e-mail address such as ada@example.com"}
    ],
}
"""``errors``, by slug, where there are any."""

HEADERS: Final = {
    "unauthorized": {"WWW-Authenticate": 'ApiKey realm="gantry", header="X-API-Key"'},
    "method-not-allowed": {"Allow": "GET, HEAD, PATCH, DELETE"},
    "unsupported-media-type": {"Accept-Post": "application/json"},
    "retry-in-progress": {"Retry-After": "1"},
    "too-many-requests": {
        "RateLimit-Policy": '"default";q=600;w=60',
        "RateLimit": '"default";r=0;t=17',
        "Retry-After": "17",
    },
    "service-unavailable": {"Retry-After": "2"},
    "deadline-exceeded": {"Retry-After": "1"},
}
"""The headers that a type adds to those of every problem, by slug."""


def example_problem(kind: ProblemType) -> dict[str, Any]:
    """The problem document of an example."""
    document = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status.value,
        "detail": DETAILS[kind.slug],
        "instance": EXAMPLE_REQUEST_ID,
        "trace_id": EXAMPLE_TRACE_ID,
    }
    return document | ({"errors": ERRORS[kind.slug]} if kind.slug in ERRORS else {})
