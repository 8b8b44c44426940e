"""The table on the terminal, and everything in a file."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from loadtests.paired.ratios import PerRound, Ratio, bootstrap, costs, paired_ratios, pooled
from loadtests.paired.rounds import Block, Plan

PACKAGES = (
    *("fastapi", "starlette", "pydantic", "sqlalchemy", "psycopg", "uvicorn", "uvloop", "httptools", "gunicorn"),
    *("opentelemetry-sdk", "opentelemetry-instrumentation-fastapi", "prometheus-client", "structlog"),
)

type Comparison = tuple[str, str]
"""A variant, and the one that it is compared with."""


def text_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that can be read as it is: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = f"| {'-' * widths[0]} | {' | '.join('-' * (width - 1) + ':' for width in widths[1:])} |"
    return "\n".join([line(titles), rule, *map(line, rows)])


def cost_table(blocks: Sequence[Block], of: PerRound = costs, title: str = "CPU µs a request") -> str:
    """What a request costs each variant, or whatever else, the dearest first."""
    by_variant = {name: list(of(blocks, name).values()) for name in dict.fromkeys(b.variant for b in blocks)}
    dearest_first = sorted(by_variant.items(), key=lambda entry: -median(entry[1]))
    rows = [[name, f"{median(c):.0f}", f"{min(c):.0f}", f"{max(c):.0f}"] for name, c in dearest_first]
    return text_table([title, "median", "least", "most"], rows)


def compare(
    blocks: Sequence[Block], comparisons: Sequence[Comparison], seed: int, of: PerRound = costs
) -> dict[Comparison, Ratio]:
    """The ratio of each pair of variants."""
    return {(name, base): bootstrap(paired_ratios(blocks, name, base, of), seed) for name, base in comparisons}


def compare_pooled(
    blocks: Sequence[Block],
    comparisons: Sequence[Comparison],
    noise: Sequence[Comparison],
    seed: int,
    of: PerRound = costs,
) -> dict[Comparison, Ratio]:
    """Ratios over both processes of each program, and after them how far two processes of one program are apart."""
    return compare(pooled(blocks), comparisons, seed, of) | compare(blocks, noise, seed, of)


def ratio_table(ratios: dict[Comparison, Ratio], title: str = "ratio within rounds") -> str:
    """What each variant costs as a multiple of another."""
    rows = [
        [f"{name} / {base}", f"{ratio.median:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}"]
        for (name, base), ratio in ratios.items()
    ]
    return text_table([title, "median", "95 % interval"], rows)


def surroundings(postgres_version: str) -> dict[str, Any]:
    """Where and with what it was measured."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "processor": _processor(),
        "kernel": platform.release(),
        "versions": {"python": platform.python_version(), "postgresql": postgres_version}
        | {name: version(name) for name in PACKAGES},
        "arguments": sys.argv[1:],
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def ratio_list(ratios: dict[Comparison, Ratio]) -> list[dict[str, Any]]:
    """Ratios, for the file."""
    return [{"of": name, "to": base, **asdict(ratio)} for (name, base), ratio in ratios.items()]


def section(plan: Plan, blocks: Sequence[Block], ratios: dict[Comparison, Ratio]) -> dict[str, Any]:
    """Everything of one measurement, for the file."""
    return {
        "plan": asdict(plan),
        "ratios": ratio_list(ratios),
        "blocks": [asdict(block) | {"cpu_us_per_request": round(block.cost, 1)} for block in blocks],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write it as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
