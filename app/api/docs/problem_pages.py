"""A page per problem type, made from the catalogue, and one that lists them: what an error's ``type`` resolves to."""

import json
from html import escape
from http import HTTPStatus

from markdown_it import MarkdownIt

from app.api.catalogue import CATALOGUE, PROBLEM_PAGES, ProblemType
from app.api.docs.documents import Document
from app.api.docs.examples import EXAMPLE_REQUEST_ID, EXAMPLE_TRACE_ID, HEADERS, example_problem
from app.api.docs.layout import page
from app.api.problems import MEDIA_TYPE

INDEX = PROBLEM_PAGES.rstrip("/")

_markdown = MarkdownIt("commonmark", {"html": False})


def problem_index() -> Document:
    """The page at ``/docs/problems``."""
    rows = [
        f'<tr><td>{kind.status.value}</td><td><a href="{kind.type}"><code>{kind.slug}</code></a></td>'
        f"<td>{escape(kind.title)}</td></tr>"
        for kind in CATALOGUE.values()
    ]
    body = (
        '<main class="prose"><h1>Problems</h1>'
        "<p>Every failure is a problem document (RFC 9457). Its <code>type</code> is the address of one of these "
        'pages: decide by it, not by the texts. The <a href="/docs/guide#errors">guide</a> explains the members.</p>'
        '<div class="table"><table><thead><tr><th>Status</th><th>Type</th><th>Title</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></main>"
    )
    return page(INDEX, "Problems", body)


def problem_page(kind: ProblemType) -> Document:
    """The page at ``/docs/problems/<slug>``."""
    body = (
        f'<main class="prose"><p><a href="{INDEX}">All problems</a></p><h1>{escape(kind.title)}</h1>'
        f'<p class="status">{_status_line(kind.status)} · <code>{kind.type}</code></p>'
        f"<h2>What it means</h2>{_markdown.render(kind.meaning)}"
        f"<h2>What to do</h2>{_markdown.render(kind.remedy)}"
        f"<h2>Example</h2><pre><code>{escape(_example(kind))}</code></pre></main>"
    )
    return page(kind.type, kind.title, body)


def _status_line(status: HTTPStatus) -> str:
    return f"{status.value} {status.phrase}"


def _example(kind: ProblemType) -> str:
    """The whole answer, as ``curl -i`` prints it."""
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Cache-Control": "no-store",
        "X-Request-ID": EXAMPLE_REQUEST_ID,
        "X-Trace-ID": EXAMPLE_TRACE_ID,
    }
    lines = [f"{name}: {value}" for name, value in (headers | HEADERS.get(kind.slug, {})).items()]
    body = json.dumps(example_problem(kind), indent=2, ensure_ascii=False)
    return "\n".join([f"HTTP/1.1 {_status_line(kind.status)}", *lines, "", body])
