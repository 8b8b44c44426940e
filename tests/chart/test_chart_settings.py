"""The application accepts what the chart sets, and the chart assumes of the application what is so."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.resources import OTELResourceDetector

from app.core.config import ExportSettings, HttpSettings, Settings
from app.core.loading import load_settings
from app.dev.chart_reference import COMPUTED
from tests.chart.helm import CHART, Object, Values, helm, render
from tests.chart.objects import find, variables, workload
from tests.chart.value_sets import EXTERNAL_LIMITS, NO_POOLER, TRACING, VALUE_SETS

SECRETS = {
    ("key-peppers",): json.dumps(["p" * 40]),
    ("cursor-keys",): json.dumps(["c" * 40]),
    ("password", "secret"): "p@ss/word",
    ("username", "user"): "gantry",
    ("url",): "rediss://:secret@valkey.example:6380/0",
    ("headers",): json.dumps({"authorization": "Bearer s3cret"}),
}


def environment(objects: list[Object], component: str) -> dict[str, str]:
    """The variables of a container as the kubelet would make them, with Secrets that hold SECRETS."""
    (container,) = workload(objects, component).spec["containers"][:1]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if name := source.get("configMapRef", {}).get("name"):
            found |= find(objects, "ConfigMap", name)["data"]
    for name, value in variables(container).items():
        if isinstance(value, str):
            found[name] = value
        elif path := value.get("fieldRef"):
            found[name] = path["fieldPath"]
        elif not value["secretKeyRef"].get("optional"):
            key = value["secretKeyRef"]["key"]
            found[name] = next(text for keys, text in SECRETS.items() if key in keys)
    return found


def settings(monkeypatch: pytest.MonkeyPatch, objects: list[Object], component: str = "api") -> Settings:
    """What the application reads from them. Unknown names, and values it does not take, raise."""
    for name, value in environment(objects, component).items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=list(VALUE_SETS))
def test_the_application_takes_all_of_it(monkeypatch: pytest.MonkeyPatch, values: Values) -> None:
    """Of the API, and of the migrations."""
    objects = render(values)
    settings(monkeypatch, objects)
    if any(o["kind"] == "Job" for o in objects):
        settings(monkeypatch, objects, "migrations")


def test_what_it_reads_is_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """From values to the process."""
    config: Values = {
        "environment": "production",
        "http": {"deadline": 12.5, "trusted_proxies": ["10.0.0.0/8"], "max_body_bytes": 20_000_000},
        "limits": {"default": "1200/minute"},
    }
    api = {"workers": 3, "poolSize": 7, "poolRecycleSeconds": 33}
    logging = {"level": "debug", "requests": False}
    found = settings(monkeypatch, render({"config": config, "api": api, "logging": logging}))
    assert found.http.deadline == 12.5
    assert found.http.max_body_bytes == 20_000_000
    assert [str(network) for network in found.http.trusted_proxies] == ["10.0.0.0/8"]
    assert found.limits.default == "1200/minute"
    assert (found.log.level, found.log.requests) == ("debug", False)
    assert (found.server.workers, found.database.pool_size, found.database.pool_recycle) == (3, 7, 33)
    assert str(found.server.runtime_dir) == "/tmp"  # noqa: S108 - the pod's memory volume
    assert found.limits.url is not None
    assert found.limits.url.get_secret_value() == "redis://gantry-limits:6379/0"


def test_queries_go_through_the_pooler_and_migrations_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Session state and advisory locks need a connection of their own."""
    objects = render({"database": {"tls": {"mode": "verify-full", "caSecret": "ca"}}})
    found = settings(monkeypatch, objects)
    direct = "postgresql://postgres.example.internal:5432/gantry?sslmode=verify-full&sslrootcert=/run/secrets/database-ca/ca.crt"
    assert found.database.url.get_secret_value() == "postgresql://gantry-pgbouncer:6432/gantry?sslmode=disable"
    assert found.database.direct.get_secret_value() == direct
    assert settings(monkeypatch, objects, "migrations").database.direct.get_secret_value() == direct


def test_without_a_pooler_there_is_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's."""
    found = settings(monkeypatch, render(NO_POOLER))
    assert found.database.url == found.database.direct


def test_the_pooler_can_ask_for_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is not optional on our side either."""
    found = settings(monkeypatch, render({"pgbouncer": {"tls": {"existingSecret": "tls"}}}))
    assert found.database.url.get_secret_value().endswith("?sslmode=require")


def test_passwords_are_not_in_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """So any character may be in them."""
    objects = render({"limits": {"valkey": {"existingSecret": "limits"}}})
    assert environment(objects, "api")["PGPASSWORD"] == "p@ss/word"
    found = settings(monkeypatch, objects)
    assert found.limits.password is not None
    assert found.limits.password.get_secret_value() == "p@ss/word"


def test_migrations_may_have_a_role_of_their_own() -> None:
    """The one that owns the schema."""
    objects = render({"database": {"migrationsSecret": "owner"}})

    def secret(component: str) -> Any:
        return variables(workload(objects, component).spec["containers"][0])["PGPASSWORD"]["secretKeyRef"]["name"]

    assert (secret("migrations"), secret("api")) == ("owner", "gantry-database")


def test_traces_go_to_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the headers of a Secret; and nowhere by default."""
    assert settings(monkeypatch, render()).tracing.endpoint is None
    tracing = {"sampleRatio": 1, "headersSecret": "headers"}
    found = settings(monkeypatch, render(TRACING, {"tracing": tracing})).tracing
    assert (found.endpoint, found.sample_ratio) == (TRACING["tracing"]["endpoint"], 1)
    assert {name: value.get_secret_value() for name, value in found.headers.items()} == {
        "authorization": "Bearer s3cret"
    }


@pytest.mark.parametrize("ratio", [0, 0.1, 0.000001, 1, 1.0, "0.07", ".5", "1.0"])
def test_any_part_of_the_traces_can_be_written(monkeypatch: pytest.MonkeyPatch, ratio: float | str) -> None:
    """Helm writes small numbers in its own way, and `--set` makes text of any that is not whole."""
    assert settings(monkeypatch, render({"tracing": {"sampleRatio": ratio}})).tracing.sample_ratio == float(ratio)


def test_attributes_may_hold_any_character() -> None:
    """As OpenTelemetry's own reader takes them apart."""
    attributes = {"deployment.environment.name": "a b,c=d;é+%", "k8s.cluster.name": "north"}
    said = environment(render({"tracing": {"resourceAttributes": attributes}}), "api")["OTEL_RESOURCE_ATTRIBUTES"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", said)
        assert dict(OTELResourceDetector().detect().attributes) == attributes


@pytest.mark.parametrize("component", ["api", "migrations"])
def test_a_process_knows_its_pod(component: str) -> None:
    """For its log lines and spans; from the cluster, so nobody has to keep it true."""
    found = environment(render(), component)
    assert {name: found[name] for name in ("POD_NAME", "POD_NAMESPACE", "NODE_NAME")} == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "NODE_NAME": "spec.nodeName",
    }


def test_limits_can_be_counted_elsewhere_or_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """An external store, or each pod for itself."""
    found = settings(monkeypatch, render(EXTERNAL_LIMITS))
    assert found.limits.url is not None
    assert found.limits.url.get_secret_value() == SECRETS[("url",)]
    monkeypatch.delenv("GANTRY_LIMITS__URL")
    assert settings(monkeypatch, render({"limits": {"mode": "local"}})).limits.url is None


def test_an_extra_variable_takes_the_place_of_ours() -> None:
    """A name that stands twice is refused by the API server."""
    extra = [{"name": "PGPASSWORD", "value": "other"}, {"name": "TZ", "value": "UTC"}]
    found = environment(render({"api": {"extraEnv": extra}, "migrations": {"extraEnv": extra}}), "api")
    assert (found["PGPASSWORD"], found["TZ"]) == ("other", "UTC")
    assert environment(render({"migrations": {"extraEnv": extra}}), "migrations")["PGPASSWORD"] == "other"


@pytest.mark.parametrize(
    ("helper", "default"),
    [
        ("gantry.deadline", HttpSettings().deadline),
        ("gantry.exportSeconds", ExportSettings().max_seconds),
    ],
)
def test_the_chart_assumes_the_applications_defaults(helper: str, default: float) -> None:
    """Those it computes with when `config` does not say."""
    objects = render({"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "said"},
                                        "data": {"said": '{{ include "' + helper + '" . }}'}}]})  # fmt: skip
    assert float(find(objects, "ConfigMap", "said")["data"]["said"]) == default


def test_the_body_that_nginx_lets_by_is_the_applications_default() -> None:
    """Also when `config` does not say."""
    values: Values = {"ingress": {"enabled": True, "controller": "nginx"}, "networkPolicy": {"enabled": False}}
    annotations = find(render(values), "Ingress")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == str(HttpSettings().max_body_bytes)


def test_what_is_computed_is_what_config_refuses() -> None:
    """A setting that the chart writes and `config` takes as well would be overwritten in silence."""
    text = (CHART / "templates/_validation.tpl").read_text()
    assert all(f'"{name}" "' in text for name in COMPUTED)
    written = find(render({"limits": {"valkey": {"existingSecret": "p"}}}), "ConfigMap", "gantry-settings")["data"]
    names = {".".join(name.removeprefix("GANTRY_").lower().split("__")) for name in written}
    assert names <= COMPUTED.keys()


def test_the_chart_is_of_the_projects_version() -> None:
    """Its default image is the one of this source."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load(helm("show", "chart", CHART))["appVersion"] == project
