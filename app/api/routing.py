"""Our route: before FastAPI reads a body or solves a dependency, the caller is identified, counted, and allowed or refused.

FastAPI would read and parse the body first, and answer 422 to a stranger. Here the order is: 406, 429, 401, 403, 411, 415, 413 or 408,
400, 422.
It is a route class and not a set of dependencies, because it must hold for every route, and come before the body.
"""

from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any, Final, cast

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.api.access import ANY_KEY, PUBLIC, Access, declared_access
from app.api.context import Context
from app.api.problems import ProblemException, invalid
from app.schemas.types import INT64_MAX
from app.utils import strict_json
from app.utils.accept import acceptable
from app.utils.client_address import limit_bucket

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
CHALLENGE: Final = 'ApiKey realm="gantry", header="X-API-Key"'


class RowIdConvertor(Convertor[int]):
    """``{user_id:row}``: plain digits without a leading zero, so that one resource has one address."""

    regex = "[1-9][0-9]{0,18}"

    def convert(self, value: str) -> int:
        """The number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """The digits."""
        return str(value)


register_url_convertor("row", RowIdConvertor())


class Route(APIRoute):
    """A route that enforces the access its endpoint declares."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **kwargs: Any) -> None:
        self.access: Final = declared_access(endpoint)
        super().__init__(path, endpoint, **kwargs)
        self.is_direct: Final = _takes_only_ids(self)
        """Whether the endpoint can be called without FastAPI's part, which would only hand it what is at hand."""
        self.query_names: Final = _query_names(self)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's hook: wraps its handler."""
        handler = super().get_route_handler()
        declared = self.access
        media_types = (MERGE_PATCH, JSON) if "PATCH" in (self.methods or ()) else (JSON,)
        field = self.body_field
        required = field is not None and field.field_info.is_required()

        async def admit_then_handle(request: Request) -> Response:
            context = Context(request.scope, request.receive)
            await admit(context, declared)
            check_query(context, self)
            if field is not None:
                await read_json(context, media_types, required=required)
            return await handler(context)

        return admit_then_handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say which template matched, prefix included, for logs and metrics, also when the method is refused; then handle the request."""
        included = scope["fastapi"].get("effective_route_context") if "fastapi" in scope else None
        scope["state"]["route"] = self.path_format if included is None else included.path_format
        if self.is_direct and scope["method"] in (self.methods or ()):
            context = Context(scope, receive)
            await admit(context, self.access)
            check_query(context, self)
            response: Response = await self.endpoint(**_direct_arguments(self, context))
            await response(scope, receive, send)
        else:
            await super().handle(scope, receive, send)


def _query_names(route: APIRoute) -> frozenset[str] | None:
    """The query parameters that the endpoint takes; none when it takes a query model, which refuses others by itself."""
    parameters = route.dependant.query_params
    if any(hasattr(parameter.field_info.annotation, "model_fields") for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def check_query(request: Context, route: Route) -> None:
    """Refuse a parameter that does not exist, or that is given twice: neither may change what a request does in silence.

    Raises ``ProblemException``. Public pages take whatever follows the question mark, as links to them do.
    """
    if not request.scope["query_string"] or route.access.audience is PUBLIC:
        return
    seen = set()
    for name, _ in request.query_params.multi_items():
        shown = f"/{name}" if len(name) <= 100 and name.isidentifier() else ""
        if route.query_names is not None and name not in route.query_names:
            raise invalid("query", shown, "there is no such parameter here")
        if name in seen:
            raise invalid("query", shown, "must be given once")
        seen.add(name)


def _takes_only_ids(route: APIRoute) -> bool:
    """Whether the endpoint's parameters are the request and ids of the path, which the path's pattern has made numbers already."""
    needs = route.dependant
    others = (
        needs.query_params,
        needs.header_params,
        needs.cookie_params,
        needs.body_params,
        needs.dependencies,
        needs.http_connection_param_name,
        needs.response_param_name,
        needs.background_tasks_param_name,
        needs.security_scopes_param_name,
    )
    ids = all(isinstance(convertor, RowIdConvertor) for convertor in route.param_convertors.values())
    return ids and not any(others) and {p.name for p in needs.path_params} == set(route.param_convertors)


def _direct_arguments(route: APIRoute, context: Context) -> dict[str, Any]:
    arguments: dict[str, Any] = context.scope["path_params"]
    if any(value > INT64_MAX for value in arguments.values()):
        raise ProblemException("not-found", "There is no such resource.")
    name = route.dependant.request_param_name
    return arguments if name is None else arguments | {name: context}


class Router(APIRouter):
    """A router that looks at its routes only for paths below its prefix: FastAPI would try each route of every router, twice."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether one of the routes is meant."""
        return super().matches(scope) if scope["path"].startswith(self.prefix) else (Match.NONE, {})


def router(**kwargs: Any) -> Router:
    """A router whose routes are ours. Its prefix is the whole path before its routes; it is included once, as it is."""
    return Router(route_class=Route, redirect_slashes=False, **kwargs)


async def admit(request: Context, declared: Access) -> None:
    """Refuse the request, or note its caller. Raises ``ProblemException`` for 406, 401, 429 and 403."""
    headers, process = request.headers, request.process
    accept = ", ".join(headers.getlist("accept")) or None
    if declared.produces and acceptable(accept, declared.produces) is None:
        raise ProblemException("not-acceptable", f"This resource is available as {' or '.join(declared.produces)}.")
    state = request.scope["state"]
    caller = None
    if declared.audience is not PUBLIC and (presented := headers.get("x-api-key")) is not None:
        caller = await process.callers.identify(presented)
        if caller is not None:
            state["caller"] = caller
    if declared.limit is not None:
        # Strangers are counted too, by address: guessing keys is limited like everything else.
        bucket = f"key:{caller.key_id}" if caller is not None else f"ip:{limit_bucket(state['client'])}"
        verdict = await process.limiter.hit(process.policies[declared.limit], bucket)
        state["response_headers"] += verdict.headers()
        if not verdict.allowed:
            raise ProblemException("too-many-requests", "The rate limit is reached.")
    if declared.audience is PUBLIC:
        return
    if caller is None:
        raise ProblemException(
            "unauthorized", "Send a valid API key in the X-API-Key header.", headers={"WWW-Authenticate": CHALLENGE}
        )
    if declared.audience is not ANY_KEY and declared.audience not in caller.scopes:
        raise ProblemException("forbidden", f"The key lacks the scope {declared.audience.value}.")


async def read_json(request: Context, media_types: tuple[str, ...], *, required: bool) -> None:
    """Read the body strictly and leave it where FastAPI finds it. Raises ``ProblemException`` for 411, 415, 400 and 422."""
    headers = request.headers
    if "content-length" not in headers and "transfer-encoding" not in headers:
        if required:
            raise ProblemException("length-required", "This operation needs a body.")
        return
    if headers.get("content-length") != "0" and not _is_json(headers.get("content-type", ""), media_types):
        name = "Accept-Patch" if MERGE_PATCH in media_types else "Accept-Post"
        raise ProblemException(
            "unsupported-media-type", f"Send {' or '.join(media_types)}.", headers={name: ", ".join(media_types)}
        )
    body = await request.body()
    if not body:
        return
    settings = request.process.settings.http
    try:
        value = strict_json.parse(body, settings.max_json_depth)
    except strict_json.JsonMalformed as error:
        raise ProblemException("malformed-json", str(error)) from None
    except strict_json.JsonUnacceptable as error:
        raise invalid("body", error.pointer, str(error)) from None
    if isinstance(value, dict) and len(value) > settings.max_json_members:
        raise invalid("body", "", f"may have {settings.max_json_members} members")
    request._json = value  # noqa: SLF001 - Starlette's own cache


def _is_json(content_type: str, media_types: tuple[str, ...]) -> bool:
    if content_type in media_types:
        return True
    message = Message()
    message["content-type"] = content_type
    charset = cast(str, message.get_param("charset", "utf-8"))
    return message.get_content_type() in media_types and str(charset).lower() in ("utf-8", "utf8")
