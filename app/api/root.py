"""``/``: says hello, and where to go from here; and ``/openapi.json``."""

from fastapi import Request, Response
from pydantic import BaseModel, Field

from app import __version__
from app.api.access import PUBLIC, access
from app.api.openapi import openapi_bytes
from app.api.responses import JSON
from app.api.routing import router as make_router

router = make_router(tags=["root"])


class Hello(BaseModel):
    """Where things are."""

    message: str = Field(examples=["Hello FastAPI"])
    version: str = Field(examples=[__version__])
    api: str = Field(examples=["/api/v1"])
    links: dict[str, str]


HELLO = Hello(
    message="Hello FastAPI",
    version=__version__,
    api="/api/v1",
    links={
        "docs": "/docs",
        "redoc": "/redoc",
        "guide": "/docs/guide",
        "problems": "/docs/problems",
        "openapi": "/openapi.json",
    },
)


@router.get("/", response_model=Hello)
@access(PUBLIC)
async def hello() -> Response:
    """Say hello."""
    return Response(HELLO.model_dump_json(), media_type=JSON, headers={"Cache-Control": "public, max-age=60"})


@router.get("/openapi.json", include_in_schema=False)
@access(PUBLIC, limit=None)
async def openapi(request: Request) -> Response:
    """The description of this API."""
    return Response(openapi_bytes(request.app), media_type=JSON, headers={"Cache-Control": "no-cache"})
