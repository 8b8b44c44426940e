"""All routes of version 1. A new resource is one line here."""

from app.api.routing import router as make_router
from app.api.v1.endpoints import api_keys, examples, items, items_export, users

router = make_router(prefix="/api/v1")
router.include_router(users.router)
router.include_router(items.router)
router.include_router(items_export.router)
router.include_router(api_keys.router)
router.include_router(examples.router)
