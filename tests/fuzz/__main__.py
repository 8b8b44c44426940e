"""``make fuzz``: at least 20,000 cases; prints the table, writes build/fuzz.json, and fails on any finding."""

import json
import os
import sys
import tempfile
from pathlib import Path

from pydantic import SecretStr

from app.core.config import DatabaseSettings
from app.dev.temporary import temporary_postgres
from app.migrations.run import migrate
from tests.conftest import SERVER_URL
from tests.fuzz.campaign import Campaign, run
from tests.gunicorn import running_api

CASES = 20_000
EXAMPLES = 100
MAX_RUNS = 40
MAX_STRANGERS = 0.1


def main() -> int:
    """Fuzz until there are enough cases. Returns the exit status."""
    build = Path("build").resolve()
    build.mkdir(exist_ok=True)
    report = build / "fuzz.txt"
    report.unlink(missing_ok=True)
    with temporary_postgres() as server, tempfile.TemporaryDirectory() as folder:
        os.environ[SERVER_URL] = server.url()
        migrate(DatabaseSettings(url=SecretStr(server.url())))
        with running_api(server.url(), Path(folder)) as api:
            campaign = Campaign()
            failed: list[str] = []
            for seed in range(1, MAX_RUNS + 1):
                campaign = run(api, seeds=[seed], examples=EXAMPLES, report=report)
                failed += campaign.failed_runs
                print(f"seed {seed}: {campaign.cases} cases so far, {len(failed)} runs with findings", flush=True)
                if campaign.cases >= CASES or failed:
                    break
    print(*campaign.table(), sep="\n")
    print(*failed, sep="\n")
    distribution = {f"{method} {route}": dict(counter) for (method, route), counter in campaign.statuses.items()}
    (build / "fuzz.json").write_text(json.dumps({"cases": campaign.cases, "statuses": distribution}, indent=1))
    unreached = campaign.without_success()
    print(
        f"{campaign.cases} cases, {sum(campaign.server_errors().values())} x 5xx, {campaign.strangers:.1%} x 401, "
        f"operations without a 2xx: {unreached or 'none'}"
    )
    good = not (failed or campaign.server_errors() or unreached)
    good = good and campaign.cases >= CASES and campaign.strangers < MAX_STRANGERS
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
