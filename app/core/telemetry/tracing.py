"""OpenTelemetry of one worker process: whether a request is recorded, and the spans of what is.

Most requests are not recorded, and for those OpenTelemetry's instrumentations cost more than all our own work: they make spans to throw
them away (see docs/performance.md). So it is decided before them, by the same rule (the caller's flag, else TraceIdRatioBased), and only
what is recorded passes through them. What follows in the same trace does as that decision says.
"""

import os
import platform
import random
import socket
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

os.environ.setdefault(
    "OTEL_SEMCONV_STABILITY_OPT_IN", "http,database"
)  # read once, when the first instrumentation is made

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes
from sqlalchemy.ext.asyncio import AsyncEngine

from app import __version__
from app.core.config import TracingSettings
from app.core.telemetry.spans import BoundedProcessor, LogExporter
from app.core.telemetry.trace_context import Parent

MAX_ATTRIBUTE: Final = 1024
"""Characters of an attribute's value: some are as long as a client likes."""

recorded_trace: Final[ContextVar[str | None]] = ContextVar("gantry_recorded_trace", default=None)
"""The trace that was chosen to be recorded here. Whatever begins without it, such as periodic work, is not."""


class _Chosen(Sampler):
    """Records what was chosen before OpenTelemetry was asked, and nothing else."""

    def should_sample(
        self,
        parent_context: otel_context.Context | None,
        trace_id: int,  # noqa: ARG002 - the SDK's signature
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,  # noqa: ARG002
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        chosen = recorded_trace.get() is not None
        state = trace.get_current_span(parent_context).get_span_context().trace_state
        return SamplingResult(Decision.RECORD_AND_SAMPLE if chosen else Decision.DROP, attributes, state)

    def get_description(self) -> str:
        return "Chosen"


class _ChosenIds(IdGenerator):
    """The chosen trace's id for the span that begins it."""

    def generate_span_id(self) -> int:
        return random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        chosen = recorded_trace.get()
        return int(chosen, 16) if chosen else random.getrandbits(128) or 1


class Tracing:
    """What a worker needs to record spans. Made after the fork: the thread that sends them would not survive it."""

    def __init__(self, settings: TracingSettings, exporter: SpanExporter | None = None) -> None:
        """``exporter`` stands in for the one that the settings name; for tests."""
        self.enabled: Final = settings.enabled
        self._honour_parent = settings.honour_parent
        self._ratio = settings.sample_ratio
        self._bound = TraceIdRatioBased(settings.sample_ratio).bound
        chosen = _Chosen()
        self.provider: Final = TracerProvider(
            sampler=ParentBased(chosen, remote_parent_sampled=chosen, remote_parent_not_sampled=chosen),
            resource=resource(),
            id_generator=_ChosenIds(),
            span_limits=SpanLimits(max_attribute_length=MAX_ATTRIBUTE),
            shutdown_on_exit=False,  # the lifespan does, in a bounded time
        )
        self.tracer: Final = self.provider.get_tracer("gantry", __version__)
        self._instrumented = False
        exporter = exporter or _exporter(settings)
        self.processor: Final = BoundedProcessor(exporter, settings) if exporter else None
        """Where spans go; nowhere without an endpoint."""
        if self.processor:
            self.provider.add_span_processor(self.processor)

    def records(self, parent: Parent | None, trace_id: str) -> bool:
        """Whether a request of this trace is recorded."""
        if parent is None:
            return int(trace_id[16:], 16) < self._bound
        if self._honour_parent:
            return parent.sampled
        return random.random() < self._ratio  # noqa: S311 - not by an id that the caller chose

    def instrument(self, engine: AsyncEngine) -> None:
        """Have SQLAlchemy's statements make spans, in recorded requests.

        The instrumentation says that it does not know SQLAlchemy 2.1, and would do nothing; a test sees that it works.
        """
        instrumentor = SQLAlchemyInstrumentor()
        if self.enabled and not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(engine=engine.sync_engine, tracer_provider=self.provider, skip_dep_check=True)
            self._instrumented = True

    def close(self) -> None:
        """Send the last spans. Blocks, for at most ``tracing.timeout`` seconds."""
        if self._instrumented:
            SQLAlchemyInstrumentor().uninstrument()
        self.provider.shutdown()


def resource() -> Resource:
    """Which process this is (OpenTelemetry's resource conventions); ``OTEL_RESOURCE_ATTRIBUTES`` adds to it and wins."""
    pod = os.environ.get("POD_NAME") or socket.gethostname()
    attributes: dict[str, str | int] = {
        "service.name": "gantry",
        "service.version": __version__,
        "service.instance.id": f"{pod}:{os.getpid()}",
        "process.pid": os.getpid(),
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
    }
    for name, variable in (
        ("k8s.pod.name", "POD_NAME"),
        ("k8s.namespace.name", "POD_NAMESPACE"),
        ("k8s.node.name", "NODE_NAME"),
    ):
        if value := os.environ.get(variable):
            attributes[name] = value
    return Resource.create({**attributes}).merge(OTELResourceDetector().detect())


def _exporter(settings: TracingSettings) -> SpanExporter | None:
    if settings.console:
        return LogExporter()
    if settings.endpoint is None:
        return None
    return OTLPSpanExporter(
        endpoint=f"{settings.endpoint.rstrip('/')}/v1/traces",
        headers={name: value.get_secret_value() for name, value in settings.headers.items()},
        timeout=settings.timeout,
    )
