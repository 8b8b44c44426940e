"""The schema is brought up to date while the API serves."""

from collections.abc import Callable
from typing import Any

from tests.e2e.cluster import RELEASE, finished, get, kubectl, labels, probe_pod, psql, selector, start, wait_until
from tests.e2e.load import Load, running_load
from tests.e2e.release import Release

BLOCKING = "import psycopg, time; c = psycopg.connect(); c.execute('LOCK TABLE items IN ACCESS EXCLUSIVE MODE'); time.sleep(25)"


def run_the_job_again(name: str) -> None:
    """The release's Job, from the start, under another name."""
    job: dict[str, Any] = get("jobs", "-l", selector("migrations"))["items"][-1]
    template = job["spec"]["template"]
    template["metadata"]["labels"] = labels("migrations")
    spec = {key: job["spec"][key] for key in ("backoffLimit", "activeDeadlineSeconds")} | {"template": template}
    start({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
    kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=60s")
    assert "schema at revision" in kubectl("logs", f"job/{name}")
    kubectl("delete", "job", name)


def test_migrations_run_while_requests_are_served(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    release.steady()
    with running_load(arrivals(35)) as load:
        for number in range(3):
            run_the_job_again(f"{RELEASE}-migrate-again-{number}")
        assert load.running
        summary = load.finish()
    keep(**summary.figures())
    assert summary.failed == 0, summary.log


def test_a_lock_that_stops_reads_would_be_noticed(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    """The control: what a migration must not do. Requests wait for longer than a request may take."""
    environment = [
        {"name": "PGHOST", "value": "postgres.gantry-postgres"},
        {"name": "PGDATABASE", "value": "gantry"},
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": "gantry-database", "key": key}}}
            for name, key in (("PGUSER", "username"), ("PGPASSWORD", "password"))
        ),
    ]
    command = ["python", "-c", f"import time; time.sleep(5); {BLOCKING}"]
    with running_load(arrivals(45, part=0.1)) as load:
        start(probe_pod("blocker", command, image=release.image, pod_labels=labels("migrations"), env=environment))
        held = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'items'::regclass AND granted"
        wait_until("the lock", lambda: psql(held), 30)
        assert finished("blocker")[0] == "Succeeded"
        summary = load.finish()
    keep(**summary.figures())
    assert summary.failed > 0


def test_the_schema_is_the_one_the_release_wants(release: Release) -> None:
    (revision,) = psql("SELECT version_num FROM alembic_version")
    said = kubectl("logs", "-l", selector("migrations"), "--tail=5")
    assert f"schema at revision {revision}" in said
    assert get("jobs", "-l", selector("migrations"))["items"][-1]["status"]["succeeded"] == 1
