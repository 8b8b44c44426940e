"""The life of a worker process: what it opens after the fork, does beside requests, and closes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import count
from typing import Final

import structlog
from fastapi import FastAPI
from limits import parse as parse_limit

from app.api.context import LifespanState, Process
from app.core.background import every, running, ticking
from app.core.config import Settings
from app.core.database import Database
from app.core.limits import Policy, RateLimiter
from app.core.logs.level import look_for_level
from app.core.schema import find_schema
from app.core.security import KeyRing
from app.core.status import TICK_SECONDS, ProcessStatus
from app.core.telemetry.garbage import GarbageWatch
from app.core.telemetry.metrics import Metrics
from app.core.telemetry.tracing import Tracing
from app.services.api_keys import register_bootstrap_key
from app.services.callers import Callers
from app.services.export import Exports
from app.services.idempotency import forget_expired
from app.utils.cursors import CursorSigner

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.process")

LOOK_EVERY: Final = 10
"""Ticks between two looks at the log level that was asked for."""

EXEMPLARS_SECONDS: Final = 1.0
SCHEMA_RETRY_SECONDS: Final = 3.0
HOUSEKEEPING_SECONDS: Final = 600.0


def lifespan(
    settings: Settings, status: ProcessStatus, metrics: Metrics, tracing: Tracing
) -> Callable[[FastAPI], AbstractAsyncContextManager[LifespanState]]:
    """The application's lifespan."""
    garbage = GarbageWatch(metrics.registry) if metrics.enabled else None

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[LifespanState]:  # noqa: ARG001 - Starlette passes it
        process = open_process(settings, status, metrics, tracing)

        ticks = count()

        def tick(lateness: float) -> None:
            status.tick(lateness)
            metrics.publish(process.database.pool_state, tracing.processor)
            if garbage is not None:
                garbage.flush()
            if next(ticks) % LOOK_EVERY == 0:
                look_for_level()

        async def forget_expired_answers() -> None:
            await forget_expired(process.database)

        loops = running(
            ticking(TICK_SECONDS, tick),
            every(EXEMPLARS_SECONDS, metrics.exemplars.flush),
            wait_for_schema(process),
            every(settings.security.last_used_flush_seconds, process.callers.write_last_used),
            every(HOUSEKEEPING_SECONDS, forget_expired_answers),
        )
        try:
            with garbage.watching() if garbage is not None else nullcontext():
                async with loops:
                    status.ready()
                    yield {"process": process}
        finally:
            status.ticks_end()
            closed = await asyncio.gather(
                close_process(process), asyncio.to_thread(tracing.close), return_exceptions=True
            )
            for error in filter(None, closed):
                log.warning("not_closed", error=type(error).__name__)
            metrics.publish((0, 0), tracing.processor)

    return live


def open_process(settings: Settings, status: ProcessStatus, metrics: Metrics, tracing: Tracing) -> Process:
    """Make what requests share. Nothing connects yet: the process starts while the database is away."""
    database = Database(settings.database, observer=metrics, tracer=tracing.tracer)
    tracing.instrument(database.engine)
    ring = KeyRing(settings.security.key_peppers)
    rates = {"default": settings.limits.default, "example": settings.limits.example}
    return Process(
        settings=settings,
        database=database,
        ring=ring,
        callers=Callers(database, ring, settings.security),
        limiter=RateLimiter(
            settings.limits, workers=status.workers, on_verdict=metrics.rate_limited, tracer=tracing.tracer
        ),
        policies={name: Policy(name, parse_limit(rate)) for name, rate in rates.items()},
        exports=Exports(database, settings.export),
        cursors=CursorSigner(settings.security.cursor_keys),
        metrics=metrics,
        status=status,
    )


async def close_process(process: Process) -> None:
    """Write what is still in memory, and close connections; what can't be written is logged and let go."""
    try:
        async with asyncio.timeout(2):
            await process.callers.write_last_used()
    except Exception as error:  # noqa: BLE001 - closing goes on
        log.warning("last_used_not_written", error=type(error).__name__)
    await process.callers.aclose()
    await process.limiter.aclose()
    await process.database.aclose()


async def wait_for_schema(process: Process) -> None:
    """Look at the schema until it is in range, then say so and register the bootstrap key. Until then the process is up, and unready."""
    said = None
    while True:
        try:
            state = await find_schema(process.database)
            if state.in_range:
                await process.database.settle_prepared_statements()
                await _bootstrap(process)
                process.status.schema_seen(state.revision)
                log.info("schema_in_range", detail=state.advice, prepared_statements=process.database.prepares)
                return
            advice = state.advice
        except Exception as error:  # noqa: BLE001 - whatever it is, the process stays up and looks again
            advice = (
                f"the database can't be reached ({type(error).__name__}): check database.url, and that PostgreSQL is up"
            )
        if advice != said:
            log.warning("schema_not_in_range", detail=advice)
            said = advice
        await asyncio.sleep(SCHEMA_RETRY_SECONDS)


async def _bootstrap(process: Process) -> None:
    key = process.settings.security.bootstrap_key
    if key is not None and await register_bootstrap_key(process.database, process.ring, key):
        log.info("bootstrap_key_registered")
