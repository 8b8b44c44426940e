"""What a worker's app and the server around it tell each other: how the worker is, and whether the server is stopping.

The app depends on ``ProcessStatus`` alone. Under ``gantry serve`` it is backed by memory that all processes share; in tests, or under
plain uvicorn, ``LocalStatus`` stands in.
"""

from dataclasses import dataclass
from typing import Protocol


class ProcessStatus(Protocol):
    """The server as an app sees it. Every method reads or writes a few machine words: cheap enough for each request."""

    @property
    def workers(self) -> int:
        """Worker processes that share the load, for what each may use only its share of."""

    def heartbeat(self) -> None:
        """The event loop turns. To be called every second or so."""

    def ready(self) -> None:
        """The app has started and can take requests."""

    def schema_seen(self) -> None:
        """The database's schema was found to be one that this code runs on. Never taken back, and one worker's word is enough."""

    def draining(self) -> bool:
        """Whether the server was told to drain or to stop: connections should not be kept alive any longer."""


@dataclass(slots=True)
class LocalStatus:
    """The status of a process that no server of ours runs: it listens to nothing, and stops when a test says so."""

    workers: int = 1
    stopping: bool = False

    def heartbeat(self) -> None:
        """Nobody is interested."""

    def ready(self) -> None:
        """Nobody is interested."""

    def schema_seen(self) -> None:
        """Nobody is interested."""

    def draining(self) -> bool:
        """``stopping``."""
        return self.stopping
