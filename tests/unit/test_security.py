"""API keys: what is minted is read, and nothing else is."""

import hashlib
import hmac
import re
import secrets
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.core.scopes import Scope
from app.core.security import KEY_PATTERN, KeyRing
from app.utils.base62 import ALPHABET, encode_int

PEPPER = SecretStr("pepper-of-the-tests-0123456789abcdef")
FORMER = SecretStr("former-pepper-of-tests-0123456789abc")
STRANGERS = SecretStr("a-stranger-made-this-up-0123456789ab")
RING = KeyRing([PEPPER])

key_ids = st.integers(1, 2**63 - 1)
any_character = st.one_of(st.characters(), st.characters(categories=["Cs"]))  # lone surrogates included
any_text = st.text(any_character)
quick = settings(deadline=None, max_examples=100)


def hashed(pepper: SecretStr, message: bytes) -> bytes:
    """HMAC-SHA256, as the module's documentation says it is used."""
    return hmac.new(pepper.get_secret_value().encode(), message, hashlib.sha256).digest()


def with_crc(text: str) -> str:
    """The text with a right checksum behind it: what anybody can compute."""
    return text + encode_int(zlib.crc32(text.encode()), 6)


def assemble(key_id: int, *, pepper: SecretStr = PEPPER, tag: int | None = None) -> str:
    """A key put together from the documented format, not by the code under test."""
    id_text, random = encode_int(key_id, 11), "r" * 32
    if tag is None:
        tag = int.from_bytes(hashed(pepper, f"gantry-key-tag{id_text}{random}".encode())[:8])
    return with_crc(f"gantry_{id_text}_{random}{encode_int(tag, 11)}")


@quick
@given(key_ids)
def test_a_minted_key_is_read_with_its_id_and_digest(key_id: int) -> None:
    key = RING.mint(key_id).get_secret_value()
    read = RING.read(key)
    assert read is not None
    assert read.key_id == key_id
    assert read.digest == RING.digest(key) == hashed(PEPPER, b"gantry-key-digest" + key.encode())


@quick
@given(key_ids)
def test_a_minted_key_has_the_documented_pattern(key_id: int) -> None:
    key = RING.mint(key_id).get_secret_value()
    assert re.fullmatch(KEY_PATTERN, key)
    assert with_crc(key[:-6]) == key


def test_the_format_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys live for years: one that was made by this version is read by the next."""
    monkeypatch.setattr(secrets, "randbelow", lambda limit: limit - 1)
    key = RING.mint(42).get_secret_value()
    assert key == "gantry_0000000000g_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz7wADb952Ytc3Oyi0l"
    assert RING.digest(key).hex() == "5a3e256c93fe2bf40790266754db1bfcac63c1d444d69be9ab8e70d0efa5e9f4"


@quick
@given(key_ids)
def test_a_key_of_the_documented_format_is_read(key_id: int) -> None:
    read = RING.read(assemble(key_id))
    assert read is not None
    assert read.key_id == key_id


def test_each_key_is_new_and_random() -> None:
    keys = {RING.mint(7).get_secret_value()[19:51] for _ in range(1_000)}
    assert len(keys) == 1_000
    for position in range(32):
        assert len({key[position] for key in keys}) > 40, "each character takes most of the alphabet's values"


@quick
@given(key_ids, st.data())
def test_a_key_with_one_other_character_is_refused(key_id: int, data: st.DataObject) -> None:
    key = RING.mint(key_id).get_secret_value()
    position = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "_é").filter(lambda character: character != key[position]))
    assert RING.read(key[:position] + other + key[position + 1 :]) is None


@quick
@given(key_ids)
def test_a_made_up_key_with_a_right_checksum_is_refused(key_id: int) -> None:
    assert RING.read(assemble(key_id, pepper=STRANGERS)) is None
    assert RING.read(KeyRing([STRANGERS]).mint(key_id).get_secret_value()) is None


@quick
@given(st.from_regex(KEY_PATTERN.replace("{49}", "{43}"), fullmatch=True).map(with_crc))
def test_anything_in_the_right_pattern_with_a_right_checksum_is_refused(key: str) -> None:
    assert re.fullmatch(KEY_PATTERN, key)
    assert RING.read(key) is None


@pytest.mark.parametrize("key_id", [0, 2**63, 2**64, 62**11 - 1])
def test_a_key_with_an_impossible_id_is_refused(key_id: int) -> None:
    assert RING.read(assemble(key_id)) is None


def test_a_key_whose_tag_is_beyond_64_bits_is_refused() -> None:
    tag = int.from_bytes(hashed(PEPPER, f"gantry-key-tag{encode_int(1, 11)}{'r' * 32}".encode())[:8])
    assert RING.read(assemble(1, tag=tag)) is not None
    assert RING.read(assemble(1, tag=tag % (62**11 - 2**64) + 2**64)) is None


@quick
@given(
    st.one_of(
        any_text, st.text(any_character, min_size=68, max_size=68), st.binary().map(lambda b: b.decode("latin-1"))
    )
)
def test_no_string_is_read_or_raises(presented: str) -> None:
    assert RING.read(presented) is None


@pytest.mark.parametrize(
    "presented",
    ["", "gantry_", "é" * 68, "\ud800" * 68, "\0" * 68, "٣" * 68, "gantry_" + "٣" * 61, "x" * 1_000_000],
    ids=["empty", "prefix", "latin", "surrogates", "nul", "digits", "prefix and digits", "megabyte"],
)
def test_odd_strings_are_refused(presented: str) -> None:
    assert RING.read(presented) is None


@pytest.mark.parametrize("change", ["{} ", " {}", "{}\n", "{}0", "\ufeff{}"])
def test_a_key_with_something_around_it_is_refused(change: str) -> None:
    assert RING.read(change.format(RING.mint(1).get_secret_value())) is None


def test_a_long_string_costs_no_more_than_a_short_one() -> None:
    long = RING.mint(1).get_secret_value() * 100_000
    start = time.perf_counter()
    for _ in range(1_000):
        assert RING.read(long) is None
    assert time.perf_counter() - start < 1, "seconds; hashing or matching 6.8 MB a thousand times takes far longer"


def test_all_peppers_read_and_the_first_makes() -> None:
    old = KeyRing([FORMER]).mint(5).get_secret_value()
    both = KeyRing([PEPPER, FORMER])
    read = both.read(old)
    assert read is not None
    assert read.digest == KeyRing([FORMER]).digest(old) == both.digest(old), "what is stored of the old key still fits"
    new = both.mint(5).get_secret_value()
    assert RING.read(new) is not None
    assert KeyRing([FORMER]).read(new) is None
    assert RING.read(old) is None, "without its pepper an old key is a stranger's"


@pytest.mark.parametrize("key_id", [-1, 0, 2**63])
def test_no_key_is_minted_for_an_impossible_id(key_id: int) -> None:
    with pytest.raises(ValueError, match="key id"):
        RING.mint(key_id)


def test_a_digest_of_no_key_is_refused_without_repeating_it() -> None:
    key = assemble(1, pepper=STRANGERS)
    with pytest.raises(ValueError, match="no key") as caught:
        RING.digest(key)
    assert key not in str(caught.value)


def test_a_ring_without_peppers_is_refused() -> None:
    with pytest.raises(ValueError, match="pepper"):
        KeyRing([])


def test_nothing_secret_is_shown() -> None:
    key = RING.mint(9)
    read = RING.read(key.get_secret_value())
    assert PEPPER.get_secret_value() not in repr(RING)
    assert repr(RING) == "KeyRing(peppers=1)"
    assert repr(read) == "PresentedKey(key_id=9)"
    assert key.get_secret_value() not in f"{key!r} {key}"


def test_the_scopes_are_a_closed_list() -> None:
    assert set(Scope) == {
        "users:read",
        "users:write",
        "items:read",
        "items:write",
        "notifications:send",
        "notifications:read",
        "notifications:admin",
        "keys:admin",
    }
