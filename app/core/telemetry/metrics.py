"""What one worker process counts. Values live in files when gunicorn has several workers (``PROMETHEUS_MULTIPROC_DIR``), else in memory.

Requests are measured by the functions of prometheus-fastapi-instrumentator, which define names, labels and what is read of a request.
Its middleware is ours (``app.api.middleware.observation``): it would look for the route a second time, and make a request and a
response object for each request; see docs/performance.md for what that costs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_fastapi_instrumentator import metrics as instrumentator

from app.core.config import MetricsSettings
from app.core.limits import Verdict
from app.core.logging import dropped_lines
from app.core.pool import Waiters
from app.core.telemetry.catalogue import (
    DATABASE_FAILURES,
    IDEMPOTENCY,
    IN_FLIGHT,
    LOG_LINES_DROPPED,
    POOL_CONNECTIONS,
    POOL_WAIT,
    RATE_LIMIT,
    REQUEST_DURATION,
    REQUEST_SIZE,
    RESPONSE_SIZE,
    SPANS,
    WAITING_FOR_DATABASE,
)
from app.core.telemetry.exemplars import Exemplars

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that have a label of their own; any other is ``OTHER``, since a client can invent them."""

type Observe = Callable[[instrumentator.Info], None]


type IdempotencyResult = Literal["first", "replayed", "in_progress", "reused"]
type DatabaseFailure = Literal["unreachable", "exhausted", "contended"]
type PoolState = tuple[int, int]
"""Connections in use, and idle ones."""


class SpanTotals(Protocol):
    """What became of spans, since the process started."""

    @property
    def sent(self) -> int:
        """Taken by the collector."""

    @property
    def failed(self) -> int:
        """Not taken."""

    @property
    def dropped(self) -> int:
        """Without room in the queue."""


class _Message(NamedTuple):
    """What the instrumentator's functions read of a request and of a response: the length of its body, by the header's name."""

    headers: dict[str, int]


class Metrics:
    """What this process counts. Every label's values are bounded by the code: route templates, known methods, real statuses."""

    def __init__(self, settings: MetricsSettings, exemplars_file: Path | None = None) -> None:
        """``exemplars_file`` is where the process that shows the metrics looks for exemplars."""
        self.enabled: Final = settings.enabled
        self.exemplars: Final = Exemplars(exemplars_file if settings.enabled and settings.exemplars else None)
        self.registry: Final = CollectorRegistry()
        """For a process on its own; with several, the admin process reads their files."""
        self.in_flight = 0
        """Requests that have begun and not ended."""
        self.waits: list[Waiters] = []
        """What waits for a connection of the pool, for one request or many."""
        if not self.enabled:
            return
        self._duration = REQUEST_DURATION.histogram(self.registry)
        self._duration_children: dict[tuple[str, str, str], Histogram] = {}
        self._observe_request_size = _made(
            instrumentator.request_size(
                REQUEST_SIZE.name, REQUEST_SIZE.meaning, should_include_status=False, registry=self.registry
            )
        )
        self._observe_response_size = _made(
            instrumentator.response_size(
                RESPONSE_SIZE.name, RESPONSE_SIZE.meaning, should_include_status=False, registry=self.registry
            )
        )
        self._in_flight = IN_FLIGHT.gauge(self.registry)
        self._waiting = WAITING_FOR_DATABASE.gauge(self.registry)
        self._pool_connections = POOL_CONNECTIONS.gauge(self.registry)
        self._pool_wait = POOL_WAIT.histogram(self.registry)
        self._failures = DATABASE_FAILURES.counter(self.registry)
        self._idempotency = IDEMPOTENCY.counter(self.registry)
        self._limited = RATE_LIMIT.counter(self.registry)
        self._limited_children: dict[tuple[str, bool, str], Counter] = {}
        self._totals = Totals()
        self._spans = SPANS.counter(self.registry)
        self._lines_dropped = LOG_LINES_DROPPED.counter(self.registry)

    def observe_request(
        self, method: str, route: str, status: int, seconds: float, received: int, sent: int, trace_id: str = ""
    ) -> None:
        """Record one finished request; ``received`` and ``sent`` are bytes of bodies, ``trace_id`` that of a request that is recorded."""
        if not self.enabled:
            return
        info = instrumentator.Info(
            _Message({"Content-Length": received}),  # type: ignore[arg-type]  # all that is read of a request
            _Message({"Content-Length": sent}),  # type: ignore[arg-type]
            bounded_method(method),
            route,
            str(status),
            seconds,
        )
        self._observe_duration(info)
        self._observe_response_size(info)
        if received:
            self._observe_request_size(info)
        if trace_id:
            labels = (("handler", route), ("method", info.method), ("status", info.modified_status))
            self.exemplars.note(REQUEST_DURATION.name, labels, seconds, trace_id)

    def _observe_duration(self, info: instrumentator.Info) -> None:
        # What instrumentator.latency() does, but for looking the labels up each time: that costs more than the measurement.
        key = (info.modified_handler, info.method, info.modified_status)
        child = self._duration_children.get(key)
        if child is None:
            child = self._duration_children[key] = self._duration.labels(*key)
        child.observe(info.modified_duration)

    def rate_limited(self, verdict: Verdict) -> None:
        """Count one decision of the limiter; the source ``failed_open`` says that the shared store was lost."""
        if not self.enabled:
            return
        key = (verdict.policy.name, verdict.allowed, verdict.source)
        child = self._limited_children.get(key)
        if child is None:
            result = "allowed" if verdict.allowed else "refused"
            child = self._limited_children[key] = self._limited.labels(verdict.policy.name, result, verdict.source)
        child.inc()

    def retried(self, result: IdempotencyResult) -> None:
        """Count one request with an ``Idempotency-Key``."""
        if self.enabled:
            self._idempotency.labels(result).inc()

    def database_failed(self, cause: DatabaseFailure) -> None:
        """Count one request that was answered 503."""
        if self.enabled:
            self._failures.labels(cause).inc()

    def pool_gave(self, seconds: float) -> None:
        """Record how long a connection of the pool took to get."""
        if self.enabled:
            self._pool_wait.observe(seconds)

    def publish(self, pool: PoolState, spans: SpanTotals | None) -> None:
        """Bring up to date what is not counted as it happens; called some times a second.

        A gauge is looked at when Prometheus scrapes it: to write it for each request would cost more than to measure the request.
        """
        if not self.enabled:
            return
        waiting = sum(waiters.requests for waiters in self.waits)
        self._waiting.set(waiting)
        self._in_flight.set(max(0, self.in_flight - waiting))
        in_use, idle = pool
        self._pool_connections.labels("in_use").set(in_use)
        self._pool_connections.labels("idle").set(idle)
        self._totals.advance(self._lines_dropped, "lines", dropped_lines())
        if spans is not None:
            for result, total in (("sent", spans.sent), ("failed", spans.failed), ("dropped", spans.dropped)):
                self._totals.advance(self._spans.labels(result), result, total)


class Totals:
    """Counters of what somebody else counts: they are advanced by what came since the last look."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def advance(self, counter: Counter, name: str, total: int) -> None:
        """``total`` of ``name`` so far, in this process."""
        counter.inc(max(0, total - self._seen.get(name, 0)))
        self._seen[name] = total


def bounded_method(method: str) -> str:
    """The method as a label."""
    return method if method in METHODS else "OTHER"


def _made(observe: Observe | None) -> Observe:
    if observe is None:
        raise ValueError("the registry has a metric of this name already")
    return observe
