"""From exceptions to problem documents: FastAPI's and Starlette's own, the services' refusals, and a database that can't be reached."""

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from psycopg import errors as pg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from app.api.catalogue import CATALOGUE
from app.api.context import Process
from app.api.problems import ProblemException, invalid, problem_response
from app.core.telemetry.metrics import DatabaseFailure
from app.services.errors import FieldInvalid, ServiceError

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.error")

UNAVAILABLE = ProblemException(
    "service-unavailable", "The database can't be reached just now.", headers={"Retry-After": "2"}
)
EXHAUSTED = ProblemException("service-unavailable", "All database connections are taken.", headers={"Retry-After": "1"})
CONTENDED = ProblemException("service-unavailable", "Others are changing the same rows.", headers={"Retry-After": "1"})

LOST = (psycopg.OperationalError, psycopg.InterfaceError, pg.ReadOnlySqlTransaction)
"""Nobody answers, or while a failover is under way, a standby does."""


def install_error_handlers(app: FastAPI) -> None:
    """Register a handler for each kind of exception that may leave an endpoint."""
    handlers: Mapping[type[Exception], Any] = {
        ProblemException: _problem,
        ServiceError: _refused,
        RequestValidationError: _invalid,
        HTTPException: _framework,
        PoolTimeout: _exhausted,
        DBAPIError: _database,
        psycopg.Error: _database,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _problem(request: Request, error: ProblemException) -> Response:
    return problem_response(request.scope, error)


async def _refused(request: Request, error: ServiceError) -> Response:
    if isinstance(error, FieldInvalid):
        return problem_response(request.scope, invalid(error.part, error.pointer, str(error)))
    headers = {"Retry-After": "1"} if error.retry else {}
    return problem_response(request.scope, ProblemException(error.problem, str(error), headers=headers))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    entries = [_entry(e["loc"], e["msg"]) for e in error.errors()]
    if any(entry["in"] == "path" for entry in entries):
        # What is no id names no resource.
        return problem_response(request.scope, ProblemException("not-found", "There is no such resource."))
    problem = ProblemException("validation-failed", "The request has invalid values.", errors=entries)
    return problem_response(request.scope, problem)


def _entry(location: tuple[int | str, ...], message: str) -> dict[str, str]:
    part, *path = location
    text = message.removeprefix("Value error, ")
    return {"in": str(part), "pointer": _pointer(path), "detail": text[0].lower() + text[1:]}


def _pointer(path: Iterable[int | str]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


async def _framework(request: Request, error: HTTPException) -> Response:
    match error.status_code:
        case 404:
            problem = ProblemException("not-found", "Nothing is at this path.")
        case 405:
            allowed = allowed_methods(request.app.routes, request.scope["path"])
            problem = ProblemException(
                "method-not-allowed", f"Allowed here: {', '.join(allowed)}.", headers={"Allow": ", ".join(allowed)}
            )
        case status:
            known = [slug for slug, kind in CATALOGUE.items() if kind.status == status]
            problem = ProblemException(known[0] if known else "internal-error", "The request could not be handled.")
    return problem_response(request.scope, problem)


def allowed_methods(routes: Iterable[BaseRoute], path: str) -> list[str]:
    """All methods that some route has for the path; the framework names those of the first route alone."""
    methods: set[str] = set()
    for route in iter_route_contexts(list(routes)):
        if route.path_regex.match(path):
            methods |= route.methods or set()
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


def _count(request: Request, cause: DatabaseFailure) -> None:
    process: Process = request.scope["state"]["process"]
    process.metrics.database_failed(cause)


async def _exhausted(request: Request, error: Exception) -> Response:  # noqa: ARG001 - a handler's signature
    _count(request, "exhausted")
    return problem_response(request.scope, EXHAUSTED)


async def _database(request: Request, error: Exception) -> Response:
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, (pg.DeadlockDetected, pg.SerializationFailure, pg.LockNotAvailable)):
        _count(request, "contended")
        return problem_response(request.scope, CONTENDED)
    if isinstance(cause, LOST):
        _count(request, "unreachable")
        log.warning("database_unreachable", request_id=request.scope["state"]["request_id"], error=type(cause).__name__)
        return problem_response(request.scope, UNAVAILABLE)
    raise error
