"""What ``/metrics`` shows: what the workers counted, added up from their files, and what the server knows of its workers."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from app.core.server.scoreboard import Scoreboard, WorkerState

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.admin")

UNREADABLE: Final = (OSError, ValueError, RuntimeError, LookupError, struct.error)
"""What reading the files raises when one is damaged, or is being made at this very moment."""


class ServerCollector:
    """Collects all metrics of a server. What can't be read of the workers' files is left out, and the rest still shown."""

    def __init__(self, scoreboard: Scoreboard, folder: Path) -> None:
        self._scoreboard = scoreboard
        self._folder = str(folder)

    def collect(self) -> Iterator[Metric]:
        """The metrics of now. Takes milliseconds, more with many series."""
        try:
            counted: Iterable[Metric] = MultiProcessCollector(None, path=self._folder).collect()  # type: ignore[no-untyped-call]
            complete = True
        except UNREADABLE as error:
            log.warning("worker_metrics_unreadable", error=type(error).__name__)
            counted, complete = (), False
        yield from counted
        board = self._scoreboard
        states = [worker.state for worker in board.workers()]
        workers = GaugeMetricFamily("gantry_workers", "Worker processes, by state.", labels=["state"])
        for state in (WorkerState.STARTING, WorkerState.READY, WorkerState.STOPPING):
            workers.add_metric([state.name.lower()], states.count(state))
        yield workers
        yield GaugeMetricFamily("gantry_draining", "1 while the server drains or stops.", board.draining)
        yield GaugeMetricFamily(
            "gantry_schema_seen", "1 once the database's schema was found usable.", board.schema_seen
        )
        yield CounterMetricFamily("gantry_worker_restarts", "Workers that ended and were replaced.", board.restarts)
        yield GaugeMetricFamily(
            "gantry_worker_metrics_complete", "0 when what workers counted can't be read.", complete
        )
