"""Bounds on what surrounds a body: the host, the address, the number of parameters and headers."""

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import ProblemException
from app.core.config import HttpSettings


class RequestLimits:
    """Refuses a request by its line and headers alone. The server's protocol has cut the worst already, while it arrived."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self.app = app
        self.settings = settings
        self.any_host = "*" in settings.trusted_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            self._check(scope)
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        settings = self.settings
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if len(headers) > settings.max_headers:
            raise ProblemException("headers-too-large", f"At most {settings.max_headers} header lines are read.")
        size = 0
        hosts = []
        for name, value in headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts.append(value)
        if size > settings.max_header_bytes:
            raise ProblemException(
                "headers-too-large", f"At most {settings.max_header_bytes} bytes of headers are read."
            )
        if len(hosts) != 1 or not (self.any_host or _served(hosts[0], settings.trusted_hosts)):
            raise ProblemException(
                "malformed-request", "The request needs one Host header, with a name that is served here."
            )
        query: bytes = scope["query_string"]
        if len(scope.get("raw_path") or b"") + len(query) > settings.max_target_bytes:
            raise ProblemException("uri-too-long", f"Path and query may have {settings.max_target_bytes} bytes.")
        if query and query.count(b"&") >= settings.max_query_parameters:
            raise ProblemException("uri-too-long", f"A query may have {settings.max_query_parameters} parameters.")
        if query and not _is_utf8(query):
            raise ProblemException("malformed-request", "The query must be UTF-8, percent-encoded.")


def _is_utf8(query: bytes) -> bool:
    """Whether the query means text (RFC 3986 §2.5): what does not would be searched for as something else."""
    try:
        query.decode("ascii")
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        return False
    return True


def _served(host: bytes, trusted: Sequence[str]) -> bool:
    name = host.decode("latin-1").lower()
    name = name.rpartition(":")[0] if not name.endswith("]") and ":" in name else name
    return any(
        name == pattern.lower() or (pattern.startswith("*.") and name.endswith(pattern[1:].lower()))
        for pattern in trusted
    )
