"""How often Python's cyclic garbage collector stops a worker, and for how long.

A collection may begin anywhere, inside ``prometheus_client`` with its lock held too. So the interpreter's callback adds up plain numbers,
and the counters get them later.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry

from app.core.telemetry.catalogue import GC_PAUSE_SECONDS, GC_PAUSES

GENERATIONS: Final = 3
_NANOSECONDS: Final = 1_000_000_000


class GarbageWatch:
    """Of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        pauses, seconds = GC_PAUSES.counter(registry), GC_PAUSE_SECONDS.counter(registry)
        self._counters = [(pauses.labels(str(n)), seconds.labels(str(n))) for n in range(GENERATIONS)]
        self._pauses = [0] * GENERATIONS
        self._nanoseconds = [0] * GENERATIONS
        self._flushed = [(0, 0)] * GENERATIONS
        self._began = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count inside the block."""
        gc.callbacks.append(self._collected)
        try:
            yield
        finally:
            gc.callbacks.remove(self._collected)
            self.flush()

    def flush(self) -> None:
        """Hand on to the counters what came since the last time: three comparisons when nothing did."""
        for generation, (pauses, seconds) in enumerate(self._counters):
            count, nanoseconds = self._pauses[generation], self._nanoseconds[generation]
            seen_count, seen_nanoseconds = self._flushed[generation]
            if count != seen_count:
                self._flushed[generation] = count, nanoseconds
                pauses.inc(count - seen_count)
                seconds.inc((nanoseconds - seen_nanoseconds) / _NANOSECONDS)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        """Called by the interpreter at both ends of a collection, of which there is one at a time."""
        if phase == "start":
            self._began = time.perf_counter_ns()
        elif self._began:
            generation = info["generation"]
            self._nanoseconds[generation] += time.perf_counter_ns() - self._began
            self._pauses[generation] += 1
            self._began = 0
