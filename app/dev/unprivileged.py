"""PostgreSQL refuses to run as root. For root it runs as ``nobody``, in a place that this account may enter.

A checkout below ``/root`` (mode 0700) is no such place. Then a copy of the binaries, and the data, go to folders under
``/var/tmp`` (kept over a restart of the machine); the permissions of the user's own folders are never changed.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from app.dev.errors import DevelopmentError
from app.dev.processes import Account

NOBODY = Account(uid=65534, gid=65534)
PRIVATE_ROOT = Path("/var/tmp")  # noqa: S108 - the folders made there are checked to be ours


def server_account() -> Account | None:
    """The account PostgreSQL has to run as: ``None`` (the user's own) unless the user is root."""
    return NOBODY if os.geteuid() == 0 else None


def can_enter(account: Account, directory: Path) -> bool:
    """Whether the account may enter the directory through all of its parents: tried, because modes alone don't tell."""
    return _succeeds(account, "/bin/sh", "-c", 'cd "$1"', "sh", directory)


def can_execute(account: Account, program: Path) -> bool:
    """Whether the account can run the server program (which answers ``--version``)."""
    return _succeeds(account, program, "--version")


def _succeeds(account: Account, *command: str | Path) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=30,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def private_path(purpose: str) -> Path:
    """Where ``private_folder`` is, made or not."""
    name = hashlib.sha256(purpose.encode()).hexdigest()[:12]
    return PRIVATE_ROOT / f"dev-gantry-{name}-{os.geteuid()}"


def private_folder(purpose: str) -> Path:
    """The folder for ``purpose`` that every account may enter and only we may change. Made when it does not exist.

    Raises ``DevelopmentError`` when somebody else made a folder of this (predictable) name in the public directory.
    """
    folder = private_path(purpose)
    folder.mkdir(mode=0o711, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise DevelopmentError(
            f"{folder} belongs to somebody else; remove it, or move the checkout to a folder that every user may enter"
        )
    folder.chmod(0o711)  # whatever the umask made of it
    return folder


def copy_for_everyone(sources: list[Path], target: Path) -> None:
    """Copy directories into ``target``, readable for every account. It is there completely or not at all."""
    unfinished = target.with_name(f"{target.name}.new")
    for source in sources:
        shutil.copytree(source, unfinished / source.name, symlinks=True)
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    unfinished.rename(target)
