"""The command line: ``python -m loadtests.uncached_read --help``."""

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop

from loadtests.paired.backing import Backing
from loadtests.paired.command import parser_of, plan_of, run, servers_of
from loadtests.paired.cpu import pinned
from loadtests.paired.ratios import again
from loadtests.paired.report import Comparison, compare, cost_table, ratio_table, section, surroundings, write
from loadtests.paired.rounds import Plan, all_blocks
from loadtests.paired.servers import common_variant, gantry_variant

GANTRY, COMMON, COMMON_ASYNC = "gantry", "common way", "common way, async"
UNSHARED = "gantry, own limits"

VARIANTS = [
    gantry_variant(GANTRY),
    gantry_variant(again(GANTRY)),
    gantry_variant(UNSHARED, shared_limits=False),
    common_variant(COMMON, "loadtests.common_way"),
    common_variant(again(COMMON), "loadtests.common_way"),
    common_variant(COMMON_ASYNC, "loadtests.common_way_async"),
]

COMPARISONS: list[Comparison] = [
    (GANTRY, COMMON),
    (UNSHARED, COMMON),
    (GANTRY, COMMON_ASYNC),
    (again(GANTRY), GANTRY),
    (again(COMMON), COMMON),
]
"""The first is what the benchmark is about. The last two are the noise: a program beside a second process of itself."""


def options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(
        "uncached_read", "CPU cost of an uncached GET /items/{id}, beside the same read written the common way."
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--parts", action="store_true", help="instead: our parts beside what they stand in for")
    only.add_argument("--profile", action="store_true", help="instead: profile our application in this process")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure."""
    chosen = options(arguments)
    plan = plan_of(chosen)

    def work(shared: Backing, server_cpu: int | None) -> None:
        if chosen.profile:
            from loadtests.uncached_read.profiling import profile

            profile(shared, plan)
        elif chosen.parts:
            from loadtests.uncached_read.parts import measure_parts, parts_table

            with pinned(server_cpu):
                measured = measure_parts(shared, plan.rounds, plan.seed)
                print(parts_table(asyncio.run(measured, loop_factory=uvloop.new_event_loop)))
        else:
            show(shared, plan, server_cpu, chosen.output)

    return run("uncached_read", work)


def show(shared: Backing, plan: Plan, server_cpu: int | None, output: Path) -> None:
    """Measure the servers, print the tables and write the file."""
    around = surroundings(shared.postgres_version)
    with servers_of(VARIANTS, shared, server_cpu) as servers:
        blocks = all_blocks(servers, plan)
    ratios = compare(blocks, COMPARISONS, plan.seed)
    write(output, {**around, **section(plan, blocks, ratios)})
    print(f"\n{plan.rounds} rounds of {plan.requests} requests twice for each variant, seed {plan.seed}")
    print(f"\n{cost_table(blocks)}\n\n{ratio_table(ratios)}\n\nEverything: {output}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
