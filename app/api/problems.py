"""Problem documents (RFC 9457): the one way this API says no."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.types import Scope

from app.api.catalogue import CATALOGUE
from app.core.telemetry.current import current_request

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
"""Entries of ``errors``: enough to mend a form, not enough to make a small request a large answer."""


MAX_NAME = 100
"""Characters of an unknown member's name that are repeated in a pointer to it."""


class ProblemError(BaseModel):
    """One thing that is wrong: where it is, and what was expected. The value itself is never repeated."""

    in_: str = Field(alias="in", description="The part of the request.", examples=["body"])
    pointer: str = Field(description="A JSON pointer (RFC 6901) into that part.", examples=["/email"])
    detail: str = Field(examples=["must be an e-mail address such as ada@example.com"])


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(
        description="The kind of problem; its page in this documentation.", examples=["/docs/problems/not-found"]
    )
    title: str = Field(examples=["There is no such resource"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What is the matter this time.")
    instance: str = Field(description="The request's id, also in X-Request-ID and in the logs.")
    trace_id: str | None = Field(
        default=None,
        description="The trace the request belongs to, also in X-Trace-ID.",
        examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
    )
    errors: list[ProblemError] | None = Field(default=None, description="With validation-failed: one entry each.")


class ProblemException(Exception):
    """Raised where an answer must be a problem. ``detail`` repeats nothing that the client sent."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


def invalid(where: str, pointer: str, detail: str) -> ProblemException:
    """``validation-failed`` with one entry."""
    return ProblemException(
        "validation-failed",
        "The request has an invalid value.",
        errors=[{"in": where, "pointer": pointer, "detail": detail}],
    )


def problem_body(
    slug: str, detail: str, instance: str, errors: Sequence[Mapping[str, str]] = (), trace_id: str | None = None
) -> tuple[int, bytes]:
    """The status and the document of a problem. What is refused before the app sees it is a trace of its own, of one request."""
    kind = CATALOGUE[slug]
    document: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status.value,
        "detail": detail,
        "instance": instance,
    }
    if trace_id := instance if trace_id is None else trace_id:
        document["trace_id"] = trace_id
    if errors:
        document["errors"] = [{**error, "pointer": _shown(error["pointer"])} for error in errors[:MAX_ERRORS]]
    return kind.status.value, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _shown(pointer: str) -> str:
    """A pointer may hold names that are the client's own: one that is long or can't be shown is not repeated."""
    parts = pointer.split("/")
    return "/".join(part for part in parts if len(part) <= MAX_NAME and part.isprintable())


def problem_response(scope: Scope, problem: ProblemException) -> Response:
    """The answer for a problem, never cached; a 503 and a 429 always say when to come back."""
    scope["state"]["problem"] = problem.slug
    current = current_request.get()
    status, body = problem_body(
        problem.slug,
        problem.detail,
        scope["state"].get("request_id", ""),
        problem.errors,
        "" if current is None else current.trace_id,
    )
    headers = {"Cache-Control": "no-store"} | problem.headers
    if status == 503:
        headers.setdefault("Retry-After", "1")
    return Response(body, status, headers, MEDIA_TYPE)
