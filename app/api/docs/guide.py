"""The guide for API clients, written in Markdown, with the limits that this very process enforces."""

import re
from html import escape
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from app.api.docs.documents import Document
from app.api.docs.layout import PAGES, page
from app.core.config import Settings
from app.core.security import KEY_PATTERN

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def guide(settings: Settings) -> Document:
    """The page at ``/docs/guide``. Raises ``KeyError`` when the text asks for a value that ``guide_values`` lacks."""
    values = guide_values(settings)
    text = PLACEHOLDER.sub(lambda match: values[match[1]], (PAGES / "guide.md").read_text("utf-8"))
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    sections = _anchor_headings(tokens)
    contents = "".join(f'<li><a href="#{anchor}">{escape(title)}</a></li>' for anchor, title in sections)
    article = markdown.renderer.render(tokens, markdown.options, {})
    article = article.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
    body = (
        f'<div class="with-contents"><nav class="contents" aria-label="Contents"><ul>{contents}</ul></nav>'
        f'<main class="prose">{article}</main></div>'
    )
    return page("/docs/guide", "Guide", body)


def guide_values(settings: Settings) -> dict[str, str]:
    """What ``{{name}}`` in the guide stands for."""
    http = settings.http
    return {
        "address": http.public_url or DEFAULT_ADDRESS,
        "body_timeout": duration(http.body_timeout),
        "deadline": duration(http.deadline),
        "default_rate": settings.limits.default,
        "example_rate": settings.limits.example,
        "export_time": duration(settings.export.max_seconds),
        "key_pattern": KEY_PATTERN,
        "json_depth": str(http.max_json_depth),
        "keep": duration(settings.retries.keep_seconds),
        "max_body": size(http.max_body_bytes),
        "max_headers": size(http.max_header_bytes),
        "max_query_parameters": str(http.max_query_parameters),
        "max_target": size(http.max_target_bytes),
        "overlap": duration(settings.security.rotation_overlap_seconds),
        "release_max": f"{settings.items.release_max:,}",
        "revocation_bound": duration(settings.security.key_cache_seconds),
        "twin_wait": duration(settings.retries.wait_seconds),
    }


def duration(seconds: float) -> str:
    """Seconds in the largest unit that divides them: ``86400`` is "24 hours"."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            return _count(seconds / length, unit)
    return _count(seconds, "second")


def _count(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


def size(octets: int) -> str:
    """Octets in the largest binary unit that divides them: ``8192`` is "8 KiB"."""
    for unit, length in (("MiB", 2**20), ("KiB", 2**10)):
        if octets % length == 0:
            return f"{octets // length} {unit}"
    return f"{octets:,} bytes"


def _anchor_headings(tokens: list[Token]) -> list[tuple[str, str]]:
    """Give each section's heading an ``id`` made of its words, and list them."""
    sections = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.tag in ("h2", "h3"):
            anchor = re.sub(r"[^a-z0-9]+", "-", inline.content.lower()).strip("-")
            opening.attrSet("id", anchor)
            if opening.tag == "h2":
                sections.append((anchor, inline.content))
    return sections
