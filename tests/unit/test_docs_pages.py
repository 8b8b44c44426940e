"""The documentation's pages and files, without a browser."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.api.catalogue import CATALOGUE, ProblemType
from app.api.docs import docs_router, examples
from app.api.docs.documents import STATIC, Document, accepts_gzip
from app.api.docs.guide import duration, guide, guide_values, size
from app.api.docs.layout import NAVIGATION
from app.api.docs.problem_pages import problem_page
from app.api.docs.viewers import ASSETS, REDOC_STYLES
from app.api.error_handlers import install_error_handlers
from app.api.problems import problem_body
from app.core.config import LimitSettings
from tests.conftest import make_settings

VIEWERS = ["/docs", "/redoc"]
TEXTS = ["/docs/guide", "/docs/problems", *(kind.type for kind in CATALOGUE.values())]
SUMS = re.compile(r"^\| `(\S+)` \| `([0-9a-f]{64})` \|$", re.MULTILINE)


SETTINGS = make_settings("postgresql://nowhere/none")


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the documentation alone."""
    app = FastAPI(openapi_url=None)
    app.include_router(docs_router(SETTINGS))
    install_error_handlers(app)

    async def served(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"process": None, "request_id": "1"}
        await app(scope, receive, send)

    transport = httpx2.ASGITransport(app=served)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client


def links(html: str) -> list[str]:
    """The addresses that a page refers to, those of its assets included."""
    return [unescape(address) for address in re.findall(r'\b(?:href|src|data-openapi)="([^"]*)"', html)]


@pytest.mark.parametrize("path", VIEWERS + TEXTS)
async def test_page_is_html_that_a_browser_asks_for_again(browser: httpx2.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "public, no-cache"
    assert answer.text.startswith("<!doctype html>")
    assert "$" not in answer.text.split("<body")[0]

    known = await browser.get(path, headers={"If-None-Match": f'W/"other", {answer.headers["etag"]}'})
    assert known.status_code == 304
    assert known.content == b""
    for name in ("etag", "cache-control", "vary", "content-security-policy"):
        assert known.headers[name] == answer.headers[name]


@pytest.mark.parametrize("path", VIEWERS + TEXTS)
async def test_policy_allows_nothing_that_the_page_does_not_need(browser: httpx2.AsyncClient, path: str) -> None:
    header = (await browser.get(path)).headers["content-security-policy"]
    policy = {directive: set(sources) for directive, *sources in (part.split() for part in header.split("; "))}
    assert (
        policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == {"'none'"}
    )
    assert policy.get("script-src", {"'self'"}) == {"'self'"}
    assert ("script-src" in policy) == (path in VIEWERS)
    assert "unsafe" not in header
    assert "*" not in header
    assert "http" not in header


def test_one_of_the_styles_that_redoc_may_have_is_the_empty_one() -> None:
    assert base64.b64encode(hashlib.sha256(b"").digest()).decode() in REDOC_STYLES.values()


@pytest.mark.parametrize("path", VIEWERS + TEXTS)
async def test_page_has_no_inline_script_or_style(browser: httpx2.AsyncClient, path: str) -> None:
    html = (await browser.get(path)).text
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)


async def test_every_link_leads_somewhere_on_this_origin(browser: httpx2.AsyncClient) -> None:
    anchors: dict[str, set[str]] = {}
    wanted: set[tuple[str, str]] = set()
    for path in VIEWERS + TEXTS:
        html = (await browser.get(path)).text
        anchors[path] = set(re.findall(r'\bid="([^"]*)"', html))
        for address in links(html):
            target, _, anchor = address.partition("#")
            assert target == "" or re.match(r"/(?!/)", target), f"{path} refers to {address}"
            wanted.add((target or path, anchor))
    for target, anchor in wanted:
        if target == "/openapi.json":
            continue
        assert (await browser.get(target)).status_code == 200, target
        assert not anchor or anchor in anchors[target], f"{target}#{anchor}"


@pytest.mark.parametrize("path", NAVIGATION)
async def test_navigation_marks_the_current_page(browser: httpx2.AsyncClient, path: str) -> None:
    if path == "/openapi.json":
        path = "/docs/guide"
    assert re.findall(r'href="([^"]*)" aria-current=page', (await browser.get(path)).text) == [path]


@pytest.mark.parametrize("path", ASSETS)
async def test_asset_is_served_compressed_and_plain(browser: httpx2.AsyncClient, path: str) -> None:
    compressed = await browser.get(f"/docs/static/{path}", headers={"Accept-Encoding": "gzip"})
    plain = await browser.get(f"/docs/static/{path}", headers={"Accept-Encoding": "identity"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.content == plain.content != b""
    assert int(compressed.headers["content-length"]) < int(plain.headers["content-length"])
    assert compressed.headers["etag"] != plain.headers["etag"]
    for answer in (compressed, plain):
        assert answer.status_code == 200
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["cache-control"] == ASSETS[path]
        assert answer.headers["content-type"].startswith(("text/css", "text/javascript", "image/svg+xml"))


def test_what_never_changes_has_its_version_in_its_address() -> None:
    for path, cache_control in ASSETS.items():
        versioned = re.search(r"-\d+\.\d+\.\d+/", path) is not None
        assert ("immutable" in cache_control) == versioned, path


def test_vendored_files_are_those_that_are_written_down() -> None:
    sums = dict(SUMS.findall((STATIC / "VENDORED.md").read_text("utf-8")))
    stored = {f"{file.parent.name}/{file.stem}": file for file in STATIC.glob("*/*.gz")}
    assert {
        path: hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() for path, file in stored.items()
    } == sums
    assert set(sums) <= set(ASSETS)


def test_nothing_is_stored_that_is_not_served() -> None:
    scripts = {".js", ".css", ".svg", ".gz", ".map", ".html", ".png", ".woff2"}
    files = [file for file in STATIC.glob("**/*") if file.suffix in scripts]
    assert {str(file.relative_to(STATIC)).removesuffix(".gz") for file in files} == set(ASSETS)


@pytest.mark.parametrize(
    "path",
    [
        "/docs/static/site/absent.js",
        "/docs/static/swagger-ui-5.35.0/LICENSE",
        "/docs/static/site/..%2Fdocuments.py",
        "/docs/static/%2E%2E/layout.py",
        "/docs/problems/absent",
        "/docs/problems/<script>",
    ],
)
async def test_what_is_not_there_is_a_problem(browser: httpx2.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/docs/problems/not-found"
    assert "script" not in answer.text


async def test_documents_are_made_once(browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ["/docs", "/docs/guide", "/docs/problems/not-found", "/docs/static/site/docs.css"]
    first = [(await browser.get(path)).content for path in paths]

    def gone(*_: object) -> bytes:
        raise AssertionError("read again")

    monkeypatch.setattr(Path, "read_bytes", gone)
    monkeypatch.setattr(Path, "read_text", gone)
    assert [(await browser.get(path)).content for path in paths] == first


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("deflate,gzip ; q=0.001", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("br, gzip; q=0.000", False),
        ("xgzip", False),
    ],
)
def test_gzip_is_sent_to_who_takes_it(header: str, *, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


async def test_problem_index_lists_all(browser: httpx2.AsyncClient) -> None:
    html = (await browser.get("/docs/problems")).text
    assert [address for address in links(html) if address.startswith("/docs/problems/")] == [
        kind.type for kind in CATALOGUE.values()
    ]


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=list(CATALOGUE))
async def test_problem_page_shows_an_answer_as_the_api_gives_it(browser: httpx2.AsyncClient, kind: ProblemType) -> None:
    html = (await browser.get(kind.type)).text
    text = unescape(re.sub(r"<[^>]+>", "", html))
    for said in (kind.title, kind.meaning, kind.remedy):
        assert said.replace("`", "") in text
    (example,) = re.findall(r"<pre><code>(.*?)</code></pre>", html, re.DOTALL)
    head, _, body = unescape(example).partition("\n\n")
    assert head.startswith(f"HTTP/1.1 {kind.status.value} ")
    _, real = problem_body(
        kind.slug,
        examples.DETAILS[kind.slug],
        examples.EXAMPLE_REQUEST_ID,
        examples.ERRORS.get(kind.slug, ()),
        examples.EXAMPLE_TRACE_ID,
    )
    assert json.loads(body) == json.loads(real)


def test_examples_are_of_types_that_exist() -> None:
    assert set(examples.DETAILS) == set(CATALOGUE)
    assert set(examples.ERRORS) | set(examples.HEADERS) <= set(CATALOGUE)


def test_texts_are_escaped() -> None:
    hostile = ProblemType("not-found", CATALOGUE["not-found"].status, "<b>&", "<script>x</script>", "<img src=x>")
    html = gzip.decompress(problem_page(hostile).compressed).decode()
    assert "<title>&lt;b&gt;&amp; " in html
    assert "<script>" not in html
    assert "<img" not in html


def page_text(document: Document) -> str:
    """The HTML of a document."""
    return gzip.decompress(document.compressed).decode()


def test_guide_names_the_limits_of_this_process() -> None:
    html = page_text(
        guide(
            make_settings(
                "postgresql://nowhere/none",
                limits=LimitSettings(default="77/minute"),
                http={"public_url": "https://api.example"},
            )
        )
    )
    assert "<code>77/minute</code>" in html
    assert "export API=https://api.example" in html
    assert "{{" not in html
    assert "gantry_[0-9A-Za-z]{11}_[0-9A-Za-z]{49}" in html
    assert "export API=http://127.0.0.1:8000" in page_text(guide(SETTINGS))


def test_guide_uses_every_value_it_is_given() -> None:
    marked = {name: f"<{name}>" for name in guide_values(SETTINGS)}
    text = (STATIC.parent / "pages" / "guide.md").read_text("utf-8")
    assert set(re.findall(r"\{\{(\w+)\}\}", text)) == set(marked)


def test_guide_lists_its_sections() -> None:
    html = page_text(guide(SETTINGS))
    contents = html.partition("<nav")[2].partition("</nav>")[0]
    assert links(contents) == [f"#{anchor}" for anchor in re.findall(r'<h2 id="([^"]+)"', html)]
    anchors = re.findall(r'<h[23] id="([^"]+)"', html)
    assert len(anchors) == len(set(anchors)) > 7


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (86_400, "24 hours"),
        (3600, "1 hour"),
        (90, "90 seconds"),
        (120, "2 minutes"),
        (1, "1 second"),
        (0.5, "0.5 seconds"),
        (0, "0 seconds"),
    ],
)
def test_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("octets", "words"), [(1_048_576, "1 MiB"), (8192, "8 KiB"), (2_000, "2,000 bytes")])
def test_size_in_words(octets: int, words: str) -> None:
    assert size(octets) == words
