"""Every kind of span of Gantry: when it is made, what it says, and a question that it answers. docs/observability.md is written from it,
and tests hold the spans of real requests to it."""

import re
from dataclasses import dataclass
from typing import Final

CALLED: Final = {
    "server.address": "the server's address",
    "server.port": "its port",
}
STATEMENT: Final = {
    "db.system.name": "`postgresql`",
    "db.namespace": "the database",
    "db.operation.name": "the statement's first word",
    "db.query.text": "the statement with placeholders, never with values",
    "error.type": "the exception's type, when it failed",
}


@dataclass(frozen=True, slots=True)
class SpanSpec:
    """One kind of span."""

    name: str
    """As it is shown in the documentation."""
    pattern: re.Pattern[str]
    """What its name matches."""
    kind: str
    made: str
    """By whom, and when."""
    attributes: dict[str, str]
    question: str


SPAN_SPECS: Final = (
    SpanSpec(
        "`GET /api/v1/items/{item_id}`",
        re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|HTTP|OTHER|CONNECT|TRACE)( /\S*)?"),
        "server",
        "by `opentelemetry-instrumentation-fastapi`, one for each recorded request; named after method and route",
        {
            "http.request.method": "the method; `_OTHER` for one that HTTP does not define",
            "http.request.method_original": "the method as it was sent, when it is one that HTTP does not define",
            "http.route": "the route's template, prefix included",
            "http.response.status_code": "the status",
            "error.type": "the status, when it is 500 or more",
            "url.path": "the path; `[unmatched]` when no route has it",
            "url.query": "the names of query parameters, without their values",
            "url.scheme": "`http` or `https`",
            "network.protocol.version": "HTTP's version",
            "server.address": "where the process listens",
            "server.port": "the port of the process",
            "client.address": "the client, behind the proxies that are trusted",
            "client.port": "the peer's port",
            "gantry.request_id": "the request's id, as in logs and `X-Request-ID`",
            "gantry.key_id": "the API key's id, not the key",
            "gantry.problem": "the problem's type, for an answer that is one",
        },
        "Where did this slow request spend its time? Open the trace of its `X-Trace-ID`.",
    ),
    SpanSpec(
        "`SELECT items`",
        re.compile(r"SELECT (items|users)"),
        "client",
        "by `app.services.point_reads`, around one row by its id, read by a statement that may serve other requests too",
        STATEMENT | {"db.collection.name": "the table"},
        "Does the hot read wait for the database?",
    ),
    SpanSpec(
        "`EVALSHA`",
        re.compile(r"EVALSHA"),
        "client",
        "by `app.core.limits`, around counting a request in the shared store; an error when the store is lost",
        {"db.system.name": "`redis`, whose protocol Valkey speaks", "db.operation.name": "`EVALSHA`"},
        "What does the rate limiter add to a request?",
    ),
    SpanSpec(
        "`SELECT`, `INSERT`, `UPDATE`, ...",
        re.compile(r"[A-Z]+( \w+)?"),
        "client",
        "by `opentelemetry-instrumentation-sqlalchemy`, around each statement of a session",
        STATEMENT | CALLED,
        "Which statement of a create is slow?",
    ),
    SpanSpec(
        "`connect`",
        re.compile(r"connect"),
        "client",
        "by the same, around getting a connection of the pool: a wait for a free one shows here",
        STATEMENT | CALLED,
        "Was it the statement, or the wait for a connection?",
    ),
)

EVENTS: Final = {
    "exception": {"exception.type": "the type of a defect, without its words, which may repeat a client's"}
}
"""Events of a span, and their attributes."""

RESOURCE: Final = {
    "service.name": "`gantry`, unless `OTEL_SERVICE_NAME` says otherwise",
    "service.version": "the release",
    "service.instance.id": "pod and process",
    "process.pid": "the worker's process id",
    "process.runtime.name": "`cpython`",
    "process.runtime.version": "Python's version",
    "k8s.pod.name": "from `POD_NAME`",
    "k8s.namespace.name": "from `POD_NAMESPACE`",
    "k8s.node.name": "from `NODE_NAME`",
}
"""What all spans of a process say of it; `OTEL_RESOURCE_ATTRIBUTES` adds to it."""
