"""How late workers' event loops are, as somebody sees who stands outside.

A loop that measures itself says nothing while it is stuck. It writes to the scoreboard when it ticked and how late that was; here both are
compared with the clock. The worker's own clock readings are compared, so it does not matter when we come to look: if this process is
late itself, it takes fewer samples, not larger ones.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from app.core.server.scoreboard import Scoreboard
from app.core.status import TICK_SECONDS
from app.core.telemetry.catalogue import EVENT_LOOP_LAG, EVENT_LOOP_STALLED

_NANOSECONDS: Final = 1_000_000_000
_INTERVAL: Final = int(TICK_SECONDS * _NANOSECONDS)


class LoopLag:
    """Samples all workers. Plain numbers: one thread samples, another may read them."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._counts = [0] * (len(EVENT_LOOP_LAG.buckets) + 1)
        self._sum = 0.0

    def sample(self) -> None:
        """One look at each worker; to be called about as often as they tick."""
        # The clock before the ticks: should we lose the CPU in between, ticks are newer than our time, and no lag is made up.
        now = time.monotonic_ns()
        for tick in self._scoreboard.ticks():
            lag = max(tick.lateness, now - tick.at - _INTERVAL, 0) / _NANOSECONDS
            self._counts[bisect_left(EVENT_LOOP_LAG.buckets, lag)] += 1
            self._sum += lag

    def stalled(self) -> float:
        """Seconds by which the worker that has been silent longest is overdue."""
        now = time.monotonic_ns()
        silences = [now - tick.at - _INTERVAL for tick in self._scoreboard.ticks()]
        return max([0, *silences]) / _NANOSECONDS

    def collect(self) -> Iterator[Metric]:
        """Both metrics."""
        reached, buckets = 0, []
        for end, count in zip((*EVENT_LOOP_LAG.buckets, float("inf")), list(self._counts), strict=True):
            reached += count
            buckets.append((floatToGoString(end), float(reached)))  # type: ignore[no-untyped-call]
        yield HistogramMetricFamily(EVENT_LOOP_LAG.name, EVENT_LOOP_LAG.meaning, buckets=buckets, sum_value=self._sum)
        yield GaugeMetricFamily(EVENT_LOOP_STALLED.name, EVENT_LOOP_STALLED.meaning, self.stalled())
