"""The pool of connections, measured: who waits for one, and for how long."""

import time
from contextvars import ContextVar
from typing import Any, ClassVar, Final, Protocol

from sqlalchemy import AsyncAdaptedQueuePool
from sqlalchemy.pool import ConnectionPoolEntry

waiting_requests: Final[ContextVar[int]] = ContextVar("gantry_waiting_requests", default=1)
"""How many requests wait for what is asked of the pool here: a gathered read is asked for by many."""


class PoolObserver(Protocol):
    """Whoever wants to know."""

    waiting: int
    """Requests that wait for a connection now."""

    def pool_gave(self, seconds: float) -> None:
        """A connection was got, or was not to be had, after so many seconds."""


class MeasuredPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool, telling its observer. ``measured_pool`` makes the class."""

    observer: ClassVar[PoolObserver]

    def _do_get(self) -> ConnectionPoolEntry:
        """SQLAlchemy's hook for getting a connection: waits when all are taken."""
        requests = waiting_requests.get() if self.checkedout() >= self.size() else 0
        started = time.perf_counter()
        self.observer.waiting += requests
        try:
            return super()._do_get()
        finally:
            self.observer.waiting -= requests
            self.observer.pool_gave(time.perf_counter() - started)


def measured_pool(observer: PoolObserver) -> type[Any]:
    """A pool class for ``create_async_engine(poolclass=...)``."""
    return type("ObservedPool", (MeasuredPool,), {"observer": observer})
