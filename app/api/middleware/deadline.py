"""No request hangs: when its time is over the client gets 503, whatever the work is waiting for."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import ProblemException, problem_response


class Deadline:
    """Answers in the place of a request that is too slow, and cancels it.

    The answer does not wait for the cancelled work to end: a query to a database that hangs takes seconds more to give up.
    A response that has begun is not cut: a long stream has times of its own.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        work = asyncio.current_task()
        given_up: asyncio.Task[Any] | None = None

        async def answer() -> None:
            problem = ProblemException(
                "deadline-exceeded", f"The request was not answered within {self.seconds:g} seconds."
            )
            await problem_response(scope, problem)(scope, receive, send)

        def give_up() -> None:
            nonlocal given_up
            if not scope["state"].get("response_started") and work is not None:
                given_up = loop.create_task(answer())
                work.cancel()

        async def unless_given_up(message: Message) -> None:
            if given_up is None:
                await send(message)

        timer = loop.call_later(self.seconds, give_up)
        try:
            await self.app(scope, receive, unless_given_up)
        except (Exception, asyncio.CancelledError):
            # How work that was given up ends is nobody's concern: the client has its answer.
            if given_up is None:
                raise
        finally:
            timer.cancel()
        if given_up is not None and work is not None:
            await given_up
            if work.uncancel():
                raise asyncio.CancelledError  # somebody else cancelled the request, too
