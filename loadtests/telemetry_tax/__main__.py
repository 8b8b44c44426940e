"""The command line: ``python -m loadtests.telemetry_tax --help``."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.paired.backing import Backing
from loadtests.paired.command import parser_of, plan_of, run, servers_of
from loadtests.paired.report import Comparison, compare_pooled, cost_table, ratio_table, section, surroundings, write
from loadtests.paired.rounds import Plan, all_blocks
from loadtests.paired.servers import Server
from loadtests.paired.workloads import CREATE, READ, Workload
from loadtests.telemetry_tax.collector import Manner, standing
from loadtests.telemetry_tax.collectors import all_manners, measure_collectors
from loadtests.telemetry_tax.said import PUBLISH_SECONDS, said_by, said_table
from loadtests.telemetry_tax.variants import (
    KIT_COMPARISONS,
    KIT_NOISE,
    SIGNAL_COMPARISONS,
    SIGNAL_NOISE,
    collector_settings,
    gantry_variants,
    kit_variants,
    signal_settings,
)

TITLES = {READ: "GET /api/v1/items/{id}", CREATE: "POST /api/v1/items"}

type Result = tuple[str, dict[str, Any]]
"""Tables, and everything for the file."""


def options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of("telemetry_tax", "CPU cost of telemetry: everything on beside everything off, and each signal.")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--collectors", action="store_true", help="instead: collectors that are lost, hang or are slow")
    only.add_argument("--usual-kit", action="store_true", help="instead: what is usually put around an application")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure."""
    chosen = options(arguments)
    plan = plan_of(chosen)
    mode = collectors if chosen.collectors else usual_kit if chosen.usual_kit else signals

    def work(shared: Backing, server_cpu: int | None) -> None:
        around = surroundings(shared.postgres_version)
        with tempfile.TemporaryDirectory(prefix="telemetry-tax-") as folder:
            tables, content = mode(shared, plan, server_cpu, Path(folder))
        write(chosen.output, around | content)
        print(f"\n{plan.rounds} rounds, seed {plan.seed}, {plan.connections} connections\n\n{tables}")
        print(f"\nEverything: {chosen.output}")

    return run("telemetry_tax", work)


def signals(shared: Backing, plan: Plan, cpu: int | None, folder: Path) -> Result:
    """Everything, each signal alone and none, for a read and for a write."""
    with (
        standing(Manner.taking, folder / "collector.log") as collector,
        servers_of(gantry_variants(signal_settings(collector)), shared, cpu) as servers,
    ):
        results = [measured(servers, plan, workload, SIGNAL_COMPARISONS, SIGNAL_NOISE) for workload in (READ, CREATE)]
        time.sleep(PUBLISH_SECONDS)
        all_said = [said_by(server) for server in servers]
    tables = [*(tables for tables, _ in results), said_table(all_said)]
    content = {name: part for _, parts in results for name, part in parts.items()}
    return "\n\n".join(tables), content | {"said": [asdict(said) for said in all_said]}


def measured(
    servers: Sequence[Server], plan: Plan, workload: Workload, comparisons: list[Comparison], noise: list[Comparison]
) -> Result:
    """Rounds of one workload."""
    plan = plan.for_workload(workload)
    blocks = all_blocks(servers, plan, workload)
    ratios = compare_pooled(blocks, comparisons, noise, plan.seed)
    title = f"{TITLES[workload]}, {plan.requests:,} requests twice for each variant in a round:"
    tables = f"{title}\n\n{cost_table(blocks)}\n\n{ratio_table(ratios)}"
    return tables, {workload.name: section(plan, blocks, ratios)}


def collectors(shared: Backing, plan: Plan, cpu: int | None, folder: Path) -> Result:
    """Collectors of all manners, with every request recorded."""
    with (
        all_manners(folder) as urls,
        servers_of(gantry_variants(collector_settings(urls)), shared, cpu) as servers,
    ):
        return measure_collectors(servers, plan)


def usual_kit(shared: Backing, plan: Plan, cpu: int | None, folder: Path) -> Result:
    """The read written the common way, with and without the usual kit."""
    with (
        standing(Manner.taking, folder / "collector.log") as collector,
        servers_of(kit_variants(collector), shared, cpu) as servers,
    ):
        return measured(servers, plan, READ, KIT_COMPARISONS, KIT_NOISE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
