"""Small periodic work inside a worker process: it never ends the process, and ends with it."""

import asyncio
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
