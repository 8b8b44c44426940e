"""What a collector that is lost, hangs or is slow does to requests: their cost, how long they take, and how the server stops."""

import asyncio
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from app.dev.errors import DevelopmentError
from app.dev.web import LOOPBACK
from loadtests.paired.ratios import latencies
from loadtests.paired.report import Comparison, compare_pooled, cost_table, ratio_list, ratio_table, section, text_table
from loadtests.paired.rounds import Block, Plan, all_blocks, item_ids, measure
from loadtests.paired.servers import STOP_TIMEOUT, Server
from loadtests.telemetry_tax.collector import Manner, standing
from loadtests.telemetry_tax.said import PUBLISH_SECONDS, Said, said_by, said_table
from loadtests.telemetry_tax.variants import COLLECTOR_COMPARISONS, COLLECTOR_NOISE, REFUSING

STOP_BOUND = 5.0
"""Seconds that a server may take to stop, whatever the collector does, when nobody is connected to it."""


@dataclass(frozen=True)
class Stop:
    """How a server stopped."""

    variant: str
    seconds: float
    """From SIGTERM to its end."""
    status: int | None


@contextmanager
def all_manners(folder: Path) -> Iterator[dict[str, str]]:
    """A collector of each manner, and a port that refuses: base URLs by the variants' names."""
    with ExitStack() as stack:
        urls = {str(m): stack.enter_context(standing(m, folder / f"{m}.log")) for m in Manner}
        # Bound and not listened on: whoever connects is refused, and nobody else gets the port.
        refusing = stack.enter_context(socket.socket())
        refusing.bind((LOOPBACK, 0))
        yield urls | {REFUSING: f"http://{LOOPBACK}:{refusing.getsockname()[1]}"}


def stop_under_load(server: Server, plan: Plan) -> tuple[Said, Stop]:
    """Fill its queue of spans once more, see what it says of spans, and have it stop, with no connection open."""
    if server.started is None:
        raise DevelopmentError(f"{server.name} was not started here")
    burst = measure(server, item_ids(plan, 0), number=0, connections=plan.connections)
    asyncio.run(burst, loop_factory=uvloop.new_event_loop)
    time.sleep(PUBLISH_SECONDS)
    said = said_by(server)
    started = time.monotonic()
    server.started.child.stop(STOP_TIMEOUT)
    return said, Stop(server.name, time.monotonic() - started, server.started.child.status)


def stop_table(stops: Sequence[Stop]) -> str:
    """A line for each server."""
    rows = [[s.variant, f"{s.seconds:.2f}", str(s.status), "yes" if s.seconds <= STOP_BOUND else "NO"] for s in stops]
    return text_table(["stopping after load", "seconds", "exit status", f"within {STOP_BOUND:g} s"], rows)


def measure_collectors(
    servers: Sequence[Server],
    plan: Plan,
    comparisons: Sequence[Comparison] = COLLECTOR_COMPARISONS,
    noise: Sequence[Comparison] = COLLECTOR_NOISE,
) -> tuple[str, dict[str, Any]]:
    """Rounds of reads, and then the end of each server: tables, and everything for the file."""
    blocks: list[Block] = all_blocks(servers, plan)
    all_said, stops = [], []
    for server in servers:
        said, stop = stop_under_load(server, plan)
        all_said.append(said)
        stops.append(stop)
    ratios = compare_pooled(blocks, comparisons, noise, plan.seed)
    waits = compare_pooled(blocks, comparisons, noise, plan.seed, latencies)
    tables = [
        cost_table(blocks),
        ratio_table(ratios, "CPU, ratio within rounds"),
        cost_table(blocks, latencies, "median µs until the answer"),
        ratio_table(waits, "until the answer, ratio within rounds"),
        said_table(all_said),
        stop_table(stops),
    ]
    content = section(plan, blocks, ratios) | {
        "latency_ratios": ratio_list(waits),
        "said": [asdict(said) for said in all_said],
        "stops": [asdict(stop) for stop in stops],
    }
    return "\n\n".join(tables), content
