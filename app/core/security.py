"""API keys: how they read, how they are made, and how a made-up one is refused without asking the database.

A key reads ``gantry_<id>_<random><tag><crc>``; each part is base62 and of fixed length:

========  ==========  ====================================================================================
part      characters  what it is
========  ==========  ====================================================================================
id        11          the key's 64-bit id: which row to look up
random    32          from the operating system, 190.5 bits: nobody guesses it
tag       11          64 bits of HMAC-SHA256 with a pepper over id and random: only this platform makes it
crc       6           CRC-32 of everything before it: anybody can tell a typo, or a likely leak in a file
========  ==========  ====================================================================================

The CRC alone would not keep strangers from the database, since they can compute it; the tag does. Only ``digest`` is
stored, a keyed hash of the whole key. A fast hash is right here: it protects 190 random bits, not a password that
somebody chose.
"""

import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from app.utils.base62 import decode_bytes, decode_int, encode_bytes, encode_int

PREFIX: Final = "gantry_"
KEY_PATTERN: Final = r"gantry_[0-9A-Za-z]{11}_[0-9A-Za-z]{49}"
"""For secret scanners: what every key looks like. Its last 6 characters, a CRC-32, weed out what only looks so."""

KEY_ID_MAX: Final = 2**63 - 1
"""The largest id: PostgreSQL's bigint."""

_ID_LENGTH: Final = 11
_RANDOM_LENGTH: Final = 32
_TAG_BYTES: Final = 8
_TAG_LENGTH: Final = 11
_CRC_LENGTH: Final = 6

_ID: Final = slice(len(PREFIX), len(PREFIX) + _ID_LENGTH)
_RANDOM: Final = slice(_ID.stop + 1, _ID.stop + 1 + _RANDOM_LENGTH)
_TAG: Final = slice(_RANDOM.stop, _RANDOM.stop + _TAG_LENGTH)
_CRC: Final = slice(_TAG.stop, _TAG.stop + _CRC_LENGTH)
_KEY: Final = re.compile(KEY_PATTERN)

# What is hashed begins with its purpose, so that a tag is never a digest of something else.
_TAG_PURPOSE: Final = b"gantry-key-tag"
_DIGEST_PURPOSE: Final = b"gantry-key-digest"


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key that this platform made; whether it is still valid, the database knows."""

    key_id: int
    """Which key it claims to be: 1 to 2**63 - 1."""
    digest: bytes = field(repr=False)
    """32 bytes, to be compared in constant time with what is stored under the id."""


class KeyRing:
    """Makes and reads keys. The first pepper makes new ones, all of them read: one can be replaced in steps."""

    __slots__ = ("_peppers",)

    def __init__(self, peppers: Sequence[SecretStr]) -> None:
        if not peppers:
            raise ValueError("a key ring needs at least one pepper")
        self._peppers = tuple(pepper.get_secret_value().encode() for pepper in peppers)

    def __repr__(self) -> str:
        """How many peppers, and none of them."""
        return f"KeyRing(peppers={len(self._peppers)})"

    def mint(self, key_id: int) -> SecretStr:
        """A new key for this id, different at each call. Raises ``ValueError`` unless 0 < ``key_id`` < 2**63."""
        if not 0 < key_id <= KEY_ID_MAX:
            raise ValueError("a key id is between 1 and 2**63 - 1")
        id_text = encode_int(key_id, _ID_LENGTH)
        random = encode_int(secrets.randbelow(62**_RANDOM_LENGTH), _RANDOM_LENGTH)
        tag = _tag(self._peppers[0], id_text, random)
        checked = f"{PREFIX}{id_text}_{random}{encode_bytes(tag, _TAG_LENGTH)}"
        return SecretStr(checked + encode_int(zlib.crc32(checked.encode()), _CRC_LENGTH))

    def read(self, presented: str) -> PresentedKey | None:
        """What the key says, or none when it is not one that these peppers made. Takes any string; asks nobody."""
        # The length first: a megabyte of header costs no more than a typo.
        if len(presented) != _CRC.stop or _KEY.fullmatch(presented) is None:
            return None
        id_text, random = presented[_ID], presented[_RANDOM]
        key_id = decode_int(id_text)
        if not 0 < key_id <= KEY_ID_MAX:
            return None
        if decode_int(presented[_CRC]) != zlib.crc32(presented[: _CRC.start].encode()):
            return None
        try:
            tag = decode_bytes(presented[_TAG], _TAG_BYTES)
        except ValueError:
            return None  # eleven characters hold a little more than 64 bits
        for pepper in self._peppers:
            if hmac.compare_digest(_tag(pepper, id_text, random), tag):
                return PresentedKey(key_id, hmac.digest(pepper, _DIGEST_PURPOSE + presented.encode(), "sha256"))
        return None

    def digest(self, key: str) -> bytes:
        """What to store of a key: its hash with the pepper that made it (32 bytes). ``ValueError`` if none did."""
        known = self.read(key)
        if known is None:
            raise ValueError("this is no key made with these peppers")
        return known.digest


def _tag(pepper: bytes, id_text: str, random: str) -> bytes:
    message = _TAG_PURPOSE + id_text.encode() + random.encode()
    return hmac.digest(pepper, message, "sha256")[:_TAG_BYTES]
