"""Entity tags (RFC 9110 §8.8.3) of versioned rows, and the lists of them in ``If-Match`` and ``If-None-Match``
(§13.1).

A malformed list is read as the empty one, which matches nothing. So neither condition can be met by accident: a
malformed ``If-Match`` is false and the change is refused with 412; a malformed ``If-None-Match`` is true and the
answer is sent in full.
"""

import re
from dataclasses import dataclass
from typing import Final

_VERSION_MAX: Final = 2**63 - 1
_WEAK: Final = "W/"

_ELEMENT: Final = re.compile(
    r"""
    [ \t]*+
    (?: (?P<weak>W/)?+ (?P<opaque>"[\x21\x23-\x7e\x80-\xff]*+") [ \t]*+ )?+   # an element may be empty (§5.6.1.2)
    (?P<more>,|\Z)
    """,
    re.VERBOSE,
)
"""One element with its comma. All quantifiers are possessive: nothing is tried twice, so time is linear."""

_STRONG_VERSION: Final = re.compile(r'"(0|[1-9][0-9]{0,18})"')


@dataclass(frozen=True, slots=True)
class ETagList:
    """A list of entity tags as a client sent it."""

    star: bool = False
    """``*``: any version that exists."""
    strong: tuple[str, ...] = ()
    """The strong tags, each with its quotes."""
    weak: tuple[str, ...] = ()
    """The opaque parts of the weak tags, each with its quotes and without ``W/``."""


_STAR: Final = ETagList(star=True)
_NOTHING: Final = ETagList()


def strong_etag(version: int) -> str:
    """The strong entity tag of a row's version: ``7`` gives ``"7"``, with the quotes."""
    return f'"{version}"'


def parse_etag_list(header: str) -> ETagList:
    """The list in ``If-Match`` or ``If-None-Match``; several header lines come joined by ``, `` (RFC 9110 §5.3).

    Raises nothing: a malformed header gives the empty list.
    """
    if header.strip(" \t") == "*":
        return _STAR
    strong: list[str] = []
    weak: list[str] = []
    position = 0
    while (element := _ELEMENT.match(header, position)) is not None:
        if opaque := element["opaque"]:
            (weak if element["weak"] else strong).append(opaque)
        if not element["more"]:
            return ETagList(strong=tuple(strong), weak=tuple(weak))
        position = element.end()
    return _NOTHING


def matches_strong(tags: ETagList, etag: str) -> bool:
    """Whether the list names ``etag`` by strong comparison (§8.8.3.2), as for ``If-Match``: weak tags match nothing."""
    return tags.star or etag in tags.strong  # a weak `etag` begins with W/, and no element of `strong` does


def matches_weak(tags: ETagList, etag: str) -> bool:
    """Whether the list names ``etag`` by weak comparison (§8.8.3.2), as for ``If-None-Match``: the opaque part counts."""
    opaque = etag.removeprefix(_WEAK)
    return tags.star or opaque in tags.strong or opaque in tags.weak


def versions_strong(tags: ETagList) -> tuple[int, ...] | None:
    """The versions whose strong tag is in the list, each once, for ``WHERE version = ANY (...)``; none for ``*``: any
    version.

    Only tags that ``strong_etag`` can have made count: ``"07"`` or ``"7 "`` names no version, nor does a number
    beyond 64 bits.
    """
    if tags.star:
        return None
    numbers = (int(match[1]) for tag in tags.strong if (match := _STRONG_VERSION.fullmatch(tag)) is not None)
    return tuple(dict.fromkeys(number for number in numbers if number <= _VERSION_MAX))
