"""A body is bounded in bytes and in time, as declared and as it arrives."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import ProblemException
from app.core.config import HttpSettings


class BodyLimit:
    """Raises the problem where the body is read, so that the route's order of checks stays what it is."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self.app = app
        self.max_bytes = settings.max_body_bytes
        self.seconds = settings.body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        expected = _declared(scope)
        read = 0
        loop = asyncio.get_running_loop()
        until = loop.time() + self.seconds
        complete = False

        async def bounded() -> Message:
            nonlocal read, complete
            if complete:
                return await receive()  # waits for the client's disconnect, as long as that takes
            if expected > self.max_bytes:
                raise self._too_large()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise ProblemException(
                    "request-timeout",
                    f"The body did not arrive within {self.seconds:g} seconds.",
                    headers={"Connection": "close"},
                ) from None
            read += len(message.get("body", b""))
            scope["state"]["received"] = read
            complete = not message.get("more_body", False)
            if read > self.max_bytes:
                raise self._too_large()
            return message

        await self.app(scope, bounded, send)

    def _too_large(self) -> ProblemException:
        return ProblemException(
            "content-too-large", f"A body may have {self.max_bytes} bytes.", headers={"Connection": "close"}
        )


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value) if len(value) < 20 else 2**63
    return 0
