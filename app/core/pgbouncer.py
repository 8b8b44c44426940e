"""The users that pgbouncer lets in, and logs in to PostgreSQL as: from the variables of a Secret into its file."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.utils.pgbouncer import NotForPgbouncer, auth_file

SUFFIXES: Final = ("_PREVIOUS", "")
"""Of the variables; a user of both has the later, the new password: the file has room for one."""


class UsersInvalid(Exception):
    """The variables make no file; the message says which, without any value."""


def write_users(path: Path, environment: Mapping[str, str]) -> None:
    """Write the file, at once and for its owner's eyes only. Raises ``UsersInvalid`` or ``OSError``."""
    users: dict[str, str] = {}
    for suffix in SUFFIXES:
        names = f"PGUSER{suffix}", f"PGPASSWORD{suffix}"
        name, password = (environment.get(variable, "") for variable in names)
        if suffix and not (name or password):
            continue
        if missing := [variable for variable in names if not environment.get(variable)]:
            raise UsersInvalid(f"{' and '.join(missing)}: required, but not set")
        try:
            auth_file({name: password})
        except NotForPgbouncer as error:
            raise UsersInvalid(f"{' and '.join(names)}: {error}") from None
        users[name] = password
    # mkstemp makes it for its owner alone.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(auth_file(users))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
