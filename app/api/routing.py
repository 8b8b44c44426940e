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
from starlette.types import Receive, Scope, Send

from app.api.access import ANY_KEY, PUBLIC, Access, declared_access
from app.api.context import Process
from app.api.problems import ProblemException, invalid
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

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's hook: wraps its handler."""
        handler = super().get_route_handler()
        declared = self.access
        media_types = (MERGE_PATCH, JSON) if "PATCH" in (self.methods or ()) else (JSON,)
        field = self.body_field
        required = field is not None and field.field_info.is_required()

        async def admit_then_handle(request: Request) -> Response:
            process: Process = request.scope["state"]["process"]
            await admit(request, process, declared)
            if field is not None:
                await read_json(request, process, media_types, required=required)
            return await handler(request)

        return admit_then_handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say which template matched, prefix included, for logs and metrics; also when the method is refused."""
        included = scope["fastapi"].get("effective_route_context") if "fastapi" in scope else None
        scope["state"]["route"] = self.path_format if included is None else included.path_format
        await super().handle(scope, receive, send)


def router(**kwargs: Any) -> APIRouter:
    """A router whose routes are ours."""
    return APIRouter(route_class=Route, redirect_slashes=False, **kwargs)


async def admit(request: Request, process: Process, declared: Access) -> None:
    """Refuse the request, or note its caller. Raises ``ProblemException`` for 406, 401, 429 and 403."""
    headers = request.headers
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


async def read_json(request: Request, process: Process, media_types: tuple[str, ...], *, required: bool) -> None:
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
    try:
        request._json = strict_json.parse(body, process.settings.http.max_json_depth)  # noqa: SLF001 - Starlette's own cache
    except strict_json.JsonMalformed as error:
        raise ProblemException("malformed-json", str(error)) from None
    except strict_json.JsonUnacceptable as error:
        raise invalid("body", error.pointer, str(error)) from None


def _is_json(content_type: str, media_types: tuple[str, ...]) -> bool:
    if content_type in media_types:
        return True
    message = Message()
    message["content-type"] = content_type
    charset = cast(str, message.get_param("charset", "utf-8"))
    return message.get_content_type() in media_types and str(charset).lower() in ("utf-8", "utf8")
