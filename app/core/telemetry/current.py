"""The request that is at work, for whoever says something meanwhile: log lines of any library carry its ids."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class CurrentRequest:
    """The ids of one request."""

    request_id: str
    trace_id: str
    """32 hex digits: the caller's trace (W3C Trace Context), or one that begins here."""
    span_id: str = ""
    """16 hex digits of the server span; empty when this request is not recorded."""


REQUEST: Final = "gantry.request"
"""Where it is in the ASGI scope of its request."""

current_request: Final[ContextVar[CurrentRequest | None]] = ContextVar("gantry_current_request", default=None)
"""Set once for each request, in the request's own context: nothing has to take it back."""
