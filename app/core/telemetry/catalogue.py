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
    kind: Literal["counter", "gauge", "histogram", "summary"]
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


# --- Requests, by each worker -----------------------------------------------------------------------------------------
_REQUEST = ("handler", "method")
REQUEST_DURATION: Final = Spec(
    "gantry_http_request_duration_seconds",
    "histogram",
    "Seconds from a request's first handling to its last byte.",
    "Which route is slow? `histogram_quantile(0.99, sum by (handler, le) (rate(gantry_http_request_duration_seconds_bucket[5m])))`",
    (*_REQUEST, "status"),
    "seconds",
)
REQUEST_SIZE: Final = Spec(
    "gantry_http_request_size_bytes",
    "summary",
    "Bytes of request bodies as they were read; requests without one are not counted.",
    "Who sends much? `sum by (handler) (rate(gantry_http_request_size_bytes_sum[5m]))`",
    _REQUEST,
    "bytes",
)
RESPONSE_SIZE: Final = Spec(
    "gantry_http_response_size_bytes",
    "summary",
    "Bytes of response bodies as they were sent.",
    "What fills the network? `topk(5, sum by (handler) (rate(gantry_http_response_size_bytes_sum[5m])))`",
    _REQUEST,
    "bytes",
)
IN_FLIGHT: Final = Spec(
    "gantry_http_requests_in_flight",
    "gauge",
    "Requests being worked on, those left out that only wait for a connection to the database.",
    "How busy is each pod, as the autoscaler sees it? `gantry_http_requests_in_flight`",
)
WAITING_FOR_DATABASE: Final = Spec(
    "gantry_http_requests_waiting_for_database",
    "gauge",
    "Requests that wait for a connection of the worker's pool: more pods would only make more of them.",
    "Is the database the bottleneck? `sum(gantry_http_requests_waiting_for_database) > 0`",
)
RATE_LIMIT: Final = Spec(
    "gantry_rate_limit_total",
    "counter",
    "Requests counted by the rate limiter, by policy, result (allowed, refused) and by who counted: shared; local (no store is "
    "configured); failed_open (the store is lost).",
    'Is the shared store lost? `sum(rate(gantry_rate_limit_total{source="failed_open"}[1m])) > 0`',
    ("policy", "result", "source"),
)
IDEMPOTENCY: Final = Spec(
    "gantry_idempotency_total",
    "counter",
    "Requests with an Idempotency-Key, by result: first (executed), replayed, in_progress (409), reused (422: another payload).",
    'Do clients retry a lot? `sum(rate(gantry_idempotency_total{result="replayed"}[5m]))`',
    ("result",),
)

REQUEST_METRICS: Final = (
    REQUEST_DURATION,
    REQUEST_SIZE,
    RESPONSE_SIZE,
    IN_FLIGHT,
    WAITING_FOR_DATABASE,
    RATE_LIMIT,
    IDEMPOTENCY,
)

# --- The database, by each worker -------------------------------------------------------------------------------------
POOL_CONNECTIONS: Final = Spec(
    "gantry_database_pool_connections",
    "gauge",
    "Connections of the workers' pools, by state: in_use, idle.",
    'Are the pools used up? `sum by (pod) (gantry_database_pool_connections{state="in_use"})`',
    ("state",),
)
POOL_WAIT: Final = Spec(
    "gantry_database_pool_wait_seconds",
    "histogram",
    "Seconds until the pool gave a connection, or gave up.",
    "How long do statements wait? `histogram_quantile(0.99, sum by (le) (rate(gantry_database_pool_wait_seconds_bucket[5m])))`",
    (),
    "seconds",
)
DATABASE_FAILURES: Final = Spec(
    "gantry_database_failures_total",
    "counter",
    "Requests answered 503 for the database's sake, by cause: unreachable, exhausted (no connection of the pool became free), contended.",
    'Is PostgreSQL lost? `sum(rate(gantry_database_failures_total{cause="unreachable"}[1m])) > 0`',
    ("cause",),
)

DATABASE_METRICS: Final = (POOL_CONNECTIONS, POOL_WAIT, DATABASE_FAILURES)

# --- The signals themselves, by each worker ---------------------------------------------------------------------------
SPANS: Final = Spec(
    "gantry_spans_total",
    "counter",
    "Spans that ended, by what became of them: sent, failed (the collector did not take them), dropped (no room in the queue).",
    'Are traces complete? `sum(rate(gantry_spans_total{result!="sent"}[5m]))`',
    ("result",),
)

LOG_LINES_DROPPED: Final = Spec(
    "gantry_log_lines_dropped_total",
    "counter",
    "Log lines that were not written, because standard output took none and the buffer was full, or it is gone.",
    "Is the log complete? `sum by (pod) (increase(gantry_log_lines_dropped_total[1h]))`",
)

SIGNAL_METRICS: Final = (SPANS, LOG_LINES_DROPPED)

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

GROUPS: Final = {
    "Requests": REQUEST_METRICS,
    "The database": DATABASE_METRICS,
    "The signals themselves": SIGNAL_METRICS,
    "The workers' processes": WORKER_METRICS,
    "The server": SERVER_METRICS,
}
"""All of them, as docs/observability.md shows them."""
