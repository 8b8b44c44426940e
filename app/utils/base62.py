"""Base62 of a fixed length: numbers and bytes in letters and digits alone, which a double click selects whole."""

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""In ASCII order: texts of one length sort as their numbers do."""

_BASE: Final = len(ALPHABET)
_VALUES: Final = {character: value for value, character in enumerate(ALPHABET)}


def encode_int(value: int, length: int) -> str:
    """``value`` in exactly ``length`` characters, most significant first, padded with ``0``.

    Raises ``ValueError`` when it is negative or too large.
    """
    if value < 0:
        raise ValueError("a negative number has no base62 form")
    rest = value
    characters = []
    for _ in range(length):
        rest, digit = divmod(rest, _BASE)
        characters.append(ALPHABET[digit])
    if rest:
        raise ValueError(f"the number needs more than {length} base62 characters")
    return "".join(reversed(characters))


def decode_int(text: str) -> int:
    """The number that ``text`` stands for. Raises ``ValueError`` when it is empty or has another character."""
    if not text:
        raise ValueError("an empty text is no base62 number")
    value = 0
    try:
        for character in text:
            value = value * _BASE + _VALUES[character]
    except KeyError:
        raise ValueError("base62 has only the characters 0-9, A-Z and a-z") from None
    return value


def encode_bytes(data: bytes, length: int) -> str:
    """``data``, read as a big-endian number, in exactly ``length`` characters. ``ValueError`` if too few."""
    return encode_int(int.from_bytes(data), length)


def decode_bytes(text: str, size: int) -> bytes:
    """The ``size`` bytes that ``text`` stands for. ``ValueError`` if it is no base62, or stands for more."""
    value = decode_int(text)
    if value >> (8 * size):
        raise ValueError(f"the base62 text stands for more than {size} bytes")
    return value.to_bytes(size)
