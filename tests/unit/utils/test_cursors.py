"""Cursors: what is sealed is opened for the same list, and nothing else is."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.utils.cursors import MAX_LENGTH, CursorInvalid, CursorSigner, CursorValue, binding

KEY = SecretStr("cursor-key-of-the-tests-0123456789ab")
FORMER = SecretStr("former-cursor-key-0123456789abcdefgh")
SIGNER = CursorSigner([KEY])
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
any_character = st.one_of(st.characters(), st.characters(categories=["Cs"]))  # lone surrogates included
any_text = st.text(any_character, max_size=60)
payloads = st.lists(st.one_of(storable, st.integers(-(2**63), 2**63 - 1), st.none()), max_size=4)
filters = st.dictionaries(any_text, st.one_of(any_text, st.integers(), st.none()), max_size=3)
quick = settings(deadline=None, max_examples=100)


@quick
@given(payloads, any_text)
@example([1], "\ud800")
def test_a_sealed_position_is_opened(payload: list[CursorValue], bound_to: str) -> None:
    token = SIGNER.seal(payload, bound_to)
    assert set(token) <= set(BASE64URL)
    assert SIGNER.open(token, bound_to) == payload
    assert SIGNER.seal(payload, bound_to) == token, "one position has one token"


def test_a_token_is_what_the_documentation_says() -> None:
    token = SIGNER.seal(["Zoë", 7, None], "list")
    sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert sealed[16:] == '["Zoë",7,null]'.encode()
    message = b"gantry-cursor" + (4).to_bytes(8) + b"list" + sealed[16:]
    assert sealed[:16] == hmac.new(KEY.get_secret_value().encode(), message, hashlib.sha256).digest()[:16]


@quick
@given(payloads, any_text, any_text)
@example([1], "list", "\udfff")
def test_a_cursor_of_another_list_is_refused(payload: list[CursorValue], bound_to: str, other: str) -> None:
    token = SIGNER.seal(payload, bound_to)
    if other != bound_to:
        with pytest.raises(CursorInvalid):
            SIGNER.open(token, other)


@quick
@given(payloads, st.data())
def test_a_changed_token_is_refused(payload: list[CursorValue], data: st.DataObject) -> None:
    token = SIGNER.seal(payload, "list")
    position = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.one_of(st.sampled_from(BASE64URL), st.characters()).filter(lambda c: c != token[position]))
    with pytest.raises(CursorInvalid):
        SIGNER.open(token[:position] + other + token[position + 1 :], "list")


@quick
@given(st.one_of(st.text(any_character), st.text(BASE64URL), st.binary().map(lambda b: b.decode("latin-1"))))
def test_no_other_string_is_opened(token: str) -> None:
    with pytest.raises(CursorInvalid):
        SIGNER.open(token, "list")


@pytest.mark.parametrize("change", ["{}=", "{}==", "{}\n", " {}", "{}A", "{}.", "{}é", "{}\ud800"])
@pytest.mark.parametrize("payload", [[1], ["a", 1], ["ab", 1]], ids=str)
def test_a_token_with_something_around_it_is_refused(change: str, payload: list[CursorValue]) -> None:
    with pytest.raises(CursorInvalid):
        SIGNER.open(change.format(SIGNER.seal(payload, "list")), "list")


def test_other_spellings_of_the_same_bytes_are_refused() -> None:
    """Unused trailing bits, and the other base64 alphabet: both decode to the very bytes that were signed."""
    spare = next(t for t in (SIGNER.seal(["a" * n], "list") for n in range(3)) if len(t) % 4 == 2)
    last = BASE64URL[BASE64URL.index(spare[-1]) + 1]
    same = base64.urlsafe_b64decode(spare[:-1] + last + "==")
    assert same == base64.urlsafe_b64decode(spare + "==")
    with pytest.raises(CursorInvalid, match="canonical"):
        SIGNER.open(spare[:-1] + last, "list")
    dashed = next(t for t in (SIGNER.seal([n], "list") for n in range(1000)) if "-" in t)
    with pytest.raises(CursorInvalid, match="canonical"):
        SIGNER.open(dashed.replace("-", "+"), "list")


def test_no_byte_moves_from_the_position_to_what_it_is_bound_to() -> None:
    sealed = base64.urlsafe_b64decode(SIGNER.seal([1], "list") + "==")
    tag, body = sealed[:16], sealed[16:]
    moved = base64.urlsafe_b64encode(tag + body[1:]).rstrip(b"=").decode()
    with pytest.raises(CursorInvalid):
        SIGNER.open(moved, "list" + body[:1].decode())


def test_all_keys_open_and_the_first_seals() -> None:
    old = CursorSigner([FORMER]).seal([1], "list")
    both = CursorSigner([KEY, FORMER])
    assert both.open(old, "list") == [1]
    assert SIGNER.open(both.seal([2], "list"), "list") == [2]
    with pytest.raises(CursorInvalid):
        SIGNER.open(old, "list")


def test_the_longest_token_is_opened_and_a_longer_one_neither_made_nor_read() -> None:
    room = (MAX_LENGTH * 3 // 4) - 16 - len('[""]')
    longest = SIGNER.seal(["a" * room], "list")
    assert len(longest) == MAX_LENGTH
    assert SIGNER.open(longest, "list") == ["a" * room]
    with pytest.raises(ValueError, match="4096"):
        SIGNER.seal(["a" * (room + 1)], "list")
    with pytest.raises(CursorInvalid, match="long"):
        SIGNER.open(longest + "A", "list")
    with pytest.raises(CursorInvalid, match="long"):
        SIGNER.open("A" * 1_000_000, "list")


def test_what_can_not_be_sealed_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        SIGNER.seal(["\ud800"], "list")
    with pytest.raises(ValueError, match="key"):
        CursorSigner([])


def test_the_keys_are_not_shown() -> None:
    assert repr(SIGNER) == "CursorSigner(keys=1)"
    assert KEY.get_secret_value() not in repr(vars(CursorSigner)) + repr(SIGNER)


@quick
@given(st.tuples(any_text, any_text, filters), st.tuples(any_text, any_text, filters))
def test_different_lists_have_different_bindings(
    one: tuple[str, str, dict[str, CursorValue]], other: tuple[str, str, dict[str, CursorValue]]
) -> None:
    assert (binding(*one) == binding(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {"a": "null"}),
        ({"a": None}, {}),
        ({"a": "b", "c": "d"}, {"a": 'b","c":"d'}),
        ({"a": "\ud83d\ude00"}, {"a": "😀"}),
        ({"a": "\\u0041"}, {"a": "A"}),
    ],
)
def test_look_alikes_have_different_bindings(one: dict[str, CursorValue], other: dict[str, CursorValue]) -> None:
    assert binding("items", "id", one) != binding("items", "id", other)


def test_the_order_of_filters_makes_no_difference() -> None:
    assert binding("items", "id", {"a": 1, "b": 2}) == binding("items", "id", {"b": 2, "a": 1})
    assert json.loads(binding("items", "-id", {"b": 2, "a": "x"})) == ["items", "-id", [["a", "x"], ["b", 2]]]
