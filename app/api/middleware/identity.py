"""Which request this is and who sent it: the request id, and the client behind the proxies that we trust."""

import re
import secrets
from collections.abc import Sequence

from pydantic import IPvAnyNetwork
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.telemetry.current import REQUEST, CurrentRequest, current_request
from app.utils.client_address import client_from_forwarded, is_trusted

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""A proxy's request id that is taken over; any other is replaced."""


class Identity:
    """Puts ``request_id`` and ``client`` into the request's state. Only a trusted proxy's word on either is believed."""

    def __init__(self, app: ASGIApp, trusted_proxies: Sequence[IPvAnyNetwork]) -> None:
        self.app = app
        self.trusted = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            state = scope.setdefault("state", {})
            client = scope.get("client")
            state["client"] = peer = client[0] if client else ""
            state["request_id"] = ""
            state["response_headers"] = []
            if self.trusted and is_trusted(peer, self.trusted):
                self._believe(scope, peer)
            current = scope.get(REQUEST)
            if current is None:  # no tracing, but log lines carry the request's id all the same
                current = scope[REQUEST] = CurrentRequest("", "")
                current_request.set(current)
            state["request_id"] = current.request_id = (
                state["request_id"] or current.request_id or secrets.token_hex(16)
            )
        await self.app(scope, receive, send)

    def _believe(self, scope: Scope, peer: str) -> None:
        headers = Headers(scope=scope)
        forwarded = ", ".join(headers.getlist("x-forwarded-for")) or None
        scope["state"]["client"] = client_from_forwarded(peer, forwarded, self.trusted)
        if headers.get("x-forwarded-proto", "").strip().lower() in ("http", "https"):
            scope["scheme"] = headers["x-forwarded-proto"].strip().lower()
        if REQUEST_ID.fullmatch(headers.get("x-request-id", "")):
            scope["state"]["request_id"] = headers["x-request-id"]
