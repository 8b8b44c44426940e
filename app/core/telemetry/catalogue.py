"""Every metric of Gantry: its name, kind and labels, what it means, and a question that it answers.

Metrics are made from here (``Spec.counter`` and the like), and docs/observability.md is written from here, so that neither can say
what the other does not. Names follow Prometheus' conventions: base units, ``_total`` for counters.
"""

from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Buckets of times, narrow around what a service level of this API would ask for."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric."""

    name: str
    """As it is exposed, ``_total`` included."""
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    question: str
    """Of an SRE, with the query that answers it."""
    labels: tuple[str, ...] = ()
    unit: str = ""
    """Of the value; empty for a count."""
    buckets: tuple[float, ...] = SECONDS

    def counter(self, registry: CollectorRegistry) -> Counter:
        """The metric, for one process."""
        return Counter(self.name.removesuffix("_total"), self.meaning, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """The metric, for one process; over processes it is the sum of those that live."""
        return Gauge(self.name, self.meaning, self.labels, registry=registry, multiprocess_mode="livesum")

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """The metric, for one process."""
        return Histogram(self.name, self.meaning, self.labels, registry=registry, buckets=self.buckets)


# --- The server, by the admin process ---------------------------------------------------------------------------------
WORKERS: Final = Spec(
    "gantry_workers",
    "gauge",
    "Worker processes, by state: starting, ready, stopping.",
    'Are all workers there? `sum by (pod) (gantry_workers{state="ready"})`',
    ("state",),
)
WORKER_RESTARTS: Final = Spec(
    "gantry_worker_restarts_total",
    "counter",
    "Workers that ended although nobody stopped the server, and were replaced.",
    "Do workers crash or hang? `increase(gantry_worker_restarts_total[1h])`",
)
DRAINING: Final = Spec(
    "gantry_draining",
    "gauge",
    "1 while the server drains or stops.",
    "Which pods are on their way out? `gantry_draining == 1`",
)
SCHEMA_SEEN: Final = Spec(
    "gantry_schema_seen",
    "gauge",
    "1 once the database's schema was found usable.",
    "Does a pod wait for a migration? `gantry_schema_seen == 0`",
)
WORKER_METRICS_COMPLETE: Final = Spec(
    "gantry_worker_metrics_complete",
    "gauge",
    "0 when what workers counted can't be read.",
    "Can these numbers be trusted? `min(gantry_worker_metrics_complete)`",
)

# --- Logs, by every process -------------------------------------------------------------------------------------------
LOG_LINES_DROPPED: Final = Spec(
    "gantry_log_lines_dropped_total",
    "counter",
    "Log lines that were not written, because standard output took none and the buffer was full, or it is gone.",
    "Is the log complete? `sum by (pod) (increase(gantry_log_lines_dropped_total[1h]))`",
)

SERVER_METRICS: Final = (WORKERS, WORKER_RESTARTS, DRAINING, SCHEMA_SEEN, WORKER_METRICS_COMPLETE)
"""Collected by ``app.core.server.metrics``."""
