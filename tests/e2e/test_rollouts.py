"""Nobody notices that pods are replaced: not by an upgrade, not by a rollback, not by a deletion; and what the drain has to do with it."""

import math
import time
from collections.abc import Callable

import pytest

from tests.e2e.cluster import RELEASE, get, replace_oldest
from tests.e2e.load import Capacity, Load, running_load
from tests.e2e.release import Release

REQUESTS = 20_000
SECONDS = 330
"""At least; the replacements took 266 s on a slow machine."""
DROPPED = 0.02
"""Of the requests that were due, those that k6 did not send because 200 others had no answer yet: a second's pause on a busy machine."""
UPGRADES = 3
DELETIONS = 10
STOPPED = 4 + 2  # without the drain, by deletions and by the upgrade


def image_in_use() -> str:
    return str(get("deployment", f"{RELEASE}-api")["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.timeout(1200)
def test_no_request_fails_while_all_pods_are_replaced_again_and_again(
    release: Release, capacity: Capacity, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    release.steady()
    images = release.tagged_images(UPGRADES)
    seconds = max(SECONDS, math.ceil(REQUESTS * 1.02 / int(capacity.in_the_worst_moment * 0.6)))
    began = time.monotonic()
    with running_load(arrivals(seconds)) as load:
        for image in images:
            release.upgrade(release.steady_values, image=image)
            assert image_in_use() == image
        release.rollback()
        assert image_in_use() == images[-2]
        upgraded = time.monotonic() - began
        for _ in range(DELETIONS):
            replace_oldest("api", 2)
        replaced = time.monotonic() - began
        assert load.running, f"the load was over after {seconds} s, the replacements took {replaced:.0f} s"
        summary = load.finish()
    keep(**summary.figures(), upgraded_after=round(upgraded), replaced_after=round(replaced))
    assert summary.requests >= REQUESTS
    assert summary.failed == 0, summary.log
    assert summary.dropped <= summary.requests * DROPPED, "the load was not what it was to be"


def test_without_the_drain_requests_fail(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    """The control, in a shorter form: the same load notices four deletions and an upgrade when pods stop at once."""
    release.steady(api__drainSeconds=0)
    (image,) = release.tagged_images(1)
    with running_load(arrivals(75)) as load:
        for _ in range(4):
            replace_oldest("api", 2)
        release.upgrade(release.steady_values, image=image, api__drainSeconds=0)
        summary = load.finish()
    keep(**summary.figures())
    release.steady()
    assert summary.failed >= STOPPED, "as many pods were stopped under load"
