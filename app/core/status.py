"""What a worker's app and the server around it tell each other: how the worker is, and whether the server is stopping.

The app depends on ``ProcessStatus`` alone. Under ``gantry serve`` it is backed by memory that all processes share; in tests, or under
plain uvicorn, ``LocalStatus`` stands in.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

TICK_SECONDS: Final = 0.1
"""How often the app's event loop has to say that it turns: whoever watches it counts from there."""


class ProcessStatus(Protocol):
    """The server as an app sees it. Every method reads or writes a few machine words: cheap enough for each request."""

    @property
    def workers(self) -> int:
        """Worker processes that share the load, for what each may use only its share of."""

    @property
    def exemplars_file(self) -> Path | None:
        """Where this process may leave exemplars for the process that shows its metrics; ``None`` when there is none."""

    def tick(self, lateness: float) -> None:
        """The event loop turns. To be called every ``TICK_SECONDS``, with the seconds that this call is late."""

    def ticks_end(self) -> None:
        """There will be no further tick, and that says nothing about the event loop."""

    def ready(self) -> None:
        """The app has started and can take requests."""

    def schema_seen(self, revision: int) -> None:
        """The database's schema was found to be one that this code runs on. Never taken back, and one worker's word is enough."""

    def draining(self) -> bool:
        """Whether the server was told to drain or to stop: connections should not be kept alive any longer."""


@dataclass(slots=True)
class LocalStatus:
    """The status of a process that no server of ours runs: it listens to nothing, and stops when a test says so."""

    workers: int = 1
    stopping: bool = False
    exemplars_file: Path | None = None

    def tick(self, lateness: float) -> None:
        """Nobody is interested."""

    def ticks_end(self) -> None:
        """Nobody is interested."""

    def ready(self) -> None:
        """Nobody is interested."""

    def schema_seen(self, revision: int) -> None:
        """Nobody is interested."""

    def draining(self) -> bool:
        """``stopping``."""
        return self.stopping
