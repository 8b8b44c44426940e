"""The cache of every API pod answers its exporter, and is bounded as its memory limit wants it."""

import os

from support import addresses, call, check, eventually, passed

ADMIN = os.environ["TEST_ADMIN_HOST"]
MAXMEMORY = int(os.environ["TEST_CACHE_MAXMEMORY"])
METRICS_PORT = 9121


def sample(page: str, name: str) -> float | None:
    """The value of a metric without labels."""
    values = [line.split()[-1] for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(values[0]) if values else None


def every_cache_is_up() -> int:
    """The number of pods, the cache of each of which answered."""
    pods = addresses(ADMIN)
    for pod in pods:
        answer = call(pod, METRICS_PORT, "/metrics")
        check(answer.status == 200, f"the exporter of {pod}: {answer.status}")
        page = answer.body.decode()
        check(sample(page, "redis_up") == 1, f"the cache of {pod} does not answer: redis_up {sample(page, 'redis_up')}")
        bound = sample(page, "redis_memory_max_bytes")
        check(bound == MAXMEMORY, f"the cache of {pod} may fill {bound} bytes instead of {MAXMEMORY}")
    return len(pods)


passed(f"the caches of {eventually(every_cache_is_up)} pods answer, each within {MAXMEMORY} bytes")
