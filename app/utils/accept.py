"""Content negotiation by ``Accept`` (RFC 9110 §12.5.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE: Final = rf'(?:{_WORD}|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+")'
_PARAMETER: Final = rf"[ \t]*+;[ \t]*+(?:(?P<name>{_WORD})=(?P<value>{_VALUE}))?+"

# All quantifiers are possessive: nothing is tried twice, so time is linear.
_ELEMENT: Final = re.compile(
    rf"[ \t]*+(?:(?P<type>{_WORD})/(?P<subtype>{_WORD})(?P<parameters>(?:{_PARAMETER})*+)[ \t]*+)?+(?P<more>,|\Z)"
)
_PARAMETERS: Final = re.compile(_PARAMETER)
_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_ESCAPE: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class _MediaRange:
    """One element of the header; a wildcard is ``*``."""

    type: str
    subtype: str
    parameters: frozenset[tuple[str, str]]
    weight: float

    @property
    def specificity(self) -> tuple[bool, bool, int]:
        """Of several ranges that match, the greatest of these counts."""
        return self.type != "*", self.subtype != "*", len(self.parameters)

    def matches(self, offer: "_MediaRange") -> bool:
        return (
            self.type in ("*", offer.type)
            and self.subtype in ("*", offer.subtype)
            and self.parameters <= offer.parameters
        )


def acceptable(accept_header: str | None, offered: Sequence[str]) -> str | None:
    """The media type of ``offered`` (at least one, the server's favourite first) that the client likes best; none
    when it takes none.

    Of types it likes equally, the first offered wins. An absent, empty or malformed header takes anything. Several
    header lines come joined by ``, ``. ``charset=utf-8`` in the header is not compared: what is offered is UTF-8.
    """
    if accept_header is None or accept_header == "*/*":
        return offered[0]
    if accept_header in offered:
        return accept_header
    ranges = _parse(accept_header)
    if not ranges:
        return offered[0]
    # `max` keeps the first of equals.
    weight, best = max(((_weight(ranges, offer), offer) for offer in offered), key=lambda pair: pair[0])
    return best if weight > 0 else None


def _weight(ranges: list[_MediaRange], offer: str) -> float:
    fitting = [candidate for candidate in ranges if candidate.matches(_parse_offer(offer))]
    return max(fitting, key=lambda candidate: (candidate.specificity, candidate.weight)).weight if fitting else 0.0


@lru_cache(64)
def _parse_offer(media_type: str) -> _MediaRange:
    """An offered type; there are few, and all from the code."""
    return _parse(media_type)[0]


def _parse(header: str) -> list[_MediaRange]:
    """The ranges of the header; none when it is malformed."""
    ranges = []
    position = 0
    while (element := _ELEMENT.match(header, position)) is not None:
        if element["type"]:
            media_range = _media_range(element)
            if media_range is None:
                return []
            ranges.append(media_range)
        if not element["more"]:
            return ranges
        position = element.end()
    return []


def _media_range(element: re.Match[str]) -> _MediaRange | None:
    main, sub = element["type"].lower(), element["subtype"].lower()
    if main == "*" and sub != "*":
        return None
    parameters = set()
    weight = 1.0
    for parameter in _PARAMETERS.finditer(element["parameters"]):
        if not parameter["name"]:
            continue  # RFC 9110 §5.6.6 allows an empty parameter
        name, value = parameter["name"].lower(), _unquoted(parameter["value"])
        if name == "q":
            if _WEIGHT.fullmatch(value) is None:
                return None
            weight = float(value)
        elif name != "charset" or value.lower() != "utf-8":
            parameters.add((name, value))
    return _MediaRange(main, sub, frozenset(parameters), weight)


def _unquoted(value: str) -> str:
    return _ESCAPE.sub(r"\1", value[1:-1]) if value.startswith('"') else value
