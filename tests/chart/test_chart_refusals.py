"""Values that can't work end the render with a sentence that names the value to change; each sentence is provoked here."""

import re
from itertools import combinations
from pathlib import Path

import pytest

from app.dev.chart_reference import COMPUTED
from tests.chart.helm import CHART, Values, at, merged, refusal, render
from tests.chart.value_sets import HTTP_ROUTE, INGRESS, LAN, MONITORING, NO_POOLER, TRAEFIK

FORMATTED = re.compile(r"%[dsqv]")
SENTENCE = re.compile(r'(?:\bfail|append \$wrong) (?:\(printf )?"((?:[^"\\]|\\.)*)"')
COLLECTOR = r"\n- %s\n"
"""What gathers the sentences of templates/_validation.tpl; it says nothing of its own."""


def sentences() -> list[str]:
    """Every sentence of the templates, with the marks of `printf`."""
    text = "".join(re.sub(r"\{\{-? */\*.*?\*/ *-?\}\}", "", file.read_text(), flags=re.DOTALL) for file in sources())
    assert len(re.findall(r"\{\{-? *fail\b", text)) + len(re.findall(r"append \$wrong\b", text)) == len(
        SENTENCE.findall(text)
    )
    return [found for found in SENTENCE.findall(text) if found != COLLECTOR]


def sources() -> list[Path]:
    """The templates."""
    return [file for file in sorted((CHART / "templates").rglob("*")) if file.is_file()]


def memory(path: str, limit: str | int | None) -> Values:
    """Values with another memory limit of a Valkey."""
    return at(f"{path}.resources.limits.memory", limit)


REFUSED: list[tuple[Values, str]] = [
    (
        {"database": {"host": ""}},
        "database.host is required: the address of PostgreSQL itself, such as postgres.example.internal",
    ),
    (
        {"database": {"existingSecret": ""}},
        "database.existingSecret is required: the name of a Secret with the database user's name and password",
    ),
    (
        {"security": {"existingSecret": ""}},
        "security.existingSecret is required: the name of a Secret with the keys key-peppers and cursor-keys",
    ),
    *(
        (at(f"config.{name}", "x"), f"config.{name} can't be set: it follows from {origin}; take it out")
        for name, origin in COMPUTED.items()
    ),
    *(
        (
            {"database": {"tls": {"mode": mode}}},
            f"database.tls.caSecret is required by database.tls.mode {mode}: the name of a Secret with the certificate of PostgreSQL's authority",
        )
        for mode in ("verify-ca", "verify-full")
    ),
    (
        {"database": {"previousSecret": "gantry-database", "maxConnections": 200}},
        "database.previousSecret is the same as database.existingSecret: name the Secret of the former user, or leave it empty",
    ),
    (
        merged(NO_POOLER, {"database": {"previousSecret": "former"}}),
        "database.previousSecret is for pgbouncer, which pgbouncer.enabled switches off: leave it empty",
    ),
    (
        {"limits": {"mode": "external"}},
        "limits.externalSecret is required by limits.mode external: the name of a Secret with the key url",
    ),
    (
        {"limits": {"externalSecret": "shared"}},
        "limits.externalSecret is set but limits.mode is valkey, which does not read it: set limits.mode to external, or take it out",
    ),
    (
        {"limits": {"mode": "local", "valkey": {"existingSecret": "password"}}},
        "limits.valkey.existingSecret is set but limits.mode is local, which does not read it: set limits.mode to valkey, or take it out",
    ),
    (merged(INGRESS, HTTP_ROUTE), "ingress.enabled and httpRoute.enabled are both true: choose one way in"),
    (
        {"ingress": {"enabled": True}},
        "networkPolicy.ingressControllers is required by ingress.enabled while networkPolicy.enabled is true: name who may reach the API, or nobody can",
    ),
    (
        merged(HTTP_ROUTE, {"networkPolicy": {"ingressControllers": []}}),
        "networkPolicy.ingressControllers is required by httpRoute.enabled while networkPolicy.enabled is true: name who may reach the API, or nobody can",
    ),
    (
        {"httpRoute": {"enabled": True}, "networkPolicy": {"ingressControllers": [TRAEFIK]}},
        "httpRoute.parentRefs is required by httpRoute.enabled: the Gateways that the route belongs to",
    ),
    (
        {"autoscaling": {"minReplicas": 4, "maxReplicas": 3}},
        "autoscaling.minReplicas is 4, more than autoscaling.maxReplicas (3): lower it, or raise the other",
    ),
    (
        at("api.resources.requests.cpu", None),
        "api.resources.requests.cpu is required by autoscaling.enabled: the autoscaler counts in parts of it",
    ),
    *(
        (
            {"podDisruptionBudget": {"maxUnavailable": none}},
            "podDisruptionBudget.maxUnavailable is 0, so no node could be drained: set it to 1 or more",
        )
        for none in (0, "0%")
    ),
    *(
        (
            {"api": {"maxSurge": none}},
            "api.maxSurge is 0, so no pod could be replaced, since none may be missing: set it to 1 or more",
        )
        for none in (0, "0%")
    ),
    *(
        (
            {
                "metrics": {one: {"enabled": True}, other: {"enabled": True}},
                "networkPolicy": {"prometheus": [MONITORING]},
            },
            f"metrics.{one}.enabled and metrics.{other}.enabled are both true: everything would be counted twice; choose one",
        )
        for one, other in combinations(("podMonitor", "serviceMonitor", "annotations"), 2)
    ),
    *(
        (
            {"metrics": {monitor: {"enabled": True}}},
            f"networkPolicy.prometheus is required by metrics.{monitor}.enabled while networkPolicy.enabled is true: name who may reach the metrics, or nobody can",
        )
        for monitor in ("podMonitor", "serviceMonitor", "annotations")
    ),
    (
        {"tracing": {"endpoint": "http://collector.elsewhere:4318"}},
        "networkPolicy.otlp is required by tracing.endpoint while networkPolicy.enabled is true: name where traces go, or none arrive",
    ),
    (
        {"networkPolicy": {"otlp": [LAN]}},
        "networkPolicy.otlp is set but tracing.endpoint is empty, so nothing goes there: set the endpoint, or take it out",
    ),
    (
        {"tracing": {"headersSecret": "headers"}},
        "tracing.headersSecret is set but tracing.endpoint is empty, so nobody is sent those headers: set the endpoint, or take it out",
    ),
    *(
        (
            memory(path, None),
            f"{path}.resources.limits.memory is required: what Valkey may fill is computed from it; set it to something like 128Mi",
        )
        for path in ("cache", "limits.valkey")
    ),
    *(
        (
            memory(path, "100m"),
            f"{path}.resources.limits.memory is \"100m\", which Valkey's memory can't be computed from: write bytes as a plain number or with Ki, Mi, Gi, k, M or G, such as 128Mi",
        )
        for path in ("cache", "limits.valkey")
    ),
    (
        {"api": {"terminationGracePeriodSeconds": 40}},
        "api.terminationGracePeriodSeconds is 40, which leaves 20 seconds for requests in flight (10 of api.drainSeconds, 5 for closing pools and 5 to spare are taken off) but one may take 20 (config.http.deadline): raise it to at least 41, or lower one of the others",
    ),
    (
        {"config": {"http": {"deadline": 24.5}}},
        "api.terminationGracePeriodSeconds is 45, which leaves 25 seconds for requests in flight (10 of api.drainSeconds, 5 for closing pools and 5 to spare are taken off) but one may take 25 (config.http.deadline): raise it to at least 46, or lower one of the others",
    ),
    (
        {"database": {"maxConnections": 76}},
        "PostgreSQL may be asked for 77 connections during a rollout but database.maxConnections is 76: 48 of 4 pgbouncer pods with 12 each, 20 listeners, 1 for migrations, 5 of others, 3 reserved; lower pgbouncer.replicas, pgbouncer.poolSize or autoscaling.maxReplicas, or raise max_connections there and database.maxConnections here",
    ),
    (
        {"pgbouncer": {"enabled": False}},
        "PostgreSQL may be asked for 429 connections during a rollout but database.maxConnections is 100: 400 of 20 API pods with 2 workers of 10, 20 listeners, 1 for migrations, 5 of others, 3 reserved; lower autoscaling.maxReplicas, api.workers or api.poolSize, or raise max_connections there and database.maxConnections here",
    ),
    (
        {"pgbouncer": {"maxClientConnections": 399}},
        "the API may open 400 connections to pgbouncer during a rollout (20 pods with 2 workers of 10) but, with one pod of pgbouncer away, 399 are accepted: raise pgbouncer.maxClientConnections or pgbouncer.replicas, or lower autoscaling.maxReplicas, api.workers or api.poolSize",
    ),
    (
        {"database": {"name": "a name"}},
        'database.name is "a name", which pgbouncer\'s configuration has no way to write: only letters, digits, _, - and . may be in it',
    ),
    (
        {"pgbouncer": {"queryWaitTimeoutSeconds": 20}},
        "pgbouncer.queryWaitTimeoutSeconds is 20, which must be below the deadline of a request (config.http.deadline, 20): a query that waits longer than its request is run for nobody; lower it",
    ),
    (
        {"pgbouncer": {"extraConfig": {"pool mode": "session"}}},
        'pgbouncer.extraConfig has "pool mode", which is no name of a parameter: write them as pgbouncer\'s manual does, such as server_lifetime',
    ),
    (
        {"pgbouncer": {"extraConfig": {"pool_mode": "session"}}},
        "pgbouncer.extraConfig.pool_mode can't be set: the chart computes it (pool_mode = transaction) from other values of pgbouncer and database; change those",
    ),
    (
        {"pgbouncer": {"extraConfig": {"server_lifetime": "1\nauth_type = any"}}},
        "pgbouncer.extraConfig.server_lifetime has more than one line: give each parameter a key of its own",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_what_can_not_work_is_refused(values: Values, sentence: str) -> None:
    """With the very sentence."""
    assert sentence in refusal(values)


def test_each_sentence_of_the_templates_is_provoked_here() -> None:
    """One that nothing provokes may never appear, or appear wrong."""
    for sentence in sentences():
        text = sentence.replace('\\"', '"')
        pattern = ".+".join(re.escape(part) for part in FORMATTED.split(text))
        assert any(re.fullmatch(pattern, provoked) for _, provoked in REFUSED), sentence


def test_all_contradictions_are_named_at_once() -> None:
    """Nobody has to find them one by one."""
    told = refusal(required={})
    assert all(
        f"- {name} is required" in told
        for name in ("database.host", "database.existingSecret", "security.existingSecret")
    )


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"database": {"maxConnections": 77}}, id="connections that just fit"),
        pytest.param({"pgbouncer": {"maxClientConnections": 400}}, id="clients that just fit"),
        pytest.param({"api": {"terminationGracePeriodSeconds": 41}}, id="a stop that just fits"),
        pytest.param({"pgbouncer": {"queryWaitTimeoutSeconds": 19}}, id="a wait that just fits"),
        pytest.param({"autoscaling": {"minReplicas": 4, "maxReplicas": 4}}, id="an autoscaler without room"),
        pytest.param(
            {"autoscaling": {"enabled": False, "minReplicas": 4, "maxReplicas": 3}}, id="numbers nobody reads"
        ),
        pytest.param(
            merged(at("api.resources.requests.cpu", None), {"autoscaling": {"enabled": False}}),
            id="no autoscaler, no request",
        ),
        pytest.param({"ingress": {"enabled": True}, "networkPolicy": {"enabled": False}}, id="no policies, no names"),
        pytest.param({"pgbouncer": {"replicas": 1}}, id="one pgbouncer"),
        pytest.param(
            {"tracing": {"endpoint": "http://c:4318"}, "networkPolicy": {"enabled": False}},
            id="no policies, no receiver",
        ),
        pytest.param(
            {"metrics": {"annotations": {"enabled": True}}, "networkPolicy": {"enabled": False}},
            id="no policies, no Prometheus",
        ),
        pytest.param({"database": {"tls": {"mode": "verify-full", "caSecret": "ca"}}}, id="verified"),
    ],
)
def test_what_just_works_is_not_refused(values: Values) -> None:
    """The other side of the bounds."""
    assert render(values)
