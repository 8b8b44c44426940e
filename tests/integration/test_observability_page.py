"""docs/observability.md says what there is: the tables are those of the code, and what a process puts out is in them."""

import httpx2
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.core.telemetry.catalogue import GROUPS, SERVER_METRICS
from app.dev import observability_reference
from tests.conftest import Api
from tests.gunicorn import LiveApi

ALL = {spec.name: spec for specs in GROUPS.values() for spec in specs}


def test_the_page_is_current() -> None:
    assert observability_reference.PAGE.read_text() == observability_reference.page(), "run `make docs`"


def test_a_question_asks_about_its_metric() -> None:
    for spec in ALL.values():
        assert spec.question.count("`") == 2, spec.name
        assert spec.name.removesuffix("_info") in spec.question, spec.name
        assert spec.name.startswith("gantry_"), spec.name
        assert (spec.kind == "counter") == spec.name.endswith("_total"), spec.name


def test_each_metric_has_the_documented_kind_and_labels(live_api: LiveApi) -> None:
    with live_api.client() as client:
        client.post("/api/v1/items", json={"name": "x"}, headers={"Idempotency-Key": "k"})
        client.get("/api/v1/items/999")
    found = {}
    for family in text_string_to_metric_families(httpx2.get(f"{live_api.admin_url}/metrics").text):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le", "quantile"}
        found[name] = (family.type, labels)
    for name, (kind, labels) in found.items():
        if name.endswith("_created"):
            continue
        assert name in ALL, f"{name} is not in the catalogue"
        assert (kind, labels) == (ALL[name].kind, set(ALL[name].labels)), name
    for spec in SERVER_METRICS:
        assert spec.name in found, f"{spec.name} is documented, and not there"


def test_what_a_worker_counts_is_documented_whole(api: Api) -> None:
    page = generate_latest(api.process.metrics.registry).decode()
    for family in text_string_to_metric_families(page):
        name = family.name + ("_total" if family.type == "counter" else "")
        if not name.endswith("_created"):
            assert name in ALL, name
            assert family.documentation == ALL[name].meaning
    documented = {spec.name for specs in GROUPS.values() for spec in specs} - {spec.name for spec in SERVER_METRICS}
    assert documented <= {word for line in page.splitlines() for word in line.split() if line.startswith("# HELP")} | {
        f"{name}_total" for line in page.splitlines() if line.startswith("# HELP") for name in [line.split()[2]]
    }
