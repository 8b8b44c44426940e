"""The head of a request, judged: its size, its host, and where its body ends (RFC 9112 §§3.2, 6.1)."""

from typing import Final, NamedTuple

from app.core.config import HttpSettings
from app.core.server.problems import Refusal

_EXAMINED: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
_LINE_OVERHEAD: Final = 4
"""Colon, space and line end."""


class Body(NamedTuple):
    """What a head announces of the body. False when there is none."""

    length: int = 0
    """Bytes; 0 when it is chunked."""
    chunked: bool = False

    def __bool__(self) -> bool:
        return self.length > 0 or self.chunked


NO_BODY: Final = Body()


def examine(version: str, target: bytes, headers: list[tuple[bytes, bytes]], http: HttpSettings) -> Body:
    """Judge a head that the parser found well-formed. ``headers`` have lower-case names.

    The parser has already refused what has both a length and a transfer coding, several lengths, or a length that is no number.
    Raises ``Refusal``.
    """
    if version not in ("1.1", "1.0"):
        raise Refusal("malformed-request", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    check_target(len(target), http)
    if len(headers) > http.max_headers:
        raise Refusal("headers-too-large", f"At most {http.max_headers} header lines are read.")
    size = hosts = 0
    body = NO_BODY
    for name, value in headers:
        size += len(name) + len(value) + _LINE_OVERHEAD
        if name in _EXAMINED:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                body = Body(length=int(value))
            elif version == "1.0" or body or value.lower() != b"chunked":
                raise Refusal("malformed-request", "The only transfer coding is chunked, once, with HTTP/1.1.")
            else:
                body = Body(chunked=True)
    check_size(size, http)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise Refusal("malformed-request", "An HTTP/1.1 request has one Host header.")
    return body


def check_target(size: int, http: HttpSettings) -> None:
    """Raises ``Refusal`` for a request target of too many bytes."""
    if size > http.max_target_bytes:
        raise Refusal("uri-too-long", f"Path and query may have {http.max_target_bytes} bytes.")


def check_size(size: int, http: HttpSettings) -> None:
    """Raises ``Refusal`` for headers of too many bytes."""
    if size > http.max_header_bytes:
        raise Refusal("headers-too-large", f"At most {http.max_header_bytes} bytes of headers are read.")
