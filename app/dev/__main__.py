"""``python -m app.dev``: what the Makefile's targets ``run``, ``key`` and ``clean`` call."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from app.dev import commands
from app.dev.processes import signal_when_parent_dies
from app.dev.runner import Options

CHECKOUT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.dev", description="Gantry on this machine, for development.")
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "key", "clean"),
        default="run",
        help="start everything and wait for Ctrl-C (the default), print a fresh API key for it, or remove its data",
    )
    parser.add_argument("--port", type=int, default=8000, help="of the API (default: 8000)")
    parser.add_argument("--admin-port", type=int, default=9000, help="of /livez, /readyz and /metrics (default: 9000)")
    parser.add_argument("--state", type=Path, default=CHECKOUT / ".dev", help="the folder of the data (default: .dev)")
    parser.add_argument(
        "--trace-console", action="store_true", help="record every request, and write its spans to the log"
    )
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when the calling process ends (Linux)")
    chosen = parser.parse_args(arguments)
    if chosen.stop_with_parent:
        signal_when_parent_dies(signal.SIGTERM)
    options = Options(
        state=chosen.state.absolute(),
        port=chosen.port,
        admin_port=chosen.admin_port,
        trace_console=chosen.trace_console,
    )
    match chosen.command:
        case "key":
            return commands.create_key(options)
        case "clean":
            return commands.clean(options)
    return commands.run(options)


if __name__ == "__main__":
    sys.exit(main())
