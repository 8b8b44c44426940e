"""The application: ``create_app(settings)`` puts together what the packages below ``app`` define."""

from typing import Any

from fastapi import FastAPI
from opentelemetry.sdk.trace.export import SpanExporter

from app import __version__
from app.api import root
from app.api.docs import docs_router
from app.api.error_handlers import install_error_handlers
from app.api.lifespan import lifespan
from app.api.middleware import install_middleware
from app.api.openapi import install_openapi, operation_id
from app.api.tracing import install_tracing
from app.api.v1 import api as v1
from app.core.config import Settings
from app.core.loading import load_settings
from app.core.status import LocalStatus, ProcessStatus
from app.core.telemetry.metrics import Metrics
from app.core.telemetry.tracing import Tracing


def create_app(
    settings: Settings, status: ProcessStatus | None = None, span_exporter: SpanExporter | None = None
) -> FastAPI:
    """The ASGI application. ``status`` is how the process tells the server around it about itself; alone, it tells nobody.

    ``span_exporter`` stands in for the one that the settings name; for tests.
    """
    status = status or LocalStatus()
    metrics = Metrics(settings.metrics, status.exemplars_file if settings.tracing.sends else None)
    tracing = Tracing(settings.tracing, span_exporter)
    app = FastAPI(
        title="Gantry",
        version=__version__,
        lifespan=lifespan(settings, status, metrics, tracing),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=operation_id,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours is app.api.tracing
    )
    for router in (*v1.ROUTERS, root.router, docs_router(settings)):
        app.include_router(router)
    install_error_handlers(app)
    install_middleware(app, settings.http, status, metrics, log_requests=settings.log.requests)
    install_openapi(app, settings.http)
    install_tracing(app, tracing)
    app.state.tracing = tracing
    return app


def __getattr__(name: str) -> Any:
    """``app.main:app`` for servers that want an object: made when it is asked for, so that an import reads no settings."""
    if name == "app":
        return create_app(load_settings())
    raise AttributeError(name)
