"""Ratios within rounds, and how sure one can be of them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median

from loadtests.paired.rounds import Block

RESAMPLES = 10_000


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, with the bootstrap's 95 % interval."""

    median: float
    low: float
    high: float


AGAIN = ", again"
"""Ends the name of a second process of a program."""


def again(name: str) -> str:
    """A second process of the same program; how far the two are apart is the noise."""
    return name + AGAIN


def pooled(blocks: Sequence[Block]) -> list[Block]:
    """Both processes of a program as one variant: processes differ by chance, and two of them less."""
    return [replace(block, variant=block.variant.removesuffix(AGAIN)) for block in blocks]


type PerRound = Callable[[Sequence[Block], str], dict[int, float]]
"""Something of a variant in each round, such as ``costs``."""


def _rounds(blocks: Sequence[Block], variant: str) -> dict[int, list[Block]]:
    rounds: dict[int, list[Block]] = {}
    for block in blocks:
        if block.variant == variant:
            rounds.setdefault(block.round, []).append(block)
    return rounds


def costs(blocks: Sequence[Block], variant: str) -> dict[int, float]:
    """CPU microseconds a request in each round: both blocks of the variant together."""
    return {
        number: sum(b.cpu_seconds for b in both) / sum(b.requests for b in both) * 1e6
        for number, both in _rounds(blocks, variant).items()
    }


def latencies(blocks: Sequence[Block], variant: str) -> dict[int, float]:
    """Microseconds that half of the requests took at most, in each round: the mean of the variant's blocks."""
    return {number: mean(b.median_seconds for b in both) * 1e6 for number, both in _rounds(blocks, variant).items()}


def paired_ratios(blocks: Sequence[Block], variant: str, base: str, of: PerRound = costs) -> list[float]:
    """What the variant costs, or takes, as a multiple of what the base does in the same round."""
    over = of(blocks, base)
    return [value / over[number] for number, value in of(blocks, variant).items()]


def bootstrap(ratios: Sequence[float], seed: int, resamples: int = RESAMPLES) -> Ratio:
    """The percentile bootstrap of the median (Efron 1979): rounds drawn with replacement, again and again."""
    chance = random.Random(seed)
    medians = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(resamples))
    return Ratio(median(ratios), medians[int(0.025 * resamples)], medians[int(0.975 * resamples)])
