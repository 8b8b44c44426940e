"""Entity tags and lists of them, by RFC 9110."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.utils.etags import ETagList, matches_strong, matches_weak, parse_etag_list, strong_etag, versions_strong

NOTHING = ETagList()
any_character = st.one_of(st.characters(), st.characters(categories=["Cs"]))  # lone surrogates included
quick = settings(deadline=None, max_examples=100)

etag_characters = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f')
opaque_tags = st.text(etag_characters, max_size=8).map(lambda text: f'"{text}"')
tags = st.tuples(st.booleans(), opaque_tags)
blanks = st.text(" \t", max_size=2)


@st.composite
def headers(draw: st.DrawFn, written: list[tuple[bool, str]]) -> str:
    """The tags as a client may write them: with blanks and empty elements anywhere between."""
    elements = [("W/" if weak else "") + opaque for weak, opaque in written]
    for _ in range(draw(st.integers(0, 3))):
        elements.insert(draw(st.integers(0, len(elements))), "")
    return ",".join(draw(blanks) + element + draw(blanks) for element in elements)


@quick
@given(st.lists(tags, max_size=5), st.data())
def test_a_list_is_read_as_it_was_written(written: list[tuple[bool, str]], data: st.DataObject) -> None:
    parsed = parse_etag_list(data.draw(headers(written)))
    assert parsed.strong == tuple(opaque for weak, opaque in written if not weak)
    assert parsed.weak == tuple(opaque for weak, opaque in written if weak)
    assert not parsed.star


@quick
@given(st.one_of(st.text(any_character, max_size=50), st.text('"W/*, \t7\\', max_size=20)))
def test_no_header_raises_and_a_malformed_one_matches_nothing(header: str) -> None:
    parsed = parse_etag_list(header)
    for opaque in parsed.strong + parsed.weak:
        assert opaque in header
    if not parsed.star and not parsed.strong and not parsed.weak:
        assert not matches_strong(parsed, '"7"')
        assert not matches_weak(parsed, '"7"')
        assert versions_strong(parsed) == ()


@quick
@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 2**63 - 1), max_size=4))
def test_a_version_is_found_in_the_lists_that_name_it(version: int, others: list[int]) -> None:
    header = ", ".join(map(strong_etag, [*others, version]))
    parsed = parse_etag_list(header)
    versions = versions_strong(parsed)
    assert versions is not None
    assert set(versions) == {version, *others}
    assert len(versions) == len(set(versions))
    assert matches_strong(parsed, strong_etag(version))
    assert matches_weak(parsed, strong_etag(version))


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ],
)
def test_the_comparisons_of_section_8_8_3_2(one: str, other: str, strong: bool, weak: bool) -> None:
    for named, etag in [(one, other), (other, one)]:
        assert matches_strong(parse_etag_list(named), etag) is strong
        assert matches_weak(parse_etag_list(named), etag) is weak


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # The examples of RFC 9110 §8.8.3, §13.1.1 and §13.1.2.
        ('"xyzzy"', ETagList(strong=('"xyzzy"',))),
        ('W/"xyzzy"', ETagList(weak=('"xyzzy"',))),
        ('""', ETagList(strong=('""',))),
        ('"xyzzy", "r2d2xxxx", "c3piozzzz"', ETagList(strong=('"xyzzy"', '"r2d2xxxx"', '"c3piozzzz"'))),
        ('W/"xyzzy", W/"r2d2xxxx", W/"c3piozzzz"', ETagList(weak=('"xyzzy"', '"r2d2xxxx"', '"c3piozzzz"'))),
        ("*", ETagList(star=True)),
        (" *\t", ETagList(star=True)),
        ('"a,b" , W/"c"', ETagList(strong=('"a,b"',), weak=('"c"',))),
        (', ,"7",,', ETagList(strong=('"7"',))),
        ('"\xe9\xff"', ETagList(strong=('"\xe9\xff"',))),
        ('"a\\"', ETagList(strong=('"a\\"',))),  # a backslash escapes nothing here
        ("", NOTHING),
        (" , ,", NOTHING),
    ],
)
def test_lists(header: str, expected: ETagList) -> None:
    assert parse_etag_list(header) == expected


@pytest.mark.parametrize(
    "header",
    ["7", '"7', '7"', '"7" "8"', '"7"; "8"', 'w/"7"', 'W/ "7"', 'W/7', 'W"7"', "'7'", '*, "7"', '"7", *', "*, *", "*,", '"a b"', '"\x7f"',
     '"a\x00"', '"7"\n', '"7", 8', '"\u0101"', '"\ud800"', '"a\\"b"'],
)  # fmt: skip
def test_a_malformed_list_is_empty(header: str) -> None:
    assert parse_etag_list(header) == NOTHING


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        ("*", None),
        ('"7"', (7,)),
        ('"7", "8", "7"', (7, 8)),
        ('W/"7"', ()),
        ('W/"7", "8"', (8,)),
        ('"0"', (0,)),
        ('"9223372036854775807"', (2**63 - 1,)),
        ('"9223372036854775808", "99999999999999999999999"', ()),
        ('"07", "+7", "-7", "7_0", "7.0", "", "x", "\xb2"', ()),
        ("seven", ()),
    ],
)
def test_the_versions_of_if_match(header: str, versions: tuple[int, ...] | None) -> None:
    assert versions_strong(parse_etag_list(header)) == versions


def test_star_matches_everything() -> None:
    star = parse_etag_list("*")
    assert matches_strong(star, '"7"')
    assert matches_weak(star, '"7"')


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(" " * 100_000 + "x", id="blanks"),
        pytest.param('"7"' + " " * 100_000 + "x", id="blanks behind"),
        pytest.param('"' + "a" * 100_000, id="no end"),
        pytest.param('"' * 100_001, id="quotes"),
        pytest.param("," * 100_000 + "x", id="commas"),
        pytest.param("W/" * 50_000, id="weak"),
        pytest.param('"7",' * 25_000 + "x", id="many"),
        pytest.param('"' + "9" * 100_000 + '"', id="digits"),
    ],
)
def test_hostile_headers_take_linear_time(header: str) -> None:
    start = time.perf_counter()
    assert versions_strong(parse_etag_list(header)) == ()
    assert time.perf_counter() - start < 2, "seconds; quadratic time would be minutes"
