"""Page cursors: a position in a list, signed, so that a client can carry it but neither forge it nor use it on
another list.

A token is base64url without padding (RFC 4648 §5) of a 16-byte tag and the position in JSON. The tag is a truncated
HMAC-SHA256 (RFC 2104 §5) over the position and over what it is bound to: the resource, its filters and its sort. It
hides nothing.
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from pydantic import SecretStr

type CursorValue = str | int | None

MAX_LENGTH: Final = 4096
"""Characters of the longest token."""

_TAG_BYTES: Final = 16
_PURPOSE: Final = b"gantry-cursor"


class CursorInvalid(Exception):
    """Not a cursor that these keys sealed for this list."""


class CursorSigner:
    """Seals and opens cursors. The first key seals; all of them open, so that a key can be replaced in steps."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        if not keys:
            raise ValueError("a cursor signer needs at least one key")
        self._keys = tuple(key.get_secret_value().encode() for key in keys)

    def __repr__(self) -> str:
        """How many keys, and none of them."""
        return f"CursorSigner(keys={len(self._keys)})"

    def seal(self, payload: Sequence[CursorValue], bound_to: str) -> str:
        """The token of a position in the list that ``bound_to`` (see ``binding``) names.

        Strings may be any that PostgreSQL stores. Raises ``ValueError`` for lone surrogates, and when the token would
        be too long.
        """
        body = json.dumps(list(payload), ensure_ascii=False, separators=(",", ":")).encode()
        token = base64.urlsafe_b64encode(_tag(self._keys[0], body, bound_to) + body).rstrip(b"=").decode()
        if len(token) > MAX_LENGTH:
            raise ValueError(f"a cursor has at most {MAX_LENGTH} characters; sort by something shorter")
        return token

    def open(self, token: str, bound_to: str) -> list[CursorValue]:
        """The position that was sealed for the same ``bound_to``. Raises ``CursorInvalid``, and nothing else, for any other string."""
        sealed = _decode(token)
        tag, body = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
        if not any(hmac.compare_digest(_tag(key, body, bound_to), tag) for key in self._keys):
            raise CursorInvalid("the cursor was not made for this list")
        # Only `seal` makes what carries a right tag: this is JSON, of these types.
        return cast(list[CursorValue], json.loads(body))


def binding(resource: str, sort: str, filters: Mapping[str, CursorValue]) -> str:
    """What a cursor is bound to, as one string; different lists never share it, whatever characters they hold.

    The order of the filters makes no difference; a filter that is none differs from one that is left out.
    """
    # Characters are kept as they are: escaped, a pair of lone surrogates would look like the character they make up.
    return json.dumps([resource, sort, sorted(filters.items())], ensure_ascii=False, separators=(",", ":"))


def _decode(token: str) -> bytes:
    if len(token) > MAX_LENGTH:
        raise CursorInvalid("the cursor is too long")
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise CursorInvalid("the cursor is not base64url") from None
    # The decoder ignores bits that don't make a whole byte, and takes "+" and "/" too: one position has one token.
    if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != token:
        raise CursorInvalid("the cursor is not canonical base64url")
    return sealed


def _tag(key: bytes, body: bytes, bound_to: str) -> bytes:
    # A query may hold lone surrogates; they are encoded rather than refused, so that `open` never raises for them.
    bound = bound_to.encode("utf-8", "surrogatepass")
    # The length keeps the two parts apart: no byte can move from one into the other.
    return hmac.digest(key, _PURPOSE + len(bound).to_bytes(8) + bound + body, "sha256")[:_TAG_BYTES]
