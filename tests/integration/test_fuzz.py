"""The short form of `make fuzz`: schemathesis, positive, negative and stateful, against the running gunicorn."""

from pathlib import Path

import pytest

from tests.conftest import make_database
from tests.fuzz.campaign import run
from tests.gunicorn import running_api


@pytest.mark.timeout(240)
def test_schemathesis_finds_nothing(worker_id: str, tmp_path: Path) -> None:
    with running_api(make_database(f"fuzz_{worker_id}"), tmp_path) as api:
        campaign = run(api, seeds=[20261123], examples=15, report=tmp_path / "fuzz.txt")
    assert not campaign.failed_runs, "\n".join(campaign.failed_runs)
    assert campaign.server_errors() == {}
    assert campaign.without_success() == []
    assert campaign.strangers < 0.1
    assert campaign.cases > 1000
