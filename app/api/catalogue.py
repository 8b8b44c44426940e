"""Every problem this API answers with (RFC 9457): one row here is a ``type``, a page of the documentation and an OpenAPI entry."""

from dataclasses import dataclass
from http import HTTPStatus

PROBLEM_PAGES = "/docs/problems/"
"""Where the pages are; a problem's ``type`` is this and its slug, a reference that resolves against the API's own address."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem: its slug, HTTP status, a title that never varies, what it means, and what a client does about it."""

    slug: str
    status: HTTPStatus
    title: str
    meaning: str
    remedy: str

    @property
    def type(self) -> str:
        """The ``type`` member: a URI reference to this problem's page."""
        return PROBLEM_PAGES + self.slug


_TABLE = [
    ProblemType(
        "malformed-request",
        HTTPStatus.BAD_REQUEST,
        "The request could not be read",
        "The bytes that arrived are not an HTTP request this server can read, or the Host header is missing, doubled or not served here.",
        "Check the client library and any proxy between; a plain HTTP/1.1 request with one Host header is read.",
    ),
    ProblemType(
        "malformed-json",
        HTTPStatus.BAD_REQUEST,
        "The body is not JSON",
        "The body is not JSON in UTF-8 as RFC 8259 defines it: a syntax error, invalid UTF-8, NaN or Infinity, or nesting "
        "deeper than the limit.",
        "Send what a strict JSON encoder makes. `errors[].pointer` and `detail` say what was met.",
    ),
    ProblemType(
        "unauthorized",
        HTTPStatus.UNAUTHORIZED,
        "A valid API key is needed",
        "The X-API-Key header is missing, or the key in it is mistyped, unknown, expired or revoked. Which of these it is, is not said.",
        "Send a valid key in X-API-Key. `gantry keys create` makes the first one, POST /api/v1/api-keys the others.",
    ),
    ProblemType(
        "forbidden",
        HTTPStatus.FORBIDDEN,
        "The key lacks a scope",
        "The key is valid, but does not carry the scope that this operation needs; `detail` names it.",
        "Use a key with that scope, or have one made with it.",
    ),
    ProblemType(
        "origin-not-allowed",
        HTTPStatus.FORBIDDEN,
        "Pages of this origin may not call so",
        "A browser asked before a cross-origin request, and its origin, method or one of its headers is not among those allowed.",
        "Have the operator list the origin (`GANTRY_HTTP__CORS_ORIGINS`), and use the methods and headers of this API.",
    ),
    ProblemType(
        "not-found",
        HTTPStatus.NOT_FOUND,
        "There is no such resource",
        "Nothing is at this path: the resource never existed or was deleted, or the path is not one of this API's. An id is a "
        "whole number in plain digits.",
        "Check the path, or list the collection.",
    ),
    ProblemType(
        "method-not-allowed",
        HTTPStatus.METHOD_NOT_ALLOWED,
        "The method is not allowed here",
        "The path exists, the method does not. The Allow header lists those that do.",
        "Use one of the methods of the Allow header.",
    ),
    ProblemType(
        "not-acceptable",
        HTTPStatus.NOT_ACCEPTABLE,
        "No acceptable representation",
        "The Accept header rules out every representation that this resource has.",
        "Leave Accept out, or include one of the media types that `detail` names.",
    ),
    ProblemType(
        "request-timeout",
        HTTPStatus.REQUEST_TIMEOUT,
        "The request took too long to arrive",
        "The headers or the body did not arrive in the time allowed.",
        "Send the request again over a better connection; a retry is safe.",
    ),
    ProblemType(
        "email-taken",
        HTTPStatus.CONFLICT,
        "The e-mail address is taken",
        "Another user has this address. Addresses are compared without regard to case.",
        "Use another address, or find the user with GET /api/v1/users?email=...",
    ),
    ProblemType(
        "items-owned",
        HTTPStatus.CONFLICT,
        "The user still owns items",
        "A user who owns items is deleted only when the request says what becomes of them.",
        "Repeat the request with ?items=release (they stay, without an owner) or ?items=delete.",
    ),
    ProblemType(
        "too-many-items",
        HTTPStatus.CONFLICT,
        "Too many items for one transaction",
        "The user owns more items than one deletion may touch; `detail` says the maximum. Nothing was changed.",
        "Delete items or give them to another user first, then repeat the request.",
    ),
    ProblemType(
        "retry-in-progress",
        HTTPStatus.CONFLICT,
        "The first request is still running",
        "A request with the same Idempotency-Key has not finished. Nothing was done for this one.",
        "Wait for the seconds of Retry-After, then repeat it unchanged.",
    ),
    ProblemType(
        "length-required",
        HTTPStatus.LENGTH_REQUIRED,
        "The body's length is needed",
        "The operation needs a body, and the request has neither Content-Length nor chunked encoding.",
        "Send a body with its Content-Length.",
    ),
    ProblemType(
        "precondition-failed",
        HTTPStatus.PRECONDITION_FAILED,
        "The resource has another version",
        "The If-Match header names versions that the resource does not have (any more): somebody changed it in between.",
        "GET the resource, apply the change to what it is now, and send it with the new ETag.",
    ),
    ProblemType(
        "content-too-large",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body is too large",
        "The body, as declared or as it arrived, is larger than the limit that `detail` names.",
        "Send a smaller body.",
    ),
    ProblemType(
        "uri-too-long",
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "The address is too long",
        "The path and query together are longer than the limit, or the query has too many parameters.",
        "Send fewer or shorter query parameters.",
    ),
    ProblemType(
        "unsupported-media-type",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body's media type is not supported",
        "The Content-Type is missing or not one that this operation reads; Accept-Post or Accept-Patch lists those that are.",
        "Send application/json (for PATCH also application/merge-patch+json), without a charset or with utf-8.",
    ),
    ProblemType(
        "validation-failed",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The request has invalid values",
        "The request was read, but a parameter, a header or a member of the body is not as it must be. `errors` has one entry each: "
        "a JSON pointer into the body, or the name of the parameter, and what was expected. The value itself is never repeated.",
        "Correct each of the entries.",
    ),
    ProblemType(
        "idempotency-key-reused",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The Idempotency-Key was used for another request",
        "The same key was sent before, to the same route, with another payload.",
        "Use a new key for a new request; repeat the very same request under the old one.",
    ),
    ProblemType(
        "too-many-requests",
        HTTPStatus.TOO_MANY_REQUESTS,
        "The rate limit is reached",
        "The key, or for callers without one the client's address, has used up its requests for now. RateLimit-Policy states the limit.",
        "Wait for the seconds of Retry-After.",
    ),
    ProblemType(
        "headers-too-large",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request's headers are too large",
        "The header lines are too many or too long.",
        "Send fewer or shorter headers.",
    ),
    ProblemType(
        "internal-error",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong on our side",
        "A defect of this service. It was logged under the id in `instance`.",
        "Report the id in `instance`. A retry with an Idempotency-Key is safe.",
    ),
    ProblemType(
        "service-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The service can't answer just now",
        "The database is out of reach, all connections are taken, or the process is starting or stopping. Nothing was changed, unless the "
        "connection broke at the very commit: an Idempotency-Key makes the retry safe in every case.",
        "Wait for the seconds of Retry-After, then repeat the request.",
    ),
    ProblemType(
        "deadline-exceeded",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The request took too long to answer",
        "The request was given up when its time was over. A write may or may not have been made.",
        "Repeat it after Retry-After; an Idempotency-Key makes that safe.",
    ),
]

CATALOGUE: dict[str, ProblemType] = {problem.slug: problem for problem in _TABLE}
"""All of them by slug, in the order of their status."""
