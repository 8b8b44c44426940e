"""The private folder of one server: metric files of its processes live there, and nothing of it outlives the server.

A folder is in use while somebody holds its lock (flock(2)). The arbiter takes it and every child inherits it, so the kernel lets go of it
when the last process is gone, however that ended. The process id in the name is for people: two containers that share a volume
have the same ids.
"""

import atexit
import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

from app.core.config import Settings

PREFIX = "gantry-serve-"
MARKER = ".made-by-gantry-serve"
"""Only a folder with this file is ever removed: the parent is often /tmp, where others have folders too."""
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare_runtime(settings: Settings) -> Path:
    """Make this server's folder below ``settings.server.runtime_dir``, empty, and point ``prometheus_client`` to it.

    Folders of servers that are gone are removed. This one is removed when the calling process exits. Raises ``RuntimeError`` when
    ``prometheus_client`` was imported before: it decides at import whether its values live in files. Raises ``OSError`` when
    the folder can't be made.
    """
    if "prometheus_client" in sys.modules:
        raise RuntimeError("prepare_runtime() has to be called before prometheus_client is imported")
    parent = settings.server.runtime_dir
    for leftover in parent.glob(f"{PREFIX}*"):
        _remove_if_unused(leftover)
    folder = _make_locked(parent)
    os.environ[VARIABLE] = str(folder)
    atexit.register(_remove_own, folder, os.getpid())
    return folder


def _lock(folder: Path) -> int | None:
    """Open and lock a folder of ours; ``None`` when it is in use, not ours, or not a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def running_servers(parent: Path) -> list[Path]:
    """The folders below ``parent`` of this user's servers that run now."""
    return sorted(filter(_in_use, parent.glob(f"{PREFIX}*")))


def _in_use(folder: Path) -> bool:
    try:
        if folder.stat().st_uid != os.geteuid() or not (folder / MARKER).exists():
            return False  # somebody else's, or about to be locked by its server: it is left alone
    except FileNotFoundError:
        return False
    descriptor = _lock(folder)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _remove_if_unused(folder: Path) -> None:
    descriptor = _lock(folder)
    if descriptor is None:
        return
    if (folder / MARKER).exists():
        shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)


def _make_locked(parent: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    _lock(folder)
    (folder / MARKER).touch()  # not before: a folder that has it and no lock is a leftover
    return folder


def _remove_own(folder: Path, owner: int) -> None:
    # A forked child runs this too when it exits.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
