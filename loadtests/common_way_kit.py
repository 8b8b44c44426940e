"""``common_way_async`` with what is usually put around it: OpenTelemetry's instrumentation, the instrumentator, a log line by structlog.

All with their defaults, at a tenth of the traces. The middleware that logs is plain ASGI, which is the cheap way to write one:
``@app.middleware("http")``, the usual one, would cost more.
"""

import logging
import os
import sys
import time

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loadtests.common_way_async import app, engine

SAMPLE_RATIO = 0.1

log = structlog.stdlib.get_logger("request")


class LogRequests:
    """One line for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        structlog.contextvars.clear_contextvars()
        try:
            await self.app(scope, receive, observe)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round((time.perf_counter() - started) * 1000, 2),
                client=scope["client"][0],
            )


def configure_logging() -> None:
    """As structlog's documentation does beside the standard library: one formatter renders both's lines as JSON."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.dict_tracebacks,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def configure_tracing() -> TracerProvider:
    """Spans of a tenth of the traces, sent in batches."""
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(SAMPLE_RATIO)), resource=Resource.create({"service.name": "common-way"})
    )
    exporter = OTLPSpanExporter(endpoint=f"{os.environ['COMMON_WAY_COLLECTOR']}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


configure_logging()
tracer_provider = configure_tracing()
app.add_middleware(LogRequests)
Instrumentator().instrument(app)
FastAPIInstrumentor.instrument_app(app, tracer_provider=tracer_provider)
SQLAlchemyInstrumentor().instrument(
    engine=engine.sync_engine,
    tracer_provider=tracer_provider,
    skip_dep_check=True,  # it does not know SQLAlchemy 2.1 yet, and works
)
