"""Middleware, all pure ASGI, and its order.

| from the outside in | why there                                                                                       |
|---------------------|-------------------------------------------------------------------------------------------------|
| Identity            | everything further in, and the log line, needs the request id and the client's address          |
| Observation         | logs and measures whatever happens further in, and with the method that the client sent         |
| ResponseHeaders     | every answer gets them, problems of the other layers included                                   |
| Cors                | a browser must be able to read problems too, so it stands around what raises them               |
| ErrorBoundary       | all below may raise; it is the one place that answers                                           |
| Deadline            | bounds the time of everything below                                                             |
| RequestLimits       | refuses by line and headers, before anything is read                                            |
| Paths               | from here on the router's view: one spelling of a path, GET for HEAD                            |
| BodyLimit           | bounds what the routes read                                                                     |
"""

from fastapi import FastAPI
from starlette.middleware import Middleware

from app.api.middleware.body import BodyLimit
from app.api.middleware.cors import Cors
from app.api.middleware.deadline import Deadline
from app.api.middleware.errors import ErrorBoundary
from app.api.middleware.identity import Identity
from app.api.middleware.observation import Observation
from app.api.middleware.paths import Paths
from app.api.middleware.request_limits import RequestLimits
from app.api.middleware.response_headers import ResponseHeaders
from app.core.config import HttpSettings
from app.core.status import ProcessStatus
from app.core.telemetry.metrics import Metrics


def install_middleware(
    app: FastAPI, settings: HttpSettings, status: ProcessStatus, metrics: Metrics, *, log_requests: bool
) -> None:
    """Put the layers around the application, in the order of the table above."""
    app.user_middleware = [
        Middleware(Identity, settings.trusted_proxies),
        Middleware(Observation, metrics, log_requests=log_requests),
        Middleware(ResponseHeaders, hsts_seconds=settings.hsts_seconds, status=status),
        Middleware(Cors, settings),
        Middleware(ErrorBoundary),
        Middleware(Deadline, settings.deadline),
        Middleware(RequestLimits, settings),
        Middleware(Paths),
        Middleware(BodyLimit, settings),
    ]
