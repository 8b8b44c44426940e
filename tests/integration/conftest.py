"""Fixtures of the integration tests."""

import pytest

from app.services import callers
from tests.integration.keys import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time, in the hands of the test."""
    clock = Clock()
    monkeypatch.setattr(callers, "time", clock)
    return clock
