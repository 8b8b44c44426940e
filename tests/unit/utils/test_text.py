"""Prefixes as ranges, and cells that a spreadsheet does not run."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.utils.text import escape_formula, prefix_upper_bound

LAST = "\U0010ffff"
quick = settings(deadline=None, max_examples=200)

# Few characters, so that prefixes and neighbours meet; among them the ends of every range.
characters = st.sampled_from("ab\x01\x7f\x80\ud7ff\ue000\uffff\U00010000" + LAST)
near = st.text(characters, max_size=4)
storable = st.one_of(near, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6))


@quick
@given(storable, storable)
def test_what_begins_with_the_prefix_is_what_lies_below_the_bound(prefix: str, other: str) -> None:
    bound = prefix_upper_bound(prefix)
    for text in (other, prefix + other, prefix + LAST * 3 + other):
        in_range = prefix.encode() <= text.encode() and (bound is None or text.encode() < bound.encode())
        assert in_range == text.startswith(prefix)


@quick
@given(storable)
def test_the_bound_is_the_least_string_above(prefix: str) -> None:
    bound = prefix_upper_bound(prefix)
    if bound is None:
        assert set(prefix) <= {LAST}
        return
    assert not bound.startswith(prefix)
    # A string just below the bound begins with the prefix: its last character is one less, and the greatest follow.
    before = ord(bound[-1]) - 1
    assert (bound[:-1] + chr(0xD7FF if before == 0xDFFF else before) + LAST * 8).startswith(prefix)


@pytest.mark.parametrize(
    ("prefix", "bound"),
    [
        ("", None),
        (LAST, None),
        (LAST * 3, None),
        ("a", "b"),
        ("az", "a{"),
        ("a" + LAST, "b"),
        ("ab" + LAST * 2, "ac"),
        ("\ud7ff", "\ue000"),
        ("\x7f", "\x80"),
        ("\uffff", "\U00010000"),
        ("%_\\", "%_]"),
    ],
)
def test_known_bounds(prefix: str, bound: str | None) -> None:
    assert prefix_upper_bound(prefix) == bound


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\tx", "\rx", "\nx", "\0x", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20SUM",
     " =1", "  \t =1", "\xa0=1", "\u3000=1",
     "\u200b=1", "\u202e=1", "\u2066=1", "\ufeff=1", "\ufeff \u2060@x", "=", "-"],
)  # fmt: skip
def test_formulas_become_text(cell: str) -> None:
    assert escape_formula(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "Ada", "1-1", "a=b", "ada@example.com", "'=1", " Ada", "1", "(=1)", "é", " "])
def test_other_cells_stay(cell: str) -> None:
    assert escape_formula(cell) == cell


@quick
@given(st.one_of(storable, st.text("=+-@\uff1d\uff0b\uff0d\uff20 \t\r\n\0\u3000\u200b\ufeff'a", max_size=6)))
def test_an_escaped_cell_is_no_formula_and_keeps_its_text(cell: str) -> None:
    escaped = escape_formula(cell)
    assert escaped in (cell, "'" + cell)
    assert escaped.strip(" \t\r\n\0\u3000\u200b\ufeff")[:1] not in list("=+-@\uff1d\uff0b\uff0d\uff20")
    assert escape_formula(escaped) == escaped


def test_a_long_cell_takes_linear_time() -> None:
    assert escape_formula(" " * 1_000_000) == " " * 1_000_000
