"""Where PostgreSQL's files are when root calls: in the state folder, unless the account it runs as may not go there."""

import shutil
from pathlib import Path

from app.dev.processes import Account
from app.dev.state import State
from app.dev.unprivileged import can_enter, private_folder, private_path

MARK = "state"
"""A file in that folder outside that names the state folder's secrets, which its data belongs to."""


def data_folder(state: State, account: Account | None) -> Path:
    """The folder of PostgreSQL's data. Its parent exists, and the account can enter it.

    A folder outside is emptied when the state folder was removed in between: the passwords of its data went with that.
    """
    if account is None or can_enter(account, state.directory):
        return state.directory / "postgres"
    folder = private_folder(_purpose(state))
    mark, identity = folder / MARK, state.secret("identity")
    if not mark.exists() or mark.read_text() != identity:
        shutil.rmtree(folder)
        private_folder(_purpose(state))
        mark.touch(mode=0o600)
        mark.write_text(identity)
    return folder / "postgres"


def outside_path(state: State) -> Path:
    """The folder outside of the state folder that ``data_folder`` uses when it must, made or not."""
    return private_path(_purpose(state))


def _purpose(state: State) -> str:
    return f"state in {state.directory}"
