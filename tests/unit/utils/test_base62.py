"""Base62: what is encoded is decoded, in a fixed length, and nothing else is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.utils.base62 import ALPHABET, decode_bytes, decode_int, encode_bytes, encode_int

quick = settings(deadline=None, max_examples=100)


@quick
@given(st.integers(0, 62**11 - 1))
def test_numbers_round_trip_in_a_fixed_length(value: int) -> None:
    text = encode_int(value, 11)
    assert len(text) == 11
    assert text.isascii()
    assert text.isalnum()
    assert decode_int(text) == value


@quick
@given(st.text(ALPHABET, min_size=1, max_size=40))
def test_every_text_has_one_number(text: str) -> None:
    assert encode_int(decode_int(text), len(text)) == text


@quick
@given(st.binary(max_size=40))
def test_bytes_round_trip(data: bytes) -> None:
    assert decode_bytes(encode_bytes(data, 54), len(data)) == data


@quick
@given(st.integers(0, 62**5 - 1), st.integers(0, 62**5 - 1))
def test_texts_sort_as_their_numbers(one: int, other: int) -> None:
    assert (one < other) == (encode_int(one, 5) < encode_int(other, 5))


@pytest.mark.parametrize(
    ("value", "length", "text"),
    [
        (0, 1, "0"),
        (0, 0, ""),
        (9, 1, "9"),
        (10, 1, "A"),
        (36, 1, "a"),
        (61, 1, "z"),
        (62, 2, "10"),
        (2**64 - 1, 11, "LygHa16AHYF"),
    ],
)
def test_known_values(value: int, length: int, text: str) -> None:
    assert encode_int(value, length) == text


@pytest.mark.parametrize(("value", "length"), [(-1, 5), (62, 1), (1, 0), (2**64, 10)])
def test_a_number_that_does_not_fit_is_refused(value: int, length: int) -> None:
    with pytest.raises(ValueError, match="number"):
        encode_int(value, length)


@pytest.mark.parametrize("text", ["", "-1", "a b", "é", "٣", "\ud800", "a\n", "_"])
def test_other_characters_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base62"):
        decode_int(text)


def test_too_many_bytes_are_refused() -> None:
    assert decode_bytes("LygHa16AHYF", 8) == b"\xff" * 8
    with pytest.raises(ValueError, match="more than 8 bytes"):
        decode_bytes("LygHa16AHYG", 8)
    with pytest.raises(ValueError, match="more than 2 base62 characters"):
        encode_bytes(b"\xff\xff\xff", 2)
