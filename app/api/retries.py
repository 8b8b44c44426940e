"""``Idempotency-Key``: from the request to what the service needs to run the effect once."""

import hashlib
import re
from collections.abc import Callable

from app.api.context import Context
from app.api.problems import invalid
from app.services.idempotency import Answer, IdempotencyKey, Once

KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
"""1 to 255 printable ASCII characters; the draft's quotes are part of the key, whoever sends them."""


async def once[T](context: Context, render: Callable[[T], Answer]) -> Once[T]:
    """The request's ``Once``. Raises ``ProblemException`` for a key that can't be one."""
    settings = context.process.settings.retries
    header = context.header("idempotency-key")
    if header is None:
        return Once(None, settings, render)
    if not KEY.fullmatch(header):
        raise invalid("header", "/Idempotency-Key", "must be 1 to 255 printable ASCII characters")
    payload = hashlib.sha256(context.scope["query_string"] + b"\0" + await context.body())
    operation = f"{context.method} {context.scope['path']}"
    key = IdempotencyKey(context.caller.key_id, operation, header, payload.digest())
    return Once(key, settings, render, context.process.metrics.retried)
