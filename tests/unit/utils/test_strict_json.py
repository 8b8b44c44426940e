"""Strict JSON: what is good is read as the standard library reads it, and the rest is refused with a reason and a place."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.utils.strict_json import MAX_INTEGER_DIGITS, JsonMalformed, JsonUnacceptable, JsonValue, parse

DEPTH = 32
quick = settings(deadline=None, max_examples=150)

good_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    good_text,
    st.just('😀\\u0000"[{'),
)
documents: st.SearchStrategy[JsonValue] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(good_text, inner, max_size=3)),
    max_leaves=12,
)


def depth_of(value: JsonValue) -> int:
    """How deeply arrays and objects are nested; a scalar is 0."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def look_up(value: JsonValue, pointer: str) -> JsonValue:
    """RFC 6901 §4."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        value = value[name] if isinstance(value, dict) else value[int(name)]  # type: ignore[index]  # pointers lead into containers
    return value


@quick
@given(documents, st.booleans(), st.sampled_from([None, 0, 2]))
def test_json_is_read_as_it_was_written(value: JsonValue, escaped: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    read = parse(body, DEPTH)
    assert read == value
    assert repr(read) == repr(json.loads(body)), "types, signs and order included"


@quick
@given(documents)
def test_depth_is_counted_outside_strings(value: JsonValue) -> None:
    body = json.dumps({"": '[{[{\\"[[', "value": value}).encode()
    depth = 1 + depth_of(value)
    parse(body, depth)
    with pytest.raises(JsonMalformed, match=f"more than {depth - 1} levels"):
        parse(body, depth - 1)


@quick
@given(st.one_of(st.binary(max_size=60), st.text('{}[]",:\\u0dD8 1e-+.NaInfity\n', max_size=40).map(str.encode)))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        value = parse(body, DEPTH)
    except JsonMalformed:
        with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
            json.loads(body.decode(), parse_constant=lambda _: json.loads("-"))
    except JsonUnacceptable:
        json.loads(body)
    else:
        assert value == json.loads(body)


@quick
@given(documents, st.data())
def test_a_fault_is_found_wherever_it_is(value: JsonValue, data: st.DataObject) -> None:
    fault = data.draw(
        st.sampled_from(['"\\u0000"', '"\\uD800"', "1e400", "-1e999", "9" * 401, '{"a":1,"a":2}', '{"\\u0000":1}'])
    )
    names = data.draw(st.lists(good_text, max_size=4))
    text, pointer = fault, ""
    for name in reversed(names):
        around = data.draw(st.sampled_from(["object", "array"]))
        if around == "object":
            text, pointer = f"{{{json.dumps(name)}:{text}}}", "/" + name.replace("~", "~0").replace("/", "~1") + pointer
        else:
            text, pointer = f"[{json.dumps(value)},{text}]", "/1" + pointer
    with pytest.raises(JsonUnacceptable) as caught:
        parse(text.encode(), 64)
    assert caught.value.pointer == pointer + ("/a" if '"a"' in fault else "")


@pytest.mark.parametrize(
    ("text", "pointer", "reason"),
    [
        ('{"a":1,"a":2}', "/a", "twice"),
        ('{"a":1,"\\u0061":2}', "/a", "twice"),
        ('{"a":{"b":[0,{"c":1,"c":1}]}}', "/a/b/1/c", "twice"),
        ('{"a/b":{"m~n":{"x":1,"x":2}}}', "/a~1b/m~0n/x", "twice"),
        ('{"":{"":1,"":2}}', "//", "twice"),
        ('"\\ud800"', "", "surrogates"),
        ('["\\udfff"]', "/0", "surrogates"),
        ('["\\ude00\\ud83d"]', "/0", "surrogates"),
        ('{"a":"x\\u0000y"}', "/a", "U+0000"),
        ('{"a":{"\\u0000":1}}', "/a", "Names"),
        ('{"a":{"\\ud800":1}}', "/a", "Names"),
        ('{"\\ud800":{"b":1}}', "", "Names"),
        ('{"a":1e400}', "/a", "too large"),
        ("[0,-1e400]", "/1", "too large"),
        ("1" + "0" * 400 + ".0", "", "too large"),
        ('{"a":' + "1" * 401 + "}", "/a", "400 digits"),
        ('{"a":-' + "1" * 401 + "}", "/a", "400 digits"),
        ('{"a":' + "1" * 1_000_000 + "}", "/a", "400 digits"),
        # Of several, the first in the text.
        ('{"a":"\\u0000","b":1e400,"c":1,"c":2}', "/a", "U+0000"),
        ('{"b":1e400,"a":"\\u0000"}', "/b", "too large"),
    ],
)
def test_unusable_json_is_refused_with_its_place(text: str, pointer: str, reason: str) -> None:
    with pytest.raises(JsonUnacceptable, match=re.escape(reason)) as caught:
        parse(text.encode(), DEPTH)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    ("body", "position", "reason"),
    [
        (b"", 0, "Expecting value"),
        (b" ", 1, "Expecting value"),
        (b"{", 1, "property name"),
        (b'{"a":1,}', None, "not valid JSON"),
        (b"{'a':1}", 1, "property name"),
        (b'{"a":1} x', 8, "Extra data"),
        ('{"é":x}'.encode(), 6, "Expecting value"),
        (b"01", 1, "Extra data"),
        (b"+1", 0, "Expecting value"),
        (b".5", 0, "Expecting value"),
        (b"1.", 1, "Extra data"),
        (b"tru", 0, "Expecting value"),
        (b'"a\nb"', 2, "control character"),
        (b'"a\x00b"', 2, "NUL"),
        (b'"\\x41"', 1, "escape"),
        (b'"\\u12"', None, "escape"),
        (b'"abc', 0, "Unterminated"),
        (b'"\\', None, "not valid JSON"),
        (b"\xff", 0, "UTF-8"),
        (b'"a\xc3"', 2, "UTF-8"),
        (b'"\xed\xa0\x80"', 1, "UTF-8"),  # a surrogate, encoded
        (b'"\xc0\x80"', 1, "UTF-8"),  # NUL in two bytes
        (b'\xef\xbb\xbf{"a":1}', 0, "byte order mark"),
        ('{"a":1}'.encode("utf-16"), 0, "UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), 1, "NUL"),
        ('{"a":1}'.encode("utf-16-be"), 0, "NUL"),
        ('{"a":1}'.encode("utf-32-be"), 0, "NUL"),
        (b'{"NaN":"NaN","a":NaN}', 17, "NaN"),
        (b"[1,Infinity]", 3, "NaN"),
        (b'["\\"Infinity",-Infinity]', 14, "NaN"),
        # Not JSON at all counts before unusable JSON.
        (b'[{"a":1,"a":2},', 15, "Expecting value"),
        (b'["\\u0000", 1e400, NaN]', 18, "NaN"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(body: bytes, position: int | None, reason: str) -> None:
    with pytest.raises(JsonMalformed, match=re.escape(reason)) as caught:
        parse(body, DEPTH)
    if position is not None:
        assert caught.value.position == position
        assert str(caught.value).endswith(f"(at byte {position})")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-0", 0),
        ("-0.0", -0.0),
        ("1e308", 1e308),
        ("1e-400", 0.0),
        ("9" * MAX_INTEGER_DIGITS, int("9" * MAX_INTEGER_DIGITS)),
        ("-" + "9" * MAX_INTEGER_DIGITS, -int("9" * MAX_INTEGER_DIGITS)),
        (f'["\\ud83d\\ude00",-{"9" * MAX_INTEGER_DIGITS}]', ["😀", -int("9" * MAX_INTEGER_DIGITS)]),
        ("9223372036854775808", 2**63),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\\\u0000"', "\\u0000"),
        ('"\\\\ud800"', "\\ud800"),
        ('{"\\ud83d\\ude00":[1.5,{"a":true}]}', {"😀": [1.5, {"a": True}]}),
        ('{"a":{"a":{"a":null}}}', {"a": {"a": {"a": None}}}),
        (" [ ]\t\r\n", []),
        ('"\ufeff"', "\ufeff"),
        ("{}", {}),
    ],
)
def test_unusual_json_is_read(text: str, value: JsonValue) -> None:
    read = parse(text.encode(), DEPTH)
    assert repr(read) == repr(value)


@quick
@given(documents, st.data())
def test_no_message_repeats_a_value(value: JsonValue, data: st.DataObject) -> None:
    text = json.dumps({"name": ["hunter2", value, "hunter2"]})
    position = data.draw(st.integers(0, len(text)))
    broken = (
        text[:position]
        + data.draw(st.sampled_from(["\\", '"', "\x01", ",", '"\\u0000"', "1e400", "NaN", "hunter2", "'", "}"]))
        + text[position:]
    )
    message = ""
    try:
        parse(broken.encode(), DEPTH)
    except (JsonMalformed, JsonUnacceptable) as refusal:
        message = str(refusal)
    assert "hunter" not in message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="arrays"),
        pytest.param(b'{"a":' * 100_000, id="objects"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="closed"),
        pytest.param(b'[{"a":' * 50_000 + b"1" + b"}]" * 50_000, id="mixed"),
        pytest.param(b'["\\"[",' + b"[" * 100_000, id="behind a string"),
    ],
)
def test_deep_nesting_is_refused_before_anything_recurses(body: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(JsonMalformed, match="32 levels"):
        parse(body, DEPTH)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("depth", [1, DEPTH, 200])
def test_the_deepest_allowed_is_read_by_both_ways(depth: int) -> None:
    body = b"[" * depth + b"]" * depth
    assert parse(body, depth) == json.loads(body)
    with pytest.raises(JsonMalformed, match="levels"):
        parse(b"[" + body + b"]", depth)
    objects = b'{"a":' * (depth - 1) + b'{"a":"\\u0000"}' + b"}" * (depth - 1)
    with pytest.raises(JsonUnacceptable) as caught:
        parse(objects, depth)
    assert caught.value.pointer == "/a" * depth


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'"' + b'\\"' * 500_000, id="no end"),
        pytest.param(b"[" * 33 + b'"' + b'\\"' * 500_000, id="deep, no end"),
        pytest.param(b"[" * 33 + b'"' + b"\\" * 999_999, id="deep, backslashes"),
        pytest.param(b"[" * 33 + b'"' + b'\\"' * 500_000 + b"\\", id="deep, ends in a backslash"),
        pytest.param(b'["' + b'[",NaN"' * 150_000, id="quotes"),
        pytest.param(b"[" + b'"\\u0000",' * 100_000 + b"]", id="escapes"),
        pytest.param(b"[" + b'{"a":1,"a":1},' * 70_000 + b"1]", id="twins"),
        pytest.param(b"[" + b"1e400," * 150_000 + b"1]", id="floats"),
        pytest.param(b"[0." + b"1" * 1_000_000 + b"e]", id="a long fraction"),
        pytest.param(b"[" + b"[]," * 300_000 + b'"\\ud800"]', id="a fault at the end"),
    ],
)
def test_hostile_bodies_take_linear_time(body: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises((JsonMalformed, JsonUnacceptable)):
        parse(body, DEPTH)
    assert time.perf_counter() - start < 5, "seconds for a megabyte; quadratic time would be minutes"


@quick
@given(documents, st.data())
def test_a_pointer_leads_to_the_fault(value: JsonValue, data: st.DataObject) -> None:
    """The faulty string is put somewhere into a document; the pointer finds it in what the standard library reads."""
    marked = json.loads(json.dumps([value, "FAULT", value]))
    body = json.dumps(marked).replace('"FAULT"', '"\\u0000"').encode()
    with pytest.raises(JsonUnacceptable) as caught:
        parse(body, DEPTH)
    assert look_up(json.loads(body), caught.value.pointer) == "\0"
