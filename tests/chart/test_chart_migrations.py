"""The migration Job: another one exactly when there is something else to do."""

import re
from pathlib import Path
from shutil import copytree

import pytest

from app.dev.chart_reference import CHART
from tests.chart.helm import Values, at, helm, refusal, render
from tests.chart.objects import find, of_kind, workload
from tests.chart.value_sets import ANNOTATIONS, TRACING, VALUE_SETS

NAME = re.compile(r"gantry-migrate-[0-9a-f]{10}")


def name(*values: Values) -> str:
    """What the Job is called with these values."""
    return str(find(render(*values), "Job")["metadata"]["name"])


def test_the_same_is_the_same_job() -> None:
    """A spec can't be changed: an upgrade that changes nothing here has to find the Job as it is."""
    assert NAME.fullmatch(name())
    assert name() == name({"api": {"workers": 4, "poolSize": 5}, "autoscaling": {"maxReplicas": 4}})
    assert name() == name({"config": {"http": {"deadline": 10}}})
    assert name() == name(TRACING, {"logging": {"requests": False}}, ANNOTATIONS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.tag", "2.0.0"),
        ("image.digest", "sha256:" + "a" * 64),
        ("database.host", "other.example"),
        ("database.migrationsSecret", "owner"),
        ("migrations.extraEnv", [{"name": "TZ", "value": "UTC"}]),
        ("migrations.resources.limits.memory", "256Mi"),
        ("config.database.migration_lock_timeout", 2),
        ("logging.level", "debug"),
        ("commonLabels.team", "platform"),
        ("podSecurityContext.runAsUser", 4000),
        ("imagePullSecrets", [{"name": "registry"}]),
    ],
)
def test_something_else_is_another_job(path: str, value: object) -> None:
    """Whatever is in its spec is in its name: `helm upgrade` would fail at a Job whose spec differs."""
    assert name() != name(at(path, value))


def test_another_chart_that_changes_nothing_is_the_same_job(tmp_path: Path) -> None:
    """Its version stands on objects, not in what the Job does: the migration would run again with each release of the chart."""
    other = tmp_path / "gantry"
    copytree(CHART, other)
    page = other / "Chart.yaml"
    page.write_text(re.sub(r"^(version|appVersion): .*", r"\1: 9.9.9", page.read_text(), flags=re.MULTILINE))
    values = {"image": {"tag": "1.0.0"}}
    before, after = render(values), render(values, chart=other)
    assert find(after, "Job")["metadata"]["labels"]["helm.sh/chart"] == "gantry-9.9.9"
    assert find(after, "Job")["metadata"]["name"] == find(before, "Job")["metadata"]["name"]
    for component in ("migrations", "pgbouncer", "limits"):
        assert workload(after, component).metadata == workload(before, component).metadata


def test_every_difference_of_the_spec_is_one_of_the_name() -> None:
    """And the other way round, over all values of the chart's tests."""
    specs: dict[str, object] = {}
    for values in VALUE_SETS.values():
        for job in of_kind(render(values), "Job"):
            assert specs.setdefault(job["metadata"]["name"], job["spec"]) == job["spec"]
    assert len(specs) > 1


def test_it_is_no_hook() -> None:
    """One that waits for pods that wait for it would never end; and Helm forgets hooks when it rolls back."""
    job = find(render(), "Job")
    assert "helm.sh/hook" not in str(job)
    assert not job["metadata"].get("annotations")


def test_it_migrates_and_stays() -> None:
    """Argo CD makes a Job that has removed itself again and again, so it is kept unless the values say otherwise."""
    job = find(render(), "Job")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert container["args"] == ["migrate"]
    assert "command" not in container
    assert "ttlSecondsAfterFinished" not in job
    for seconds in (0, 60):
        kept = find(render(at("migrations.ttlSecondsAfterFinished", seconds)), "Job")["spec"]
        assert kept["ttlSecondsAfterFinished"] == seconds


def test_a_drained_node_is_no_failure_of_it() -> None:
    """A retry that was none of its fault is not counted."""
    rules = find(render(), "Job")["spec"]["podFailurePolicy"]["rules"]
    assert rules == [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]


def test_pods_do_not_wait_for_the_job_but_for_the_schema() -> None:
    """No init container that needs the Kubernetes API: readiness asks, and liveness doesn't."""
    api = workload(render(), "api")
    assert {c["name"] for c in api.spec["initContainers"]} == {"cache", "cache-metrics"}
    container = api.container("api")
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_it_can_be_left_to_others() -> None:
    """With its rules."""
    objects = render(at("migrations.enabled", False))
    assert not of_kind(objects, "Job")
    assert "migrations" not in str(of_kind(objects, "NetworkPolicy"))


def test_a_tag_has_to_be_text() -> None:
    """A tag of digits is a number in YAML, and 1.10 would be 1.1."""
    assert "image" in refusal({"image": {"tag": 2}})
    assert helm("template", "gantry", CHART, "--set", "database.host=h,database.existingSecret=d,security.existingSecret=s",
                "--set-string", "image.tag=2")  # fmt: skip
