"""What a browser is given: bytes that never change while the process runs, kept compressed.

Starlette's ``StaticFiles`` is not used: it reads each file in a thread, for every request. All documents together take
about 0.9 MB of a worker's memory, and only after somebody opened them.
"""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

from app.utils.etags import matches_weak, parse_etag_list

STATIC = Path(__file__).parent / "static"

IMMUTABLE = "public, max-age=31536000, immutable"
"""For addresses that carry a version (RFC 8246)."""
REVALIDATED = "public, no-cache"
"""For addresses whose content changes with a release: kept, but asked for each time."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

ZERO_WEIGHT = re.compile(r"\s*q=0(\.0*)?\s*")


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is sent, with the headers that belong to it."""

    compressed: bytes = field(repr=False)
    """In gzip (RFC 1952)."""
    media_type: str
    digest: str
    """SHA-256 of ``compressed``, shortened: the documents of one address are told apart by it."""
    headers: Mapping[str, str]

    @classmethod
    def from_text(cls, text: str, headers: Mapping[str, str]) -> "Document":
        """An HTML page."""
        return cls._of(gzip.compress(text.encode(), mtime=0), "text/html; charset=utf-8", headers)

    @classmethod
    def from_file(cls, path: str, cache_control: str) -> "Document":
        """The file at ``path`` below ``static/``; a large one is stored compressed, as ``<path>.gz``."""
        file, stored = STATIC / path, STATIC / f"{path}.gz"
        compressed = stored.read_bytes() if stored.exists() else gzip.compress(file.read_bytes(), mtime=0)
        return cls._of(compressed, MEDIA_TYPES[file.suffix], {"Cache-Control": cache_control})

    @classmethod
    def _of(cls, compressed: bytes, media_type: str, headers: Mapping[str, str]) -> "Document":
        return cls(compressed, media_type, hashlib.sha256(compressed).hexdigest()[:32], headers)

    def respond(self, request: Headers) -> Response:
        """The answer to a GET: compressed where the client takes that, 304 when it has the very same bytes.

        The two encodings are two representations, so their strong ETags differ (RFC 9110 §8.8.3.3). A 304 repeats every
        header, because a browser puts them over those it stored.
        """
        compressed = accepts_gzip(request.get("accept-encoding", ""))
        etag = f'"{self.digest}"' if compressed else f'"{self.digest}-identity"'
        headers = {**self.headers, "ETag": etag, "Vary": "Accept-Encoding"}
        known = request.get("if-none-match")
        if known is not None and matches_weak(parse_etag_list(known), etag):
            return Response(status_code=304, headers=headers)
        if compressed:
            return Response(self.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=self.media_type)
        return Response(gzip.decompress(self.compressed), headers=headers, media_type=self.media_type)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header (RFC 9110 §12.5.3) names gzip, and not with the weight 0."""
    for entry in accept_encoding.lower().split(","):
        coding, _, weight = entry.partition(";")
        if coding.strip() == "gzip":
            return ZERO_WEIGHT.fullmatch(weight) is None
    return False
