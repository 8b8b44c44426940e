"""What `make run` prints: a line for each step, with the time it took.

Printing never raises: when the reader is gone (``make run | head``, a closed terminal), there are servers to stop.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

WIDTH = 58


def say(text: str = "", *, end: str = "\n") -> None:
    """Print one line on standard output now."""
    with suppress(OSError, ValueError):
        print(text, end=end, flush=True)


def complain(text: str) -> None:
    """Print one message on standard error now."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


@contextmanager
def step(label: str, *, preview: bool = True) -> Iterator[None]:
    """Print ``label`` with the seconds the block took; nothing more when it fails.

    On a terminal the label stands there while the block runs; ``preview=False`` when the block prints something itself.
    """
    begun = time.monotonic()
    preview = preview and sys.stdout.isatty()
    if preview:
        say(f"  {label} ...", end="\r")
    try:
        yield
    except BaseException:
        if preview:
            say()
        raise
    say(f"  {label:<{WIDTH}} {time.monotonic() - begun:5.1f} s")
