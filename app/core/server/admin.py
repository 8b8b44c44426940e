"""The admin port's app: ``/livez``, ``/readyz``, ``/metrics``. For probes and scrapers inside the cluster; the ingress never routes to it.

It runs in a process of its own, so that neither a busy worker delays a probe nor rendering metrics delays a request.
"""

from collections.abc import Callable
from http import HTTPStatus

import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.server.health import Conditions, liveness, readiness
from app.core.server.problems import ProblemBody, new_request_id, problem_headers
from app.core.server.scoreboard import Scoreboard
from app.core.server.snapshot import Snapshot, negotiate

NO_STORE = (b"cache-control", b"no-store")


def admin_app(scoreboard: Scoreboard, worker_timeout: float, snapshot: Snapshot, problem_body: ProblemBody) -> ASGIApp:
    """The app. ``snapshot`` has the page of metrics."""
    probes: dict[str, Callable[[Scoreboard, float], Conditions]] = {"/livez": liveness, "/readyz": readiness}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI; no body is read here
        path = scope["path"]
        if path not in probes and path != "/metrics":
            await _answer_problem(send, problem_body, "not-found", "There are /livez, /readyz and /metrics here.")
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer_problem(
                send, problem_body, "method-not-allowed", "GET and HEAD are.", (b"allow", b"GET, HEAD")
            )
        elif path == "/metrics":
            await _answer_metrics(send, snapshot, problem_body, Headers(scope=scope))
        else:
            conditions = probes[path](scoreboard, worker_timeout)
            ok = all(condition.ok for condition in conditions.values())
            document = {"ok": ok, "conditions": {name: condition._asdict() for name, condition in conditions.items()}}
            status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
            await _answer(send, status, orjson.dumps(document), [(b"content-type", b"application/json"), NO_STORE])

    return app


async def _answer_metrics(send: Send, snapshot: Snapshot, problem_body: ProblemBody, headers: Headers) -> None:
    wanted = negotiate(",".join(headers.getlist("accept")), ",".join(headers.getlist("accept-encoding")))
    page = await snapshot.page(wanted)
    if page is None:
        await _answer_problem(send, problem_body, "service-unavailable", "The metrics could not be collected in time.")
        return
    answered = [(b"content-type", wanted.content_type.encode()), NO_STORE]
    await _answer(send, HTTPStatus.OK, page, [*answered, *([(b"content-encoding", b"gzip")] if wanted.gzip else [])])


async def _answer_problem(
    send: Send, problem_body: ProblemBody, slug: str, detail: str, *headers: tuple[bytes, bytes]
) -> None:
    request_id = new_request_id()
    status, body = problem_body(slug, detail, request_id)
    await _answer(send, status, body, [*problem_headers(body, request_id, request_id), *headers])


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    if not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
