"""The addresses of the documentation. Each document is made when it is first asked for, and kept."""

from collections.abc import Callable
from functools import cache, partial

from fastapi import APIRouter, Request, Response

from app.api.access import PUBLIC, access
from app.api.catalogue import CATALOGUE, PROBLEM_PAGES
from app.api.docs.documents import Document
from app.api.docs.guide import guide
from app.api.docs.problem_pages import INDEX, problem_index, problem_page
from app.api.docs.viewers import ASSETS, redoc, swagger_ui
from app.api.problems import ProblemException
from app.api.routing import router as make_router
from app.core.config import Settings


def docs_router(settings: Settings) -> APIRouter:
    """The documentation's routes: public, exempt from rate limits (a page loads several files), not in OpenAPI."""
    router = make_router()
    pages: dict[str, tuple[str, Callable[..., Document]]] = {
        "/docs": ("swagger_ui", swagger_ui),
        "/redoc": ("redoc", redoc),
        "/docs/guide": ("guide", partial(guide, settings)),
        INDEX: ("problem_index", problem_index),
        PROBLEM_PAGES + "{slug}": ("problem_page", _problem),
        "/docs/static/{folder}/{file}": ("docs_asset", _asset),
    }
    for path, (name, make) in pages.items():
        router.add_api_route(path, _endpoint(make), name=name, include_in_schema=False)
    return router


def _endpoint(make: Callable[..., Document]) -> Callable[..., object]:
    """An endpoint that answers with the document that ``make`` makes of the path's parameters."""
    kept = cache(make)

    @access(PUBLIC, limit=None, produces=())
    async def endpoint(request: Request) -> Response:
        return kept(**request.path_params).respond(request.headers)

    return endpoint


def _problem(slug: str) -> Document:
    if slug not in CATALOGUE:
        raise ProblemException("not-found", "There is no such type of problem; /docs/problems lists them.")
    return problem_page(CATALOGUE[slug])


def _asset(folder: str, file: str) -> Document:
    path = f"{folder}/{file}"
    if path not in ASSETS:
        raise ProblemException("not-found", "There is no such file.")
    return Document.from_file(path, ASSETS[path])
