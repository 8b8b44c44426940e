"""All routers of version 1. A new resource is one line here."""

from app.api.v1.endpoints import api_keys, examples, items, items_export, users

ROUTERS = (
    items.router,
    items_export.router,
    users.router,
    api_keys.router,
    examples.router,
)
