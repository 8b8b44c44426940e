"""Small periodic work inside a worker process: it never ends the process, and ends with it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any

import structlog

from app.core.pool import NOBODY, waiters

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.background")

type Action = Callable[[], Awaitable[object]]


async def every(seconds: float, action: Action) -> None:
    """Run the action again and again, ``seconds`` after it ended. What it raises is logged, and it is tried again."""
    while True:
        try:
            await action()
        except Exception as error:  # noqa: BLE001 - one failure must not end the loop
            log.warning("background_action_failed", action=action.__name__, error=type(error).__name__)
        await asyncio.sleep(seconds)


async def ticking(seconds: float, tick: Callable[[float], object]) -> None:
    """Call ``tick`` every ``seconds`` with how late the call is, in seconds: what the event loop kept it waiting. What it raises is logged.

    The next call is due ``seconds`` after this one. Not by the loop's own clock: uvloop's stands still within a turn.
    """
    due = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            tick(max(now - due, 0.0))
        except Exception as error:  # noqa: BLE001 - a full disk must not look like a loop that is stuck
            log.warning("tick_failed", error=type(error).__name__)
        due = now + seconds
        await asyncio.sleep(seconds)


@asynccontextmanager
async def running(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the loops beside the block, and end them with it."""
    context = copy_context()
    context.run(waiters.set, NOBODY)  # no request waits for what they ask of the database
    tasks = [asyncio.create_task(loop, context=context.copy()) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
