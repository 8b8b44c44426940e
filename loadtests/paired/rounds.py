"""The order of measuring: rounds in which each variant has two blocks, the second half mirroring the first."""

import asyncio
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import uvloop

from loadtests.paired.client import Client
from loadtests.paired.servers import Server
from loadtests.paired.workloads import ITEMS, READ, Workload, WrongAnswer

WARM_UP = 200
"""Requests at the start of a block that are not counted: caches of the CPU, the key's look-up, connections."""


@dataclass(frozen=True)
class Block:
    """What a number of equal requests cost one server, and how long they took its client."""

    round: int
    variant: str
    requests: int
    cpu_seconds: float
    wall_seconds: float
    median_seconds: float
    """Of a request, as the client sees it, with as many at a time as there are connections."""

    @property
    def cost(self) -> float:
        """CPU microseconds a request."""
        return self.cpu_seconds / self.requests * 1e6


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    requests: int
    connections: int
    seed: int

    def for_workload(self, workload: Workload) -> "Plan":
        """The same in about the same time."""
        return replace(self, requests=max(1, self.requests // workload.weight))


def orders(variants: Sequence[str], rounds: int, seed: int) -> Iterator[list[str]]:
    """For each round the order of its blocks: A B C C B A, so that a machine that gets slower or faster favours none."""
    chance = random.Random(f"order {seed}")
    for _ in range(rounds):
        half = chance.sample(variants, len(variants))
        yield half + half[::-1]


def item_ids(plan: Plan, number: int) -> list[int]:
    """The items that each block of a round is about, warm-up included: the same ones for all its variants."""
    chance = random.Random(f"items {plan.seed} {number}")
    return chance.choices(range(1, ITEMS + 1), k=WARM_UP + plan.requests)


async def measure(
    server: Server, ids: Sequence[int], *, number: int, connections: int, workload: Workload = READ
) -> Block:
    """One block. Raises ``WrongAnswer``."""
    client = await Client.connect(server.target, workload, connections)
    try:
        await client.ask(ids[:WARM_UP])
        counted = ids[WARM_UP:]
        cpu, wall = server.cpu_seconds(), time.monotonic()
        seconds = await client.ask(counted)
        cpu, wall = server.cpu_seconds() - cpu, time.monotonic() - wall
    finally:
        client.close()
    if not cpu:
        raise WrongAnswer(f"{server.name}: its processes did nothing, so something else answers on its port")
    return Block(number, server.name, len(counted), cpu, wall, median(seconds))


def run_rounds(servers: Sequence[Server], plan: Plan, workload: Workload = READ) -> Iterator[Block]:
    """All blocks, as they come. Raises ``WrongAnswer`` when a server answers anything but what was asked for."""
    by_name = {server.name: server for server in servers}
    for number, order in enumerate(orders(list(by_name), plan.rounds, plan.seed), start=1):
        ids = item_ids(plan, number)
        for name in order:
            block = measure(by_name[name], ids, number=number, connections=plan.connections, workload=workload)
            yield asyncio.run(block, loop_factory=uvloop.new_event_loop)


def all_blocks(servers: Sequence[Server], plan: Plan, workload: Workload = READ) -> list[Block]:
    """All blocks, with a count of them on a terminal meanwhile."""
    blocks = []
    expected = plan.rounds * 2 * len(servers)
    for block in run_rounds(servers, plan, workload):
        blocks.append(block)
        if sys.stderr.isatty():
            print(f"\r{workload.name}: block {len(blocks)} of {expected}", end="", file=sys.stderr, flush=True)
    return blocks
