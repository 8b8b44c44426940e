"""Ratios within rounds, and how sure one can be of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtests.paired.rounds import Block

RESAMPLES = 10_000


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, with the bootstrap's 95 % interval."""

    median: float
    low: float
    high: float


def costs(blocks: Sequence[Block], variant: str) -> dict[int, float]:
    """CPU microseconds a request in each round: both blocks of the variant together."""
    rounds: dict[int, list[Block]] = {}
    for block in blocks:
        if block.variant == variant:
            rounds.setdefault(block.round, []).append(block)
    return {
        number: sum(b.cpu_seconds for b in both) / sum(b.requests for b in both) * 1e6
        for number, both in rounds.items()
    }


def paired_ratios(blocks: Sequence[Block], variant: str, base: str) -> list[float]:
    """What the variant costs, as a multiple of what the base costs in the same round."""
    over = costs(blocks, base)
    return [cost / over[number] for number, cost in costs(blocks, variant).items()]


def bootstrap(ratios: Sequence[float], seed: int, resamples: int = RESAMPLES) -> Ratio:
    """The percentile bootstrap of the median (Efron 1979): rounds drawn with replacement, again and again."""
    chance = random.Random(seed)
    medians = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(resamples))
    return Ratio(median(ratios), medians[int(0.025 * resamples)], medians[int(0.975 * resamples)])
