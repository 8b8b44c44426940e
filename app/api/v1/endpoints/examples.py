"""The smallest examples: a route with its own limit, and a route that any key may call."""

from fastapi import Response
from pydantic import BaseModel

from app.api.access import ANY_KEY, PUBLIC, access
from app.api.context import Context
from app.api.responses import JSON, REVALIDATE
from app.api.routing import router as make_router
from app.api.v1 import BASE
from app.schemas.api_keys import Caller, known_scopes

router = make_router(prefix=BASE, tags=["examples"])


class Message(BaseModel):
    """A sentence."""

    message: str


@router.get("/limited", response_model=Message)
@access(PUBLIC, limit="example")
async def limited() -> Response:
    """Answers 10 times a minute for each client address."""
    return Response(Message(message="This endpoint is rate limited").model_dump_json(), media_type=JSON)


@router.get("/protected", response_model=Caller)
@access(ANY_KEY)
async def protected(context: Context) -> Response:
    """Says who is calling."""
    caller = context.caller
    body = Caller(
        message="This is a protected endpoint",
        key_id=caller.key_id,
        name=caller.name,
        scopes=known_scopes(sorted(caller.scopes)),
    )
    return Response(body.model_dump_json(), headers={"Cache-Control": REVALIDATE}, media_type=JSON)
