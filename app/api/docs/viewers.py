"""Swagger UI (``/docs``), where a person authorises and calls, and Redoc (``/redoc``), which is better to read.

Both are vendored: ``static/VENDORED.md`` says from where and how to update them.
"""

from app.api.docs.documents import IMMUTABLE, REVALIDATED, Document
from app.api.docs.layout import PAGE_POLICY, page

SWAGGER_UI = "swagger-ui-5.35.0"
REDOC = "redoc-2.5.4"

ASSETS = {
    f"{SWAGGER_UI}/swagger-ui-bundle.js": IMMUTABLE,
    f"{SWAGGER_UI}/swagger-ui.css": IMMUTABLE,
    f"{REDOC}/redoc.standalone.js": IMMUTABLE,
    "site/docs.css": REVALIDATED,
    "site/favicon.svg": REVALIDATED,
    "site/redoc-init.js": REVALIDATED,
    "site/swagger-init.js": REVALIDATED,
}
"""Every file that is served below ``/docs/static/``, with its ``Cache-Control``."""

SWAGGER_UI_POLICY = PAGE_POLICY | {
    "script-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
}
"""Swagger UI's icons are ``data:``; what it calls is this API."""

REDOC_STYLES = {
    "an empty element, which styled-components fills through the CSSOM": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "the scrollbar's": "QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc=",
}
"""SHA-256 of the two inline styles that Redoc makes: allowed by name, so that ``'unsafe-inline'`` need not be."""

REDOC_POLICY = SWAGGER_UI_POLICY | {
    "style-src": " ".join(["'self'", *(f"'sha256-{digest}'" for digest in REDOC_STYLES.values())]),
    "worker-src": "blob:",
}
"""Redoc's search runs in a worker that it starts from a blob."""


def swagger_ui() -> Document:
    """The page at ``/docs``."""
    return page(
        "/docs",
        "Try it",
        '<div id="swagger-ui" data-openapi="/openapi.json"></div>'
        f'<script src="/docs/static/{SWAGGER_UI}/swagger-ui-bundle.js"></script>'
        '<script src="/docs/static/site/swagger-init.js"></script>',
        head=f'<link rel="stylesheet" href="/docs/static/{SWAGGER_UI}/swagger-ui.css">',
        policy=SWAGGER_UI_POLICY,
    )


def redoc() -> Document:
    """The page at ``/redoc``."""
    return page(
        "/redoc",
        "Reference",
        '<div id="redoc" data-openapi="/openapi.json"></div>'
        f'<script src="/docs/static/{REDOC}/redoc.standalone.js"></script>'
        '<script src="/docs/static/site/redoc-init.js"></script>',
        body_class="redoc-page",
        policy=REDOC_POLICY,
    )
