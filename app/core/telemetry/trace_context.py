"""W3C Trace Context (https://www.w3.org/TR/trace-context/, §3.2): reading ``traceparent`` without OpenTelemetry's part.

Every request needs its trace id, and most are not recorded: for those this is all that is done. A test holds it to what
OpenTelemetry's propagator makes of the same header.
"""

import random
import re
from typing import Final, NamedTuple

TRACEPARENT: Final = re.compile(
    rb"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*", re.DOTALL
)
SAMPLED: Final = 1
_FORBIDDEN_VERSION: Final = b"ff"
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16


class Parent(NamedTuple):
    """The span of a caller that asked us."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    sampled: bool
    """Whether the caller records its part of the trace."""


def read_traceparent(header: bytes) -> Parent | None:
    """The caller's span; ``None`` when the header is malformed, which begins a new trace (§3.2.2.5)."""
    match = TRACEPARENT.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == _FORBIDDEN_VERSION or trace_id == _NO_TRACE or span_id == _NO_SPAN or (version == b"00" and rest):
        return None
    return Parent(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & SAMPLED))


def new_trace_id() -> str:
    """A trace id of 32 hex digits, never all zeros. Not a secret; Python's generator has a new seed in each forked process."""
    return f"{random.getrandbits(128) or 1:032x}"
