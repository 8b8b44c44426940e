"""What is compared: Gantry with its signals on and off, and with a collector that behaves in several ways."""

from loadtests.paired.ratios import again
from loadtests.paired.report import Comparison
from loadtests.paired.servers import Variant, common_variant, gantry_variant

LOGS_OFF = {"GANTRY_LOG__REQUESTS": "false"}
METRICS_OFF = {"GANTRY_METRICS__ENABLED": "false"}
TRACES_OFF = {"GANTRY_TRACING__ENABLED": "false"}
RECORDED = {"GANTRY_TRACING__SAMPLE_RATIO": "1"}

OFF, EVERYTHING, ALL_RECORDED = "off", "everything", "everything recorded"
LOGS, METRICS, TRACES = "logs", "metrics", "traces"
ABSENT, TAKING, REFUSING, HANGING, SLOW = "absent", "taking", "refusing", "hanging", "slow"
BARE, KIT = "common way, async", "with the usual kit"


def spans_to(collector: str) -> dict[str, str]:
    """Spans are sent to the collector with this base URL."""
    return {"GANTRY_TRACING__ENDPOINT": collector}


def signal_settings(collector: str) -> dict[str, dict[str, str]]:
    """The settings of each variant beside the defaults, which are everything."""
    off = LOGS_OFF | METRICS_OFF | TRACES_OFF
    everything = spans_to(collector)
    return {
        OFF: off,
        again(OFF): off,
        EVERYTHING: everything,
        again(EVERYTHING): everything,
        ALL_RECORDED: everything | RECORDED,
        LOGS: METRICS_OFF | TRACES_OFF,
        METRICS: LOGS_OFF | TRACES_OFF,
        TRACES: everything | LOGS_OFF | METRICS_OFF,
    }


SIGNAL_COMPARISONS: list[Comparison] = [(name, OFF) for name in (EVERYTHING, ALL_RECORDED, LOGS, METRICS, TRACES)]
"""The first is what the benchmark is about."""

SIGNAL_NOISE: list[Comparison] = [(again(name), name) for name in (OFF, EVERYTHING)]


def collector_settings(collectors: dict[str, str]) -> dict[str, dict[str, str]]:
    """Everything on and every request recorded, by how the collector behaves; ``collectors`` are their base URLs."""
    behaviours = (TAKING, again(TAKING), REFUSING, HANGING, SLOW)
    sending = {name: RECORDED | spans_to(collectors[name.partition(",")[0]]) for name in behaviours}
    return {ABSENT: RECORDED, **sending}


COLLECTOR_COMPARISONS: list[Comparison] = [(name, TAKING) for name in (ABSENT, REFUSING, HANGING, SLOW)]
COLLECTOR_NOISE: list[Comparison] = [(again(TAKING), TAKING)]

KIT_COMPARISONS: list[Comparison] = [(KIT, BARE)]
KIT_NOISE: list[Comparison] = [(again(BARE), BARE)]


def gantry_variants(settings: dict[str, dict[str, str]], *, shared_limits: bool = True) -> list[Variant]:
    """Servers of Gantry with these settings."""
    return [gantry_variant(name, of_variant, shared_limits=shared_limits) for name, of_variant in settings.items()]


def kit_variants(collector: str) -> list[Variant]:
    """The common way without telemetry, and with what is usually put around it."""
    bare = "loadtests.common_way_async"
    return [
        common_variant(BARE, bare),
        common_variant(again(BARE), bare),
        common_variant(KIT, "loadtests.common_way_kit", {"COMMON_WAY_COLLECTOR": collector}),
    ]
