"""JSON request bodies, read strictly (RFC 8259, and most of I-JSON, RFC 7493), so that nothing a client sends can
surprise later code.

The standard library's parser takes more than JSON (``NaN``, UTF-16, a byte order mark) and keeps what nobody can
store or send again: lone surrogates, U+0000, ``1e400`` as infinity, the last of two equal names. Here each of these
is refused. What is not JSON at all is ``JsonMalformed``; what is JSON but unusable is ``JsonUnacceptable``, with a
JSON pointer (RFC 6901) to it. No message repeats a value.
"""

import itertools
import json
import math
import re
from typing import Any, Final

type JsonValue = bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None

MAX_INTEGER_DIGITS: Final = 400
"""More than any number that a double holds has (309), and far below where converting them takes noticeable time."""


class JsonMalformed(Exception):
    """The body is not JSON, or nested too deeply. ``position``: the offset of the first wrong byte, where known."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message if position is None else f"{message} (at byte {position})")
        self.position = position


class JsonUnacceptable(Exception):
    """The body is JSON, but part of it can't be used. ``pointer`` (RFC 6901) says which: ``""`` is the whole body."""

    def __init__(self, message: str, pointer: str) -> None:
        super().__init__(message)
        self.pointer = pointer


def parse(body: bytes, max_depth: int) -> JsonValue:
    """The value of a JSON text in UTF-8, with arrays and objects nested at most ``max_depth`` (1: no nesting) deep.

    ``max_depth`` is at most a few hundred: the parser recurses. Raises ``JsonMalformed``, or else
    ``JsonUnacceptable`` for the first unusable part of the text.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise JsonMalformed("The body is not valid UTF-8", error.start) from None
    _check_depth(body, max_depth)
    try:
        value: JsonValue = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed(body, text, error) from None
    except _Suspect:
        pass
    else:
        if _SUSPECT_ESCAPE.search(text) is None:
            return value
    return _parse_carefully(body, text)


# --- depth ---

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
"""A string, or all that follows a quote that is never closed: it matches at any quote, so time is linear."""

_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""An opening bracket is one step down, a closing one (-1 as a signed byte) one step up."""


def _check_depth(body: bytes, max_depth: int) -> None:
    """Refuse deep nesting before the parser recurses into it: in C it could end the process."""
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    steps = _STRINGS.sub(b"", body).translate(_STEPS, _OTHERS)
    if max(itertools.accumulate(memoryview(steps).cast("b")), default=0) > max_depth:
        raise JsonMalformed(f"The body is nested more than {max_depth} levels deep")


# --- the common way ---


class _Suspect(Exception):
    """Something unacceptable is there; the careful way says what and where."""


class _Constant(json.JSONDecodeError):
    """``NaN`` or an infinity: to be treated like any other error of syntax."""


_CONSTANT: Final = re.compile(_STRING + rb"|(?P<constant>NaN|-?Infinity)", re.DOTALL)
_SUSPECT_ESCAPE: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
"""Only these can make U+0000 or a surrogate: the parser and UTF-8 refuse raw ones. Good pairs are suspects too."""


def _unique_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise _Suspect
    return value


def _has_too_many_digits(integer: str) -> bool:
    return len(integer) > MAX_INTEGER_DIGITS and len(integer.removeprefix("-")) > MAX_INTEGER_DIGITS


def _bounded_int(digits: str) -> int:
    if _has_too_many_digits(digits):
        raise _Suspect
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _Suspect
    return value


def _refuse_constant(_: str) -> None:
    raise _Constant("Not a number", "", 0)


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_unique_object, parse_int=_bounded_int, parse_float=_finite_float, parse_constant=_refuse_constant
)


def _malformed(body: bytes, text: str, error: json.JSONDecodeError) -> JsonMalformed:
    if isinstance(error, _Constant):
        # The parser came to it without an error before, so it is the first that stands outside a string.
        constants = (match.start() for match in _CONSTANT.finditer(body) if match["constant"])
        return JsonMalformed("NaN and infinities are not JSON", next(constants))
    if text.startswith("\ufeff"):
        return JsonMalformed("The body must not begin with a byte order mark", 0)
    if b"\0" in body:
        return JsonMalformed("The body must be JSON in UTF-8, without NUL bytes", body.index(b"\0"))
    return JsonMalformed(f"The body is not valid JSON: {error.msg}", len(text[: error.pos].encode()))


# --- the careful way ---


class _Members(list[tuple[str, Any]]):
    """An object as its members, equal names included."""


class _TooManyDigits:
    """An integer that was not converted."""


_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")

_careful_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_Members,
    parse_int=lambda digits: _TooManyDigits() if _has_too_many_digits(digits) else int(digits),
    parse_constant=_refuse_constant,
)


def _parse_carefully(body: bytes, text: str) -> JsonValue:
    try:
        value = _careful_decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed(body, text, error) from None
    try:
        return _accept(value)
    except _Refused as refused:
        raise JsonUnacceptable(refused.message, refused.pointer()) from None


class _Refused(Exception):
    """A part that can't be used; each level it passes on its way up adds its own name or index."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = list(path)

    def pointer(self) -> str:
        """RFC 6901 §3."""
        return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in reversed(self.path))


def _accept(value: Any) -> JsonValue:
    """The value with its objects as dictionaries. Raises ``_Refused`` for the first part that can't be used."""
    match value:
        case str():
            if _UNSTORABLE.search(value):
                raise _Refused("Strings must not contain U+0000 or lone surrogates.")
        case _Members():
            return _accept_members(value)
        case list():
            return _accept_elements(value)
        case float():
            if math.isinf(value):
                raise _Refused("The number is too large for a double.")
        case _TooManyDigits():
            raise _Refused(f"Integers have at most {MAX_INTEGER_DIGITS} digits.")
    result: JsonValue = value
    return result


def _accept_elements(elements: list[Any]) -> JsonValue:
    accepted: list[JsonValue] = []
    try:
        for element in elements:
            accepted.append(_accept(element))  # noqa: PERF401 - how many there are is the index of the refused one
    except _Refused as refused:
        refused.path.append(str(len(accepted)))
        raise
    return accepted


def _accept_members(members: _Members) -> JsonValue:
    accepted: dict[str, JsonValue] = {}
    for name, value in members:
        if _UNSTORABLE.search(name):
            # The pointer stays at the object: such a name can't be sent back.
            raise _Refused("Names of members must not contain U+0000 or lone surrogates.")
        if name in accepted:
            raise _Refused("The name of this member occurs twice.", name)
        try:
            accepted[name] = _accept(value)
        except _Refused as refused:
            refused.path.append(name)
            raise
    return accepted
