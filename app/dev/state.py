"""The folder ``.dev`` of the checkout: what `make run` keeps between runs, and who is running now.

===================  ==================================================================================
``state.json``       generated secrets and the ports taken last time (mode 0600)
``lock``             locked (flock(2)) as long as a ``make run`` lives; the kernel frees it, whatever happens
``running.json``     the one that runs: its pid, URL and, once it is ready, the settings it gave to the app (mode 0600)
``postgres/``        PostgreSQL's data        ``valkey/``  Valkey's configuration        ``logs/``  what both print
===================  ==================================================================================
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.dev.errors import DevelopmentError


@dataclass(frozen=True)
class Running:
    """A ``make run`` as it describes itself. ``environment`` is empty until it is ready."""

    pid: int
    url: str
    environment: dict[str, str] = field(default_factory=dict)


class State:
    """The folder and its files. Others may not read what is in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()

    def make(self) -> None:
        """Make the folder when it does not exist. Raises ``DevelopmentError`` where that is not allowed."""
        try:
            # Root's PostgreSQL has another account, which has to pass through to its data; the files are closed to it.
            self.directory.mkdir(parents=True, exist_ok=True)
            self.directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
            self.logs.mkdir(mode=0o700, exist_ok=True)
        except OSError as problem:
            raise DevelopmentError(
                f"{self.directory} can't be made: {problem.strerror}; `make run` keeps its data there"
            ) from problem

    @property
    def logs(self) -> Path:
        """Folder of the servers' logs."""
        return self.directory / "logs"

    @contextmanager
    def locked(self, patience: float = 0.5) -> Iterator[None]:
        """Hold the lock.

        Raises ``DevelopmentError`` naming the one that holds it for longer than ``patience`` seconds. (``make key`` holds
        it for a moment, to look.)
        """
        deadline = time.monotonic() + patience
        with (self.directory / "lock").open("a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise DevelopmentError(self._already_running()) from None
                    time.sleep(0.05)
            yield

    def _already_running(self) -> str:
        other = self._described()
        who = f"process {other.pid}, {other.url}" if other else "it has just been started"
        return f"already running here: {who}. Stop that one first (Ctrl-C in its terminal); nothing was changed."

    def running(self) -> Running | None:
        """The ``make run`` that has the lock now, or ``None``."""
        try:
            with (self.directory / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return self._described()
        return None

    def _described(self) -> Running | None:
        described = self._read("running.json")
        return Running(**described) if described else None

    def describe(self, running: Running | None) -> None:
        """Write down who runs, or that nobody does any more."""
        if running:
            self._write("running.json", asdict(running))
        else:
            (self.directory / "running.json").unlink(missing_ok=True)

    def secret(self, name: str, prefix: str = "") -> str:
        """The secret of that name: ``prefix`` and 256 random bits in URL-safe characters, made when first asked for."""
        return self.text(name) or self.remember(name, prefix + secrets.token_urlsafe(32))

    def text(self, name: str) -> str:
        """The text remembered under ``name``, else an empty one."""
        known = self._read("state.json").get(name)
        return known if isinstance(known, str) else ""

    def number(self, name: str) -> int:
        """The number remembered under ``name``, else 0."""
        known = self._read("state.json").get(name)
        return known if isinstance(known, int) else 0

    def remember[T: (int, str)](self, name: str, value: T) -> T:
        """Keep a value for later runs, and return it."""
        self._write("state.json", {**self._read("state.json"), name: value})
        return value

    def _read(self, name: str) -> dict[str, Any]:
        path = self.directory / name
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as problem:
            raise DevelopmentError(
                f"{path} can't be read ({problem}); if it is broken, `make clean` starts anew, without the data"
            ) from problem
        return content

    def _write(self, name: str, content: dict[str, Any]) -> None:
        new = self.directory / f"{name}.new"
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file, indent=1)
        new.replace(self.directory / name)
