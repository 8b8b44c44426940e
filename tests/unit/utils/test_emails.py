"""E-mail addresses are compared without regard to case."""

import unicodedata

import pytest
from email_validator import validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.utils.emails import email_key

any_character = st.one_of(st.characters(), st.characters(categories=["Cs"]))  # lone surrogates included
quick = settings(deadline=None, max_examples=200)

ascii_locals = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True)
domains = st.from_regex(r"[a-z][a-z0-9]{0,9}\.(com|org|de)", fullmatch=True)


@quick
@given(st.text(any_character))
@example("\ud800@\udfff")
@example("nobody")
@example("@@")
def test_a_key_is_its_own_key(address: str) -> None:
    assert email_key(email_key(address)) == email_key(address)


def test_every_character_folds_once() -> None:
    for code in range(0x110000):
        key = email_key(chr(code) + "@example.com")
        assert email_key(key) == key


@quick
@given(ascii_locals, domains)
def test_case_makes_no_difference(local: str, domain: str) -> None:
    expected = validate_email(f"{local}@{domain}", check_deliverability=False).normalized
    for written in (
        f"{local.upper()}@{domain}",
        f"{local.lower()}@{domain.upper()}",
        f"{local.swapcase()}@{domain.title()}",
    ):
        normalised = validate_email(written, check_deliverability=False).normalized
        assert email_key(normalised) == email_key(expected) == expected.lower()


@quick
@given(ascii_locals, ascii_locals, domains, domains)
def test_different_addresses_have_different_keys(one: str, other: str, here: str, there: str) -> None:
    same = (one.lower(), here) == (other.lower(), there)
    assert (email_key(f"{one}@{here}") == email_key(f"{other}@{there}")) is same


@quick
@given(st.text(st.characters(categories=["L", "M"]), min_size=1, max_size=8))
def test_composed_and_decomposed_are_the_same(local: str) -> None:
    keys = {email_key(unicodedata.normalize(form, local) + "@example.com") for form in ("NFC", "NFD")}
    assert len(keys) == 1
    assert unicodedata.is_normalized("NFC", keys.pop())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@example.com", "ADA@EXAMPLE.COM"),
        ("É@example.com", "e\u0301@example.com"),
        ("\u03b1\u0345\u0301@example.com", "\u1fb4@example.com"),  # marks in another order
        ("ΟΔΟΣ@example.com", "οδος@example.com"),
        ("οδοσ@example.com", "οδος@example.com"),
        ("straße@example.com", "STRASSE@example.com"),
        ("ada@BÜCHER.example", "ada@bücher.example"),
        ("\u212aelvin@example.com", "kelvin@example.com"),
    ],
)
def test_the_same_address(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@faß.example", "ada@fass.example"),  # two registrations since IDNA 2008
        ("a.da@example.com", "ada@example.com"),  # what a provider ignores is its own affair
        ("ada+x@example.com", "ada@example.com"),
        ("\uff41da@example.com", "ada@example.com"),  # full width: NFKC is not used
        ("e@example.com", "é@example.com"),
    ],
)
def test_another_address(one: str, other: str) -> None:
    assert email_key(one) != email_key(other)


@pytest.mark.parametrize(
    "written", ["ada@BÜCHER.de", "ada@xn--bcher-kva.de", "ada@XN--BCHER-KVA.DE", "ADA@bu\u0308cher.de"]
)
def test_an_international_domain_has_one_key_once_it_is_validated(written: str) -> None:
    assert email_key(validate_email(written, check_deliverability=False).normalized) == "ada@bücher.de"
