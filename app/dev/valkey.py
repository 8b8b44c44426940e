"""A real Valkey for `make run` and the tests. It keeps nothing: limits and cached answers may be lost at any time."""

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from app.dev.errors import DevelopmentError
from app.dev.postgres import HOST, free_port
from app.dev.processes import Child, Pause, stop_leftovers, tail

START_TIMEOUT = 20.0
"""Seconds for a start."""
STOP_TIMEOUT = 10.0
"""Seconds for a stop in good order."""


class EmbeddedValkey:
    """One Valkey server. ``port`` is a wish: when it is not free, another one is taken and stands there."""

    def __init__(
        self, program: Path, directory: Path, *, password: str, log: Path, port: int = 0, pause: Pause = time.sleep
    ) -> None:
        self.directory = directory
        self.port = port
        self.child: Child | None = None
        self._program = program
        self._password = password
        self._log = log
        self._pause = pause

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises ``DevelopmentError`` with the end of its log when it does not.
        """
        stop_leftover_valkey(self.directory)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        deadline = time.monotonic() + START_TIMEOUT
        wished = self.port
        try:
            while not self._attempt(wished, deadline):
                wished = 0
        except BaseException:
            self.stop()
            raise

    def _attempt(self, wished: int, deadline: float) -> bool:
        """Start and wait for an answer; ``False`` when another program has just taken the port."""
        self.port = free_port(wished)
        self.child = child = Child(
            "Valkey", [self._program, self._write_configuration()], environment={}, log=self._log
        )
        while not self._answers():
            if child.status is not None:
                if "Address already in use" in tail(self._log):
                    return False
                raise DevelopmentError(child.ended())
            if time.monotonic() > deadline:
                raise DevelopmentError(
                    f"Valkey did not answer within {START_TIMEOUT:g} s; the end of {self._log}:\n{tail(self._log)}"
                )
            self._pause(0.02)
        return True

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as client, client.makefile("rwb") as stream:
                stream.write(f"AUTH {self._password}\r\nPING\r\n".encode())
                stream.flush()
                return [stream.readline(), stream.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False

    def _write_configuration(self) -> Path:
        """The password goes through a file: a command line can be read by everybody."""
        path = _configuration(self.directory)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        folder = json.dumps(str(self.directory), ensure_ascii=False)
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f"requirepass {self._password}",
            f"dir {folder}",
            "set-proc-title no",  # the command line has to go on naming this file, see stop_leftover_valkey
            'save ""',
            "appendonly no",
        ]
        path.write_text("\n".join(lines) + "\n")
        return path

    def url(self, database: int = 0) -> str:
        """``redis://…`` for a client; 16 databases are kept apart by their number."""
        return f"redis://:{self._password}@{HOST}:{self.port}/{database}"

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop the server and wait until it is gone."""
        if self.child:
            self.child.stop(STOP_TIMEOUT, hurried=hurried)


def _configuration(directory: Path) -> Path:
    return directory / "valkey.conf"


def stop_leftover_valkey(directory: Path) -> int:
    """Stop a server that a killed runner left in this folder. Returns how many there were."""
    return stop_leftovers(f"-server {_configuration(directory)}", signal.SIGTERM)
