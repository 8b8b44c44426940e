"""Small periodic work inside a worker process: it never ends the process, and ends with it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

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
    """Call ``tick`` every ``seconds`` with how late the call is, in seconds: what the event loop kept it waiting. It must not raise.

    The next call is due ``seconds`` after this one. Not by the loop's own clock: uvloop's stands still within a turn.
    """
    due = time.monotonic()
    while True:
        now = time.monotonic()
        tick(max(now - due, 0.0))
        due = now + seconds
        await asyncio.sleep(seconds)


@asynccontextmanager
async def running(*loops: Awaitable[None]) -> AsyncIterator[None]:
    """Run the loops beside the block, and end them with it."""
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
