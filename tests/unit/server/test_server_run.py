"""What is checked before the server starts."""

import sys

import pytest
import structlog

from app.core.server.run import ACCELERATORS, _require_accelerators


@pytest.mark.parametrize("missing", ACCELERATORS)
def test_the_server_does_not_start_without_its_accelerators(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with structlog.testing.capture_logs() as logs, pytest.raises(SystemExit) as end:
        _require_accelerators()
    assert end.value.code == 1
    assert logs[0]["module"] == missing
    assert "uv sync" in logs[0]["remedy"]


def test_they_are_there() -> None:
    _require_accelerators()
