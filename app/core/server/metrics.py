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
from app.core.telemetry.catalogue import DRAINING, SCHEMA_SEEN, WORKER_METRICS_COMPLETE, WORKER_RESTARTS, WORKERS

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
        workers = GaugeMetricFamily(WORKERS.name, WORKERS.meaning, labels=WORKERS.labels)
        for state in (WorkerState.STARTING, WorkerState.READY, WorkerState.STOPPING):
            workers.add_metric([state.name.lower()], states.count(state))
        yield workers
        yield GaugeMetricFamily(DRAINING.name, DRAINING.meaning, board.draining)
        yield GaugeMetricFamily(SCHEMA_SEEN.name, SCHEMA_SEEN.meaning, board.schema_seen)
        yield CounterMetricFamily(WORKER_RESTARTS.name, WORKER_RESTARTS.meaning, board.restarts)
        yield GaugeMetricFamily(WORKER_METRICS_COMPLETE.name, WORKER_METRICS_COMPLETE.meaning, complete)
