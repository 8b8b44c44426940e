"""Metrics of one process. Values live in files when gunicorn has several workers (``PROMETHEUS_MULTIPROC_DIR``), in memory otherwise."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.core.limits import Verdict

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that have a label of their own; any other is ``OTHER``, since a client can invent them."""

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""


class Metrics:
    """What this process counts. Every label's values are bounded by the code: route templates, known methods, real statuses."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        """For a process on its own; with several, the admin process reads their files."""
        self._requests = Histogram(
            "gantry_http_request_duration_seconds",
            "Seconds from a request's first handling to its last byte, by route template.",
            ["route", "method", "status"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "gantry_http_requests_in_flight",
            "Requests being worked on.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._limited = Counter(
            "gantry_rate_limit_total",
            "Requests counted by the rate limiter, by result and by who counted.",
            ["result", "source"],
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], Histogram] = {}
        self._limited_children: dict[tuple[bool, str], Counter] = {}

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one finished request. Looking up a child by labels costs more than recording, so children are kept."""
        key = (route, method if method in METHODS else "OTHER", status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(*key)
        child.observe(seconds)

    def rate_limited(self, verdict: Verdict) -> None:
        """Count one decision of the limiter; the source ``failed_open`` says that the shared store was lost."""
        key = (verdict.allowed, verdict.source)
        child = self._limited_children.get(key)
        if child is None:
            child = self._limited_children[key] = self._limited.labels("allowed" if key[0] else "refused", key[1])
        child.inc()
