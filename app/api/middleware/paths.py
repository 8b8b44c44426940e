"""Two spellings of one thing: a path with a trailing slash is the path without, and HEAD is GET without its body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import ProblemException


class Paths:
    """Rewrites the request that the router sees; no redirect, which would cost a round trip and lose bodies on the way."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        # An encoded slash is no separator (RFC 3986 §2.2). And Starlette's patterns end with "$", which also matches before a last
        # line break: /users/1%0A would be /users/1.
        if "\n" in path or b"%2f" in (scope.get("raw_path") or b"").lower():
            raise ProblemException("not-found", "Nothing is at this path.")
        slash = len(path) > 1 and path.endswith("/") and not path.endswith("//")
        head = scope["method"] == "HEAD"
        if slash or head:
            # A copy: the server goes by the original when it decides whether a body may follow.
            scope = {**scope, "path": path[:-1] if slash else path, "method": "GET" if head else scope["method"]}
            scope["state"]["head"] = head
        await self.app(scope, receive, _without_body(send) if head else send)


def _without_body(send: Send) -> Send:
    async def head_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            if message.get("more_body"):
                return
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return head_only
