"""What ``/metrics`` shows: what the workers counted, added up from their files, and what the server knows of its processes."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from app import __version__
from app.core.server.lag import LoopLag
from app.core.server.metric_files import MetricFiles
from app.core.server.processes import Processes
from app.core.server.scoreboard import Scoreboard, WorkerState
from app.core.telemetry.catalogue import (
    BUILD_INFO,
    DRAINING,
    SCHEMA_REVISION,
    SCHEMA_SEEN,
    WORKER_METRICS_COMPLETE,
    WORKER_RESTARTS,
    WORKERS,
)
from app.core.telemetry.exemplars import attach, read_exemplars

SAMPLE_PROCESSES: Final = 10
"""Every so many looks at the workers' event loops, a look at the processes."""


class ServerCollector:
    """Collects all metrics of a server. What can't be read of the workers' files is left out, and the rest still shown."""

    def __init__(self, scoreboard: Scoreboard, folder: Path) -> None:
        self._scoreboard = scoreboard
        self._folder = folder
        self._files = MetricFiles(folder)
        self._lag = LoopLag(scoreboard)
        self._processes = Processes(scoreboard)

    def watch(self, counter: int) -> None:
        """What must be looked at all the time; called ten times a second, and counted."""
        self._lag.sample()
        if counter % SAMPLE_PROCESSES == 0:
            self._processes.sample()

    def collect(self) -> Iterator[Metric]:
        """The metrics of now. Takes milliseconds, more with many series."""
        counted, complete = self._files.collect()
        attach(counted, read_exemplars(self._folder))
        yield from counted
        yield from self._server()
        yield from self._lag.collect()
        yield from self._processes.collect()
        yield GaugeMetricFamily(WORKER_METRICS_COMPLETE.name, WORKER_METRICS_COMPLETE.meaning, complete)

    def _server(self) -> Iterator[Metric]:
        board = self._scoreboard
        states = [worker.state for worker in board.workers()]
        workers = GaugeMetricFamily(WORKERS.name, WORKERS.meaning, labels=WORKERS.labels)
        for state in (WorkerState.STARTING, WorkerState.READY, WorkerState.STOPPING):
            workers.add_metric([state.name.lower()], states.count(state))
        yield workers
        yield GaugeMetricFamily(DRAINING.name, DRAINING.meaning, board.draining)
        yield GaugeMetricFamily(SCHEMA_SEEN.name, SCHEMA_SEEN.meaning, board.schema_seen)
        if board.schema_seen:
            yield GaugeMetricFamily(SCHEMA_REVISION.name, SCHEMA_REVISION.meaning, board.schema_revision)
        yield CounterMetricFamily(WORKER_RESTARTS.name, WORKER_RESTARTS.meaning, board.restarts)
        build = GaugeMetricFamily(BUILD_INFO.name, BUILD_INFO.meaning, labels=BUILD_INFO.labels)
        build.add_metric([__version__, os.environ.get("GANTRY_REVISION", ""), platform.python_version()], 1)
        yield build
