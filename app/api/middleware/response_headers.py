"""Headers that every response carries: the request id, those a route left to be added (rate limits), and those of security."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.status import ProcessStatus
from app.core.telemetry.current import current_request

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""OWASP's REST Security Cheat Sheet; the documentation's pages bring their own Content-Security-Policy."""

API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class ResponseHeaders:
    """Adds them when the response starts. While the process drains it also asks clients to open their next connection elsewhere."""

    def __init__(self, app: ASGIApp, *, hsts_seconds: int, status: ProcessStatus) -> None:
        self.app = app
        self.status = status
        self.hsts = (b"strict-transport-security", f"max-age={hsts_seconds}".encode()) if hsts_seconds else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope["state"]

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                names = {name for name, _ in headers}
                headers += SECURITY_HEADERS
                headers.append((b"x-request-id", state["request_id"].encode()))
                current = current_request.get()
                if current is not None and current.trace_id:
                    headers.append((b"x-trace-id", current.trace_id.encode()))
                headers += state["response_headers"]
                if b"content-security-policy" not in names:
                    headers.append(API_POLICY)
                if b"cache-control" not in names:
                    headers.append((b"cache-control", b"no-store"))
                if self.hsts is not None and scope["scheme"] == "https":
                    headers.append(self.hsts)
                if self.status.draining() and b"connection" not in names:
                    headers.append((b"connection", b"close"))
            await send(message)

        await self.app(scope, receive, add)
