"""Content negotiation, by RFC 9110 §12.5.1."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.utils.accept import acceptable

JSON = "application/json"
CSV = "text/csv"
HTML = "text/html"
RFC_EXAMPLE = "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, text/plain;format=fixed;q=0.4, */*;q=0.5"
any_character = st.one_of(st.characters(), st.characters(categories=["Cs"]))  # lone surrogates included
quick = settings(deadline=None, max_examples=150)

weights = st.sampled_from(["", ";q=0", ";q=0.5", "; Q=0.001", " ;q=1.000", ";q=1"])
ranges = st.builds(
    lambda kind, weight: kind + weight, st.sampled_from([JSON, CSV, "text/*", "*/*", "image/png"]), weights
)
offers = st.lists(st.sampled_from([JSON, CSV, HTML, "image/png"]), min_size=1, unique=True)


@quick
@given(st.lists(ranges, max_size=4), offers)
def test_an_offer_is_taken_by_its_most_specific_range(written: list[str], offered: list[str]) -> None:
    def weight(offer: str) -> float:
        for wanted in (offer, offer.split("/")[0] + "/*", "*/*"):
            found = [w.partition(";")[2] for w in written if w.partition(";")[0].strip() == wanted]
            if found:
                return max(float(parameter.partition("=")[2] or 1) for parameter in found)
        return 0 if written else 1

    best = max(offered, key=weight)  # the first of equals
    assert acceptable(", ".join(written), offered) == (best if weight(best) else None)


@quick
@given(st.one_of(st.text(any_character), st.text('*/;,=q01. \t"\\atext', max_size=30)), offers)
def test_any_header_is_answered(header: str, offered: list[str]) -> None:
    assert acceptable(header, offered) in [*offered, None]


@pytest.mark.parametrize(
    ("preferred", "other"),
    [
        # The table of §12.5.1: 1, 0.7, 0.5, 0.4, 0.3, from most to least liked.
        ("text/plain;format=flowed", "text/plain"),
        ("text/plain", "image/jpeg"),
        ("image/jpeg", "text/plain;format=fixed"),
        ("text/plain;format=fixed", "text/html"),
    ],
)
def test_the_example_of_the_rfc(preferred: str, other: str) -> None:
    assert acceptable(RFC_EXAMPLE, [preferred, other]) == preferred
    assert acceptable(RFC_EXAMPLE, [other, preferred]) == preferred


@pytest.mark.parametrize(
    ("header", "offered", "expected"),
    [
        (None, [JSON, CSV], JSON),
        ("*/*", [JSON, CSV], JSON),
        (JSON, [JSON], JSON),
        (CSV, [JSON, CSV], CSV),
        ("text/*", [JSON, CSV], CSV),
        ("application/json, text/plain, */*", [JSON], JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", [JSON], JSON),
        ("APPLICATION/JSON", [JSON], JSON),
        ("application/json; charset=UTF-8", [JSON], JSON),
        ('application/json;charset="utf-8"', [JSON], JSON),
        ('application/json;charset="\\utf-8"', [JSON], JSON),
        ("application/json;charset=latin1", [JSON], None),
        ("application/json;profile=x", [JSON], None),
        (HTML, [JSON], None),
        ("application/json;q=0", [JSON], None),
        ("application/json;q=0, */*", [JSON], None),
        ("application/json;q=0, */*", [JSON, CSV], CSV),
        ("*/*;q=0", [JSON, CSV], None),
        ("text/csv;q=0.5, application/json;q=0.4", [JSON, CSV], CSV),
        ("text/csv;q=0.5, application/json;q=0.5", [JSON, CSV], JSON),
        ("text/csv;q=0.1, text/csv;q=0.9, application/json;q=0.5", [JSON, CSV], CSV),
        ('text/csv;title="a,b;q=0", application/json;q=0.5', [CSV, JSON], JSON),
        (",, text/csv ,", [JSON, CSV], CSV),
        ("text/csv;;q=0.5; ,application/json;q=0.4", [JSON, CSV], CSV),
        ("text/csv \t; q=0.5", [JSON, CSV], CSV),
    ],
)
def test_headers(header: str | None, offered: list[str], expected: str | None) -> None:
    assert acceptable(header, offered) == expected


@pytest.mark.parametrize(
    "header",
    ["", " ", ",", "json", "text", "text/", "/csv", "*", "*/csv", "text/csv text/html", "text/csv;q=2", "text/csv;q=1.001", "text/csv;q=-1",
     "text/csv;q=0.1234", "text/csv;q=.5", "text/csv;q=", "text/csv;q=x", "text/csv;q", "text/csv;a b", 'text/csv;a="b', "text/csv;a= b",
     "text/csv; q =1", "text/csv\n", "text/csv, é/x", "\ud800/csv", "text/csv;q=\u0661", "image/gif, *; q=.2, */*; q=.2"],
)  # fmt: skip
def test_an_empty_or_malformed_header_takes_anything(header: str) -> None:
    assert acceptable(header, [JSON, CSV]) == JSON


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(" " * 100_000 + "@", id="blanks"),
        pytest.param("a/b" + " " * 100_000 + "@", id="blanks behind"),
        pytest.param("a" * 100_000, id="no slash"),
        pytest.param("a/" + "b" * 100_000 + "@", id="a long name"),
        pytest.param("a/b" + ";" * 100_000 + "@", id="semicolons"),
        pytest.param("a/b" + "; " * 50_000 + "@", id="semicolons and blanks"),
        pytest.param("a/b" + ";c=d" * 25_000 + "@", id="parameters"),
        pytest.param('a/b;c="' + "\\" * 100_000, id="backslashes"),
        pytest.param('a/b;c="' + '\\"' * 50_000, id="no end"),
        pytest.param("a/b," * 25_000 + "@", id="many"),
        pytest.param("a/b," * 25_000 + "a/b", id="many, well formed"),
    ],
)
def test_hostile_headers_take_linear_time(header: str) -> None:
    start = time.perf_counter()
    assert acceptable(header, [JSON, CSV]) in (JSON, None)
    assert time.perf_counter() - start < 3, "seconds; quadratic time would be minutes"
