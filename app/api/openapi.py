"""The description of the API (OpenAPI 3.1): FastAPI's, completed from what each route declares.

What a route can answer follows from its access, its method and its parameters; it is derived here once for all routes, so that no endpoint
lists its errors by hand, and none forgets one.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from app import __version__
from app.api.access import ANY_KEY, PUBLIC, Access
from app.api.catalogue import CATALOGUE
from app.api.docs.examples import example_problem
from app.api.problems import MEDIA_TYPE, Problem
from app.api.routing import JSON, MERGE_PATCH, Route
from app.core.config import HttpSettings

SECURITY_SCHEME: Final = "ApiKey"

DESCRIPTION: Final = """
Users, items and the keys to reach them. [The guide](/docs/guide) says how pages, versions, safe retries and errors work;
[each problem](/docs/problems) has a page.
"""

TAGS: Final = [
    {"name": "users", "description": "People known to the API."},
    {"name": "items", "description": "Things that users may own."},
    {"name": "api-keys", "description": "Keys to call this API with. `keys:admin` is every scope in effect."},
    {"name": "examples", "description": "The smallest examples: a limited route, a protected one."},
    {"name": "root", "description": "Where things are."},
]

type Document = dict[str, Any]


def _header(description: str, example: str) -> Document:
    return {"description": description, "schema": {"type": "string"}, "example": example}


HEADERS: Final[Document] = {
    "X-Trace-ID": _header("The trace the request belongs to (W3C Trace Context).", "4bf92f3577b34da6a3ce929d0e0e4736"),
    "X-Request-ID": _header("The request's id, for questions about it.", "8f14e45fceea467a9b2c1d3e5f607182"),
    "Cache-Control": _header(
        "What may be kept: nothing, or one's own resource after asking (`private, no-cache`).", "private, no-cache"
    ),
    "RateLimit-Policy": _header(
        "The limit: `q` requests in `w` seconds (draft-ietf-httpapi-ratelimit-headers).", '"default";q=600;w=60'
    ),
    "RateLimit": _header("What is left: `r` requests, and `t` seconds until all are back.", '"default";r=599;t=60'),
    "ETag": _header("The version, strong (RFC 9110).", '"7"'),
    "Location": _header("The address of what was made.", "/api/v1/users/42"),
    "Link": _header(
        'The address of the next page, `rel="next"` (RFC 8288); absent on the last.',
        '</api/v1/users?cursor=...>; rel="next"',
    ),
    "Idempotent-Replayed": _header(
        "`true` when this is the answer to an earlier request with the same Idempotency-Key.", "true"
    ),
    "Content-Disposition": _header("The file's name.", 'attachment; filename="items.csv"'),
    "Retry-After": _header("Seconds to wait.", "1"),
    "WWW-Authenticate": _header("How to authenticate.", 'ApiKey realm="gantry", header="X-API-Key"'),
    "Allow": _header("The methods that exist here.", "GET, HEAD, POST"),
    "Accept-Post": _header("Media types that are read.", JSON),
    "Accept-Patch": _header("Media types that are read.", f"{MERGE_PATCH}, {JSON}"),
}

PROBLEM_HEADERS: Final = {401: ["WWW-Authenticate"], 405: ["Allow"], 429: ["Retry-After"], 503: ["Retry-After"]}

PARAMETERS: Final[Document] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes a retry safe: the same key and payload get the first answer again, for 24 hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        "examples": {"uuid": {"value": "0b9fa6d2-2f0c-4d5b-9a3b-4d5e6f708192"}},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "Change only these versions, or `*` any; otherwise 412.",
        "schema": {"type": "string"},
        "examples": {"version": {"value": '"7"'}},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "Answer 304 when the version is one of these.",
        "schema": {"type": "string"},
        "examples": {"version": {"value": '"7"'}},
    },
}


def operation_id(route: APIRoute) -> str:
    """An operation's id: its function's name, which says what it does and does not change with the path."""
    return route.name


def install_openapi(app: FastAPI, settings: HttpSettings) -> None:
    """Replace the application's own description by ours, made at first use."""

    def describe() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = build_openapi(app, settings)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's documented way


def openapi_bytes(app: FastAPI) -> bytes:
    """The document as it is served, made once for an application."""
    if not hasattr(app.state, "openapi"):
        app.state.openapi = json.dumps(app.openapi(), separators=(",", ":")).encode()
    return cast(bytes, app.state.openapi)


def build_openapi(app: FastAPI, settings: HttpSettings) -> Document:
    """The whole document."""
    # The address the page was read from comes first: the viewers may call no other.
    servers = [{"url": "/"}, {"url": settings.public_url}] if settings.public_url else None
    document = get_openapi(
        title="Gantry",
        version=__version__,
        description=DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        servers=servers,
    )
    for route, operation in _operations(app, document):
        _complete(route, operation)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs") | {"Problem": problem}
    components["securitySchemes"] = {
        SECURITY_SCHEME: {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "`gantry keys create` makes the first one.",
        }
    }
    components["headers"] = HEADERS
    components["parameters"] = PARAMETERS
    components["responses"] = {f"Problem{status}": _problem(status) for status in _statuses()}
    return document


def _operations(app: FastAPI, document: Document) -> Iterator[tuple[RouteContext, Document]]:
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                yield route, operation


def _complete(route: RouteContext, operation: Document) -> None:
    original = route.original_route
    if not isinstance(original, Route):
        raise TypeError(f"{route.path} is no route of ours: make it with app.api.routing.router")
    declared = original.access
    (method,) = route.methods or {"GET"}
    operation["security"] = _security(declared)
    if declared.audience not in (PUBLIC, ANY_KEY):
        operation["description"] = f"{operation.get('description', '')}\n\nScope: `{declared.audience.value}`."
    parameters = operation.setdefault("parameters", [])
    success, answer = next((s, a) for s, a in operation["responses"].items() if s.startswith("2"))
    names = ["X-Request-ID", "X-Trace-ID", "Cache-Control"]
    if declared.limit is not None:
        names += ["RateLimit-Policy", "RateLimit"]
    names += _own_headers(method, success, route)
    answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    for name in _conditions(method, names):
        parameters.append({"$ref": f"#/components/parameters/{name}"})
    if "ETag" in names and method == "GET":
        operation["responses"]["304"] = {"description": "The client has this version.", "headers": answer["headers"]}
    if method == "PATCH":
        content = operation["requestBody"]["content"]
        content[MERGE_PATCH] = content[JSON]
    operation["responses"].pop("422", None)
    for status in _refusals(method, declared, operation, route):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    if not parameters:
        del operation["parameters"]


def _security(declared: Access) -> list[dict[str, list[str]]]:
    if declared.audience is PUBLIC:
        return []
    return [{SECURITY_SCHEME: [] if declared.audience is ANY_KEY else [declared.audience.value]}]


def _own_headers(method: str, success: str, route: RouteContext) -> list[str]:
    path = route.path_format or ""
    if success == "201":
        return ["Location", "ETag", "Idempotent-Replayed"]
    if path.endswith("}") and method in ("GET", "PATCH"):
        return ["ETag"]
    if method == "GET" and route.endpoint is not None and route.endpoint.__name__.startswith("list_"):
        return ["Link"]
    if path.endswith("/export"):
        return ["Content-Disposition"]
    return []


def _conditions(method: str, names: list[str]) -> list[str]:
    if method == "POST":
        return ["IdempotencyKey"]
    if method in ("PATCH", "DELETE"):
        return ["IfMatch"]
    return ["IfNoneMatch"] if "ETag" in names else []


def _refusals(method: str, declared: Access, operation: Document, route: RouteContext) -> list[int]:
    statuses = {400, 414, 431, 500, 503}
    if declared.produces:
        statuses.add(406)
    if declared.limit is not None:
        statuses.add(429)
    if declared.audience is not PUBLIC:
        statuses |= {401, 422}
    if declared.audience not in (PUBLIC, ANY_KEY):
        statuses |= {403}
    if "{" in (route.path_format or ""):
        statuses.add(404)
    if method != "GET":
        statuses |= {408, 413}
    if "requestBody" in operation:
        statuses |= {415, 422}
        if operation["requestBody"].get("required"):
            statuses.add(411)
    if method in ("POST", "PATCH", "DELETE"):
        statuses.add(409)
    if method in ("PATCH", "DELETE") or "304" in operation["responses"]:
        statuses.add(412)
    return sorted(statuses)


def _statuses() -> list[int]:
    return sorted({kind.status.value for kind in CATALOGUE.values()})


def _problem(status: int) -> Document:
    kinds = [kind for kind in CATALOGUE.values() if kind.status == status]
    names = ["X-Request-ID", "X-Trace-ID", "Cache-Control", *PROBLEM_HEADERS.get(status, [])]
    return {
        "description": "; ".join(f"[{kind.title}]({kind.type})" for kind in kinds),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind.slug: {"value": example_problem(kind)} for kind in kinds},
            }
        },
    }
