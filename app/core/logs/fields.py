"""What the fields of a log line mean: docs/observability.md is written from it."""

from typing import Final

COMMON: Final = {
    "timestamp": "when, in UTC, as RFC 3339 has it, with microseconds",
    "level": "`debug`, `info`, `warning`, `error` or `critical`",
    "event": "what happened: a name in `snake_case` of ours, a sentence of a library's",
    "logger": "who says it: `gantry.<part>`, or a library's logger (`gunicorn.error`, `alembic.runtime.migration`, `py.warnings`)",
    "pid": "the process that says it, or that the event is about",
    "pod": "the pod: `POD_NAME`, else the host's name; left out on a terminal",
    "request_id": "the request that was at work: the `X-Request-ID` of its answer",
    "trace_id": "its trace, 32 hex digits; also when no span is recorded",
    "span_id": "its server span, 16 hex digits, when it is recorded",
    "stack_info": "where it was said, when a library asks for that",
    "exception": "the exceptions of a traceback, the last one first: type, first line of the message, frames; no local variables",
}
"""Fields that any line may have. An event's own fields are beside them."""

REQUEST: Final = {
    "method": "the method that the client sent",
    "route": "the route's template, prefix included; `unmatched` when there is none, since clients invent paths",
    "status": "of the answer; 499 when the client left before it",
    "duration_ms": "milliseconds from the first handling to the last byte handed to the server",
    "client": "the client's address, behind the proxies that are trusted",
    "key_id": "the id of the API key, when there was a valid one",
    "problem": "the last part of the problem's `type`, when the answer is a problem",
}
"""Further fields of the line of a request: logger `gantry.request`, event `request`."""

LOG_FIELDS: Final[dict[str, str]] = COMMON | REQUEST
