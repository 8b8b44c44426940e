"""A walk over all routes and modules for the invariants of the design: what somebody adds later is held to them too."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.middleware.base import BaseHTTPMiddleware

import app
from app.api import middleware
from app.api.access import ANY_KEY, PUBLIC
from app.api.routing import Route, router
from app.core.scopes import Scope
from app.main import create_app
from tests.conftest import Api, make_settings
from tests.integration.tools import ADA, check_problem, execute, rows, send

PUBLIC_ROUTES = {
    "/",
    "/openapi.json",
    "/docs",
    "/redoc",
    "/docs/guide",
    "/docs/problems",
    "/docs/problems/{slug}",
    "/docs/static/{folder}/{file}",
    "/api/v1/limited",
}
"""All that anybody may call without a key."""

UNLIMITED_ROUTES = PUBLIC_ROUTES - {"/", "/api/v1/limited"}
"""All that is exempt from rate limits: documents that are made once. A page loads several."""

UNDESCRIBED_ROUTES = UNLIMITED_ROUTES
"""All that is not in OpenAPI."""


def contexts() -> list[RouteContext]:
    """All routes, with their prefixes."""
    return list(iter_route_contexts(create_app(make_settings("postgresql://nobody@127.0.0.1:1/none")).routes))


ROUTES = contexts()


def declared(context: RouteContext) -> Route:
    """Our route behind it."""
    route = context.original_route
    assert isinstance(route, Route), f"{context.path} was not made by app.api.routing.router"
    return route


def test_every_route_is_ours() -> None:
    assert len(ROUTES) >= 25
    for context in ROUTES:
        declared(context)


def test_every_route_is_authenticated_or_listed_as_public() -> None:
    public = {context.path_format for context in ROUTES if declared(context).access.audience is PUBLIC}
    assert public == PUBLIC_ROUTES
    for context in ROUTES:
        audience = declared(context).access.audience
        if audience not in (PUBLIC, ANY_KEY):
            assert isinstance(audience, Scope)
            reads = set(context.methods or ()) <= {"GET", "HEAD"}
            assert audience is Scope.keys_admin or reads == audience.value.endswith(":read"), context.path_format


def test_every_route_is_limited_or_listed_as_exempt() -> None:
    assert {context.path_format for context in ROUTES if declared(context).access.limit is None} == UNLIMITED_ROUTES


def test_every_route_is_described_or_listed() -> None:
    described = create_app(make_settings("postgresql://nobody@127.0.0.1:1/none")).openapi()["paths"]
    for context in ROUTES:
        listed = context.path_format in UNDESCRIBED_ROUTES
        for method in context.methods or ():
            assert (method.lower() in described.get(context.path_format, {})) != listed, (method, context.path_format)


async def test_every_route_is_metered_under_its_full_template(api: Api, subtests: pytest.Subtests) -> None:
    registry = api.process.metrics.registry
    for context in ROUTES:
        path = re.sub(r"\{\w+\}", "1", str(context.path_format))
        for method in context.methods or ():
            with subtests.test(method=method, route=context.path_format):
                answer = await send(api, method, path, [("Host", "api.test"), ("X-API-Key", api.key)])
                labels = {"handler": context.path_format or "", "method": method, "status": str(answer.status_code)}
                assert registry.get_sample_value("gantry_http_request_duration_seconds_count", labels) == 1


# --- nothing blocks, nothing is torn down -----------------------------------------------------------------------------


def dependencies(dependant: Dependant) -> Iterator[Any]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from dependencies(inner)


def test_every_endpoint_and_dependency_is_a_coroutine_function() -> None:
    """So none runs in a thread, and none has a teardown that could commit after the response was sent."""
    for context in ROUTES:
        calls = list(dependencies(declared(context).dependant))
        assert context.endpoint in calls
        for call in calls:
            assert inspect.iscoroutinefunction(call), call


def test_the_middleware_is_pure_asgi_and_in_the_order_of_the_table() -> None:
    application = create_app(make_settings("postgresql://nobody@127.0.0.1:1/none"))
    layer: Any = application.build_middleware_stack()
    stack = []
    while hasattr(layer, "app"):
        assert not isinstance(layer, BaseHTTPMiddleware)
        stack.append(type(layer).__name__)
        layer = layer.app
    table = re.findall(r"^\| (\w+) +\|", str(middleware.__doc__), re.MULTILINE)
    assert len(table) >= 9
    assert [name for name in stack if name in table] == table


def test_a_route_must_declare_its_access() -> None:
    routes = router()

    async def forgotten() -> None:
        """An endpoint."""

    with pytest.raises(TypeError, match=r"forgotten declares no access: put @access\(\.\.\.\) under its route"):
        routes.get("/forgotten")(forgotten)


# --- the answer comes after the commit --------------------------------------------------------------------------------

WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/api/v1/users", ADA | {"email": "new@example.com"}),
    ("PATCH", "/api/v1/users/1", {"age": 40}),
    ("DELETE", "/api/v1/users/1?items=release", None),
    ("POST", "/api/v1/items", {"name": "Loom"}),
    ("PATCH", "/api/v1/items/1", {"name": "Loom"}),
    ("DELETE", "/api/v1/items/1", None),
    ("POST", "/api/v1/api-keys", {"name": "k", "scopes": ["users:read"]}),
    ("POST", "/api/v1/api-keys/2/rotate", {}),
    ("DELETE", "/api/v1/api-keys/2", None),
]
"""Every operation that changes something."""

TABLES = ("users", "items", "api_keys", "api_key_secrets", "idempotency_records")


def test_all_writes_are_here() -> None:
    operations = {
        (m, context.path_format) for context in ROUTES for m in context.methods or () if m not in ("GET", "HEAD")
    }
    listed = {(method, re.sub(r"/\d", "/{}", path.partition("?")[0])) for method, path, _ in WRITES}
    assert listed == {(method, re.sub(r"\{\w+\}", "{}", str(path))) for method, path in operations}


@pytest.mark.parametrize("retried", [False, True])
async def test_a_commit_that_fails_is_never_answered_with_success(
    api: Api, database_url: str, subtests: pytest.Subtests, retried: bool
) -> None:
    async with api.client() as client:
        await client.post("/api/v1/users", json=ADA)
        await client.post("/api/v1/items", json={"name": "Engine", "owner_id": 1})
        await api.key_with(Scope.users_read)
        client.headers |= {"Idempotency-Key": "k"} if retried else {}
        before = [rows(database_url, table) for table in TABLES]
        execute(
            database_url,
            "CREATE FUNCTION fail_at_commit() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = 'serialization_failure'; END $$",
        )
        try:
            for table in TABLES:
                execute(
                    database_url,
                    f"CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE OR DELETE ON {table} "
                    "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_at_commit()",
                )
            for method, path, body in WRITES:
                with subtests.test(method=method, path=path):
                    options = {} if body is None else {"json": body}
                    answer = await client.request(method, path, **options)
                    check_problem(answer, 503, "service-unavailable")
                    assert [rows(database_url, table) for table in TABLES] == before
        finally:
            execute(database_url, "DROP FUNCTION fail_at_commit CASCADE")
        for method, path, body in WRITES:
            options = {} if body is None else {"json": body}
            assert (await client.request(method, path, **options)).status_code in (200, 201, 204)


# --- imports point one way --------------------------------------------------------------------------------------------

FORBIDDEN = {
    "utils": ("core", "models", "schemas", "services", "api", "migrations", "dev", "cli", "main"),
    "core": ("models", "schemas", "services", "api", "migrations", "dev", "cli", "main"),
    "models": ("schemas", "services", "api", "migrations", "dev", "cli", "main"),
    "schemas": ("models", "services", "api", "migrations", "dev", "cli", "main"),
    "services": ("api", "migrations", "dev", "cli", "main"),
    "migrations": ("schemas", "services", "api", "dev", "cli", "main"),
    "api": ("migrations", "dev", "cli", "main"),
}
"""What the modules of each package must not import."""

ROOT = Path(str(app.__file__)).parent


def imported(module: Path) -> Iterator[str]:
    """The parts of ``app`` that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(module.read_text())):
        names: list[str] = []
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(level=0, module="app"):
                names = [f"app.{alias.name}" for alias in node.names]
            case ast.ImportFrom(level=0, module=str(name)):
                names = [name]
            case ast.ImportFrom():
                raise AssertionError(f"{module} has a relative import")
        yield from (name.split(".")[1] for name in names if name.startswith("app."))


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    modules = list((ROOT / package).rglob("*.py"))
    assert modules
    for module in modules:
        wrong = set(imported(module)) & set(FORBIDDEN[package])
        assert not wrong, f"{module.relative_to(ROOT)} imports {wrong}"


def test_every_package_has_a_rule() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - set(FORBIDDEN) == {"dev"}
    assert {"services", "core"} <= set(imported(ROOT / "api" / "lifespan.py"))


def test_services_know_no_http() -> None:
    for module in (ROOT / "services").rglob("*.py"):
        text = module.read_text()
        assert not re.search(r"^(from|import) (fastapi|starlette)", text, re.MULTILINE), module.name
