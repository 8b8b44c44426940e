"""What the command lines of the benchmarks share: how much is measured, and on which CPUs."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.dev.errors import DevelopmentError
from loadtests.paired.backing import Backing, backing
from loadtests.paired.cpu import cpus, pinned
from loadtests.paired.rounds import Plan
from loadtests.paired.servers import Server, Variant, serving
from loadtests.paired.workloads import WrongAnswer

QUICK_ROUNDS = 3


def parser_of(package: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(prog=f"python -m loadtests.{package}", description=description)
    parser.add_argument("--pairs", type=int, default=12, help="rounds; each has two blocks of every variant")
    parser.add_argument("--requests", type=int, default=1500, help="requests a block; fewer of those that take longer")
    parser.add_argument("--connections", type=int, default=16, help="connections, each with one request at a time")
    parser.add_argument("--seed", type=int, default=None, help="of the order and the items; by default a new one")
    parser.add_argument("--quick", action="store_true", help="3 pairs: to see that it works, not to quote")
    parser.add_argument("--output", type=Path, default=Path(f"build/{package}.json"), help="where all goes")
    return parser


def plan_of(chosen: argparse.Namespace) -> Plan:
    """How much to measure."""
    return Plan(
        rounds=QUICK_ROUNDS if chosen.quick else chosen.pairs,
        requests=chosen.requests,
        connections=chosen.connections,
        seed=time.time_ns() % 1_000_000 if chosen.seed is None else chosen.seed,
    )


def run(package: str, work: Callable[[Backing, int | None], None]) -> int:
    """Do the work with what servers need, pinned away from their CPU, which is given.

    The exit status says whether it was possible to measure, not whether the result pleases.
    """
    server_cpu, other_cpu = cpus()
    if server_cpu is None:
        print("only one CPU: the server shares it with everything else, and the noise will be large", file=sys.stderr)
    try:
        with pinned(other_cpu), backing() as shared:
            work(shared, server_cpu)
    except (DevelopmentError, WrongAnswer, OSError) as problem:
        print(f"{package}: {problem}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def servers_of(variants: list[Variant], shared: Backing, cpu: int | None) -> Iterator[list[Server]]:
    """All variants, running, with their logs in a folder that is gone after the block."""
    with (
        tempfile.TemporaryDirectory(prefix="gantry-loadtests-") as logs,
        serving(variants, shared, Path(logs), cpu) as servers,
    ):
        yield servers
