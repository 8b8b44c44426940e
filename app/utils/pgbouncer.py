"""pgbouncer's file of users (``auth_file``): a line ``"name" "password"`` for each, with ``"`` written twice."""

import re
from collections.abc import Mapping
from typing import Final

MAX_NAME: Final = 127
"""Bytes; pgbouncer refuses the whole file for a longer name."""

MAX_PASSWORD: Final = 2047
"""Bytes, as above."""

_IMPOSSIBLE: Final = re.compile(r"[\0\r\n]")
_TAKEN_FOR_HASHED: Final = re.compile(r"md5[0-9A-Fa-f]{32}|SCRAM-SHA-256\$.*", re.DOTALL)
"""pgbouncer takes these for what PostgreSQL stores of a password, with which it can't log in to PostgreSQL."""


class NotForPgbouncer(ValueError):
    """A value can't stand in the file; the message says why, without the value."""


def auth_file(users: Mapping[str, str]) -> bytes:
    """The file for these names and passwords. Raises ``NotForPgbouncer``."""
    return b"".join(
        b"%s %s\n" % (_quoted(name, "name", MAX_NAME), _quoted(_plain(password), "password", MAX_PASSWORD))
        for name, password in users.items()
    )


def _plain(password: str) -> str:
    if _TAKEN_FOR_HASHED.fullmatch(password):
        raise NotForPgbouncer("a password that begins like a hashed one (md5... or SCRAM-SHA-256$...) is taken for one")
    return password


def _quoted(value: str, what: str, most: int) -> bytes:
    if not value:
        raise NotForPgbouncer(f"a {what} must not be empty")
    if _IMPOSSIBLE.search(value):
        raise NotForPgbouncer(f"a {what} must be one line, without NUL")
    octets = value.encode(errors="surrogateescape")  # what the environment held, whether or not it is UTF-8
    if len(octets) > most:
        raise NotForPgbouncer(f"a {what} of {len(octets)} bytes is too long; pgbouncer takes {most}")
    return b'"%s"' % octets.replace(b'"', b'""')
