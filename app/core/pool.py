"""The pool of connections, measured: who waits for one, and for how long."""

import time
from contextvars import ContextVar
from typing import Any, ClassVar, Final, Protocol

from sqlalchemy import AsyncAdaptedQueuePool
from sqlalchemy.pool import ConnectionPoolEntry


class Waiters:
    """How many requests wait for what is asked of the pool: one read is asked for by many, and more of them may join."""

    __slots__ = ("requests",)

    def __init__(self, requests: int) -> None:
        self.requests = requests


ONE: Final = Waiters(1)
NOBODY: Final = Waiters(0)
"""For periodic work."""

waiters: Final[ContextVar[Waiters]] = ContextVar("gantry_waiters", default=ONE)
"""Those for whom the pool is asked here."""


class PoolObserver(Protocol):
    """Whoever wants to know."""

    waits: list[Waiters]
    """What waits for a connection now."""

    def pool_gave(self, seconds: float) -> None:
        """A connection was got, or was not to be had, after so many seconds."""


class MeasuredPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool, telling its observer. ``measured_pool`` makes the class."""

    observer: ClassVar[PoolObserver]

    def _do_get(self) -> ConnectionPoolEntry:
        """SQLAlchemy's hook for getting a connection: waits when all are taken."""
        mine = waiters.get() if self.checkedout() >= self.size() else NOBODY
        started = time.perf_counter()
        self.observer.waits.append(mine)
        try:
            return super()._do_get()
        finally:
            self.observer.waits.remove(mine)
            self.observer.pool_gave(time.perf_counter() - started)


def measured_pool(observer: PoolObserver) -> type[Any]:
    """A pool class for ``create_async_engine(poolclass=...)``."""
    return type("ObservedPool", (MeasuredPool,), {"observer": observer})
