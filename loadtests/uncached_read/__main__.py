"""The command line: ``python -m loadtests.uncached_read --help``."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from app.dev.errors import DevelopmentError
from loadtests.paired.backing import Backing, backing
from loadtests.paired.cpu import cpus, pinned
from loadtests.paired.report import Comparison, compare, cost_table, ratio_table, surroundings, write
from loadtests.paired.rounds import Plan, all_blocks
from loadtests.paired.servers import common_variant, gantry_variant, serving
from loadtests.paired.workloads import WrongAnswer

GANTRY, COMMON, COMMON_ASYNC = "gantry", "common way", "common way, async"
UNSHARED = "gantry, own limits"
AGAIN = "again"

VARIANTS = [
    gantry_variant(GANTRY),
    gantry_variant(f"{GANTRY}, {AGAIN}"),
    gantry_variant(UNSHARED, shared_limits=False),
    common_variant(COMMON, "loadtests.common_way"),
    common_variant(f"{COMMON}, {AGAIN}", "loadtests.common_way"),
    common_variant(COMMON_ASYNC, "loadtests.common_way_async"),
]

COMPARISONS: list[Comparison] = [
    (GANTRY, COMMON),
    (UNSHARED, COMMON),
    (GANTRY, COMMON_ASYNC),
    (f"{GANTRY}, {AGAIN}", GANTRY),
    (f"{COMMON}, {AGAIN}", COMMON),
]
"""The first is what the benchmark is about. The last two are the noise: a program beside a second process of itself."""


def options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.uncached_read",
        description="CPU cost of an uncached GET /items/{id}, beside the same read written the common way.",
    )
    parser.add_argument("--pairs", type=int, default=12, help="rounds; each has two blocks of every variant")
    parser.add_argument("--requests", type=int, default=1500, help="requests a block")
    parser.add_argument("--connections", type=int, default=16, help="connections, each with one request at a time")
    parser.add_argument("--seed", type=int, default=None, help="of the order and the items; by default a new one")
    parser.add_argument("--quick", action="store_true", help="3 pairs: to see that it works, not to quote")
    parser.add_argument("--output", type=Path, default=Path("build/uncached_read.json"), help="where all goes")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--parts", action="store_true", help="instead: our parts beside what they stand in for")
    only.add_argument("--profile", action="store_true", help="instead: profile our application in this process")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure; the exit status says whether that was possible, not whether the result pleases."""
    chosen = options(arguments)
    plan = Plan(
        rounds=3 if chosen.quick else chosen.pairs,
        requests=chosen.requests,
        connections=chosen.connections,
        seed=time.time_ns() % 1_000_000 if chosen.seed is None else chosen.seed,
    )
    server_cpu, other_cpu = cpus()
    if server_cpu is None:
        print("only one CPU: the server shares it with everything else, and the noise will be large", file=sys.stderr)
    try:
        with pinned(other_cpu), backing() as shared:
            if chosen.profile:
                from loadtests.uncached_read.profiling import profile

                profile(shared, plan)
            elif chosen.parts:
                from loadtests.uncached_read.parts import measure_parts, parts_table

                with pinned(server_cpu):
                    work = measure_parts(shared, plan.rounds, plan.seed)
                    print(parts_table(asyncio.run(work, loop_factory=uvloop.new_event_loop)))
            else:
                show(shared, plan, server_cpu, chosen.output)
    except (DevelopmentError, WrongAnswer, OSError) as problem:
        print(f"uncached_read: {problem}", file=sys.stderr)
        return 1
    return 0


def show(shared: Backing, plan: Plan, server_cpu: int | None, output: Path) -> None:
    """Measure the servers, print the tables and write the file."""
    around = surroundings(shared.postgres_version)
    with (
        tempfile.TemporaryDirectory(prefix="uncached-read-") as logs,
        serving(VARIANTS, shared, Path(logs), server_cpu) as servers,
    ):
        blocks = all_blocks(servers, plan)
    ratios = compare(blocks, COMPARISONS, plan.seed)
    write(output, around, plan, blocks, ratios)
    print(f"\n{plan.rounds} rounds of {plan.requests} requests twice for each variant, seed {plan.seed}")
    print(f"\n{cost_table(blocks)}\n\n{ratio_table(ratios)}\n\nEverything: {output}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
