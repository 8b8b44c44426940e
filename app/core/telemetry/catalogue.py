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
    "0 when a part of what workers counted can't be read, or was lost that way.",
    "Can these numbers be trusted? `min(gantry_worker_metrics_complete)`",
)

SCHEMA_REVISION: Final = Spec(
    "gantry_schema_revision",
    "gauge",
    "Revision of the database's schema that was found usable last; absent before.",
    'Do all pods see the same schema? `count by (job) (count_values by (job) ("revision", gantry_schema_revision))`',
)
BUILD_INFO: Final = Spec(
    "gantry_build_info",
    "gauge",
    "Always 1; what runs is in the labels.",
    "Which versions run? `count by (version, revision) (gantry_build_info)`",
    ("version", "revision", "python"),
)
SNAPSHOT_AGE: Final = Spec(
    "gantry_metrics_snapshot_age_seconds",
    "gauge",
    "How old the other numbers of this page were when it was sent.",
    "Are the numbers current? `max(gantry_metrics_snapshot_age_seconds)`",
    unit="seconds",
)
RENDER_SECONDS: Final = Spec(
    "gantry_metrics_render_seconds",
    "gauge",
    "What collecting and writing this page took, in the background.",
    "Does it take too long, as with too many series? `max by (pod) (gantry_metrics_render_seconds)`",
    unit="seconds",
)
SERIES: Final = Spec(
    "gantry_metrics_series",
    "gauge",
    "Samples on this page.",
    "Is the number of series bounded? `max(gantry_metrics_series)`",
)
EVENT_LOOP_LAG: Final = Spec(
    "gantry_event_loop_lag_seconds",
    "histogram",
    "How late workers' event loops are, sampled ten times a second from outside: one that is stuck counts while it is.",
    "Do requests wait for a busy loop? `histogram_quantile(0.99, sum by (le) (rate(gantry_event_loop_lag_seconds_bucket[5m])))`",
    unit="seconds",
    buckets=SECONDS[:-1],
)
EVENT_LOOP_STALLED: Final = Spec(
    "gantry_event_loop_stalled_seconds",
    "gauge",
    "For how long the worker that has been silent longest is overdue at this moment.",
    "Is a worker stuck right now? `max by (pod) (gantry_event_loop_stalled_seconds) > 1`",
    unit="seconds",
)
PROCESS_CPU: Final = Spec(
    "gantry_process_cpu_seconds_total",
    "counter",
    "CPU time of the server's processes, those that are gone included; process: arbiter, worker (all of them), admin.",
    "What do workers use, and what the rest? `sum by (process) (rate(gantry_process_cpu_seconds_total[5m]))`",
    ("process",),
    unit="seconds",
)
PROCESS_MEMORY: Final = Spec(
    "gantry_process_resident_memory_bytes",
    "gauge",
    "Resident memory; pages that processes share count in each.",
    'Do workers leak? `max by (pod) (gantry_process_resident_memory_bytes{process="worker"})`',
    ("process",),
    unit="bytes",
)
PROCESS_FDS: Final = Spec(
    "gantry_process_open_fds",
    "gauge",
    "Open file descriptors.",
    'Do workers leak connections? `max by (pod) (gantry_process_open_fds{process="worker"})`',
    ("process",),
)
PROCESS_THREADS: Final = Spec(
    "gantry_process_threads",
    "gauge",
    "Threads.",
    "Does something start threads without end? `max by (pod, process) (gantry_process_threads)`",
    ("process",),
)
PROCESS_START: Final = Spec(
    "gantry_process_start_time_seconds",
    "gauge",
    "When the server started (Unix time).",
    "How long has a pod's server been up? `time() - gantry_process_start_time_seconds`",
    unit="seconds",
)

SERVER_METRICS: Final = (
    WORKERS,
    WORKER_RESTARTS,
    DRAINING,
    SCHEMA_SEEN,
    SCHEMA_REVISION,
    WORKER_METRICS_COMPLETE,
    BUILD_INFO,
    SNAPSHOT_AGE,
    RENDER_SECONDS,
    SERIES,
    EVENT_LOOP_LAG,
    EVENT_LOOP_STALLED,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_FDS,
    PROCESS_THREADS,
    PROCESS_START,
)
"""Collected by the admin process: ``app.core.server``."""

# --- The worker's process ---------------------------------------------------------------------------------------------
GC_PAUSES: Final = Spec(
    "gantry_gc_pauses_total",
    "counter",
    "Runs of Python's cyclic garbage collector in workers, by generation.",
    'Are full collections rare? `sum by (pod) (rate(gantry_gc_pauses_total{generation="2"}[5m]))`',
    ("generation",),
)
GC_PAUSE_SECONDS: Final = Spec(
    "gantry_gc_pause_seconds_total",
    "counter",
    "Seconds that workers stood still for them.",
    "Which part of the time goes to them? `sum by (generation) (rate(gantry_gc_pause_seconds_total[5m]))`",
    ("generation",),
    unit="seconds",
)

WORKER_METRICS: Final = (GC_PAUSES, GC_PAUSE_SECONDS)
"""Counted by ``app.core.telemetry.garbage``."""
