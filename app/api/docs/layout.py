"""The frame of every documentation page, and the policy that its browser enforces."""

from html import escape
from pathlib import Path
from string import Template

from app.api.docs.documents import REVALIDATED, Document

PAGES = Path(__file__).parent / "pages"

NAVIGATION = {
    "/docs/guide": "Guide",
    "/docs": "Try it",
    "/redoc": "Reference",
    "/docs/problems": "Problems",
    "/openapi.json": "openapi.json",
}
STYLESHEET = '<link rel="stylesheet" href="/docs/static/site/docs.css">'

PAGE_POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""Content-Security-Policy of a page that is only read: no script at all."""


def page(
    path: str,
    title: str,
    body: str,
    *,
    head: str = "",
    body_class: str = "",
    policy: dict[str, str] = PAGE_POLICY,
) -> Document:
    """A page: ``body`` and ``head`` are HTML, ``title`` is text, ``path`` marks the current entry of the navigation."""
    links = [
        f'<a href="{target}"{" aria-current=page" if target == path else ""}>{escape(label)}</a>'
        for target, label in NAVIGATION.items()
    ]
    text = Template((PAGES / "layout.html").read_text("utf-8")).substitute(
        title=escape(title),
        head=STYLESHEET + head,
        body_class=f' class="{body_class}"' if body_class else "",
        navigation="\n".join(links),
        body=body,
    )
    content_policy = "; ".join(f"{directive} {sources}" for directive, sources in policy.items())
    return Document.from_text(text, {"Cache-Control": REVALIDATED, "Content-Security-Policy": content_policy})
