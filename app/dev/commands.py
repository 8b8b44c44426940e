"""The commands of ``python -m app.dev``: start everything, make a key for it, remove its data."""

import os
import shutil

from app.dev.application import Application
from app.dev.console import complain
from app.dev.environment import PREFIX
from app.dev.errors import DevelopmentError
from app.dev.place import outside_path
from app.dev.runner import Options, Runner, stop_leftovers
from app.dev.signals import Signals
from app.dev.state import State


def run(options: Options) -> int:
    """`make run`: everything, until it is stopped. Returns the exit status: 0 after Ctrl-C or SIGTERM, else 1."""
    state = State(options.state)
    try:
        state.make()
        with state.locked(), Signals() as signals:
            return Runner(options, state, signals).run()
    except DevelopmentError as problem:
        complain(f"make run: {problem}")
        return 1


def create_key(options: Options) -> int:
    """`make key`: print a fresh key for the `make run` that is running, and nothing else. Returns the exit status."""
    running = State(options.state).running()
    if running is None:
        complain("make key: nothing is running here; start it with `make run`")
        return 1
    if not running.environment:
        complain("make key: `make run` is still preparing; try again in a moment")
        return 1
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith((PREFIX, "PG"))}
    try:
        print(Application(kept | running.environment, options.state, cli=options.cli).create_key())
    except DevelopmentError as problem:
        complain(f"make key: {problem}")
        return 1
    return 0


def clean(options: Options) -> int:
    """Part of `make clean`: remove the data of `make run`, unless it is running. Returns the exit status."""
    state = State(options.state)
    try:
        state.make()
        with state.locked():
            stop_leftovers(state)
            for folder in (outside_path(state), state.directory):
                if folder.exists():
                    shutil.rmtree(folder)
    except DevelopmentError as problem:
        complain(f"make clean: {problem}")
        return 1
    return 0
